"""The paper's tables at tiny size: rows that train, stop, go on or are skipped."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import paper_tables
from benchmarks.paper.attention import CrossAttentionUNet, with_cross_attention
from benchmarks.paper.options import Place, Scale, options_for
from benchmarks.paper.plan import (
    ABLATION,
    CONVERGENCE,
    MORE_STEPS,
    STABLE,
    TIMED,
    Row,
    chosen,
    planned,
)
from benchmarks.paper.runner import Work, do_row
from benchmarks.paper.training import deciding
from engine.errors import Cancelled, UserError
from engine.sdseg import devices
from engine.sdseg.config import TINY
from engine.sdseg.network import SDSegNetwork
from engine.training.checkpoint import read_state
from engine.training.options import Objective
from engine.training.start import Start

SCALE = Scale(
    pixels=64, published="tiny", trunk="tiny", autoencoder_steps=3, watched=2, timed=2,
    many=(3, 2), runs=2,
)  # fmt: skip
MINUTES = 0.01  # 1.2 s of processor time


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Bright discs on a dark ground, in the folders of all three data sets."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:64, 0:64]
    for name, value in (("polyp", 1), ("fundus_disc_cup", 2), ("ct_abdomen_2d", 3)):
        for part in ("images", "masks"):
            (root / name / part).mkdir(parents=True)
        stems = [f"case{n}" for n in range(8)]
        for stem in stems:
            centre, radius = generator.uniform(20, 44, 2), generator.uniform(8, 16)
            inside = np.hypot(rows - centre[0], columns - centre[1]) < radius
            picture = np.where(inside, 200, 40) + generator.normal(0, 8, (64, 64))
            file = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
            file.save(root / name / f"images/{stem}.png")
            mask = Image.fromarray(np.where(inside, value, 0).astype(np.uint8))
            mask.save(root / name / f"masks/{stem}.png")
        for split, some in (("train", stems[:5]), ("val", stems[5:6]), ("test", stems[6:])):
            (root / name / f"{split}.txt").write_text("\n".join(some))
    return root


def work_in(folder: Path, data: Path, **changes) -> tuple[Work, list[str]]:
    said: list[str] = []
    place = Place(data, folder / "work", folder / "results")
    settings = {"minutes": MINUTES, "scale": SCALE, "say": said.append, **changes}
    return Work(place, **settings), said


def objective_of(setting: str, data: Path, tmp_path: Path) -> dict:
    work, _ = work_in(tmp_path, data)
    options = options_for(Row(setting, "polyp"), work.place, replace(SCALE, trunk="compact"))
    return {
        **asdict(options.objective), "preset": options.preset,
        "prediction": options.prediction_type, "frozen": options.optimisation.freeze_encoder,
        "flips": options.augmentation.flips, "rotate": options.augmentation.rotate,
        "rate": options.optimisation.learning_rate, "size": options.preprocessing.size,
        "targets": options.targets,
    }  # fmt: skip


def test_the_plan_has_a_row_for_every_cell_once() -> None:
    names = [row.name for row in planned()]
    assert len(names) == len(set(names))
    core = {row.key for row in chosen(None)}
    assert {*TIMED, *STABLE, *CONVERGENCE} <= core
    assert {(setting, d) for setting in ABLATION for d in ("cup", "ct")} <= core
    assert not any(row.extra for row in chosen(None)) and any(row.extra for row in planned())
    assert [row.name for row in chosen(["all-no-mask-polyp"])] == ["all-no-mask-polyp"]
    assert {row.data_set for row in chosen(["*-ct"])} == {"ct"} and chosen(["nothing"]) == []
    assert not any(row.extra for row in chosen(["*-ct", "clean-polyp"]))  # they cost hours
    assert [row.extra for row in chosen(["clean-ct"])] == [True]


def test_the_first_row_is_the_papers_and_others_differ_by_what_they_say(
    data: Path, tmp_path: Path
) -> None:
    base = objective_of("published", data, tmp_path)
    assert {name: base[name] for name in asdict(Objective())} == asdict(Objective())
    assert base["prediction"] == "epsilon" and base["flips"] == "hv" and not base["frozen"]
    expected = {
        "clean": {"prediction": "sample"},
        "velocity": {"prediction": "v_prediction"},
        "mask": {"mask_weight": 1.0},
        "last": {"last_share": 0.5},
        "trunk": {"preset": "compact"},
        "concat-trained": {"latent_lambda": 0.0},
        "concat-frozen": {"latent_lambda": 0.0, "frozen": True},
        "attention-frozen": {"latent_lambda": 0.0, "frozen": True},
    }
    for setting, changes in expected.items():
        found = objective_of(setting, data, tmp_path)
        assert {k: v for k, v in found.items() if v != base[k]} == changes, setting


def test_the_row_of_all_departures_takes_the_recipe_but_not_its_size(
    data: Path, tmp_path: Path
) -> None:
    found = objective_of("all", data, tmp_path)
    assert found["mask_weight"] == found["pyramid_weight"] == 1 and found["last_share"] == 0.5
    assert found["prediction"] == "sample" and found["rotate"] == 180 and found["rate"] == 1e-3
    assert found["size"] == SCALE.pixels and len(found["targets"]) == 1
    alone = objective_of("all-no-mask", data, tmp_path)
    assert alone["mask_weight"] == alone["pyramid_weight"] == 0 and alone["sdseg_weight"] == 1


def test_rows_are_alike_where_they_should_be_and_only_steps_are_paid_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_has_bf16", lambda _: True)
    work, _ = work_in(tmp_path, data)
    for name in ("published", "all"):
        options = options_for(Row(name, "polyp"), work.place, replace(SCALE, trunk="compact"))
        assert options.optimisation.precision == "fp32"
        assert options.checkpoint_every == options.optimisation.steps  # none inside a step


def test_cross_attention_sees_the_condition_whatever_its_order() -> None:
    torch.manual_seed(0)
    unet = CrossAttentionUNet(TINY.unet, 4, 8).eval()
    noisy, condition = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    t = torch.tensor([999, 3])
    with torch.inference_mode():
        found = unet(torch.cat([noisy, condition], dim=1), t).sample
        other = unet(torch.cat([noisy, condition + 1.0], dim=1), t).sample
        turned = unet(torch.cat([noisy, condition.flip(-1)], dim=1), t).sample
    assert found.shape == (2, 4, 8, 8)
    assert not torch.allclose(found, other, atol=1e-4)
    torch.testing.assert_close(found, turned, rtol=1e-4, atol=1e-5)  # tokens have no positions


def test_cross_attention_trains_inside_the_network() -> None:
    torch.manual_seed(0)
    start = with_cross_attention(Start(SDSegNetwork.build(TINY), "compact", TINY.schedule), TINY, 0)
    network = start.network
    assert isinstance(network.unet, CrossAttentionUNet) and network.class_count is None
    noise, wanted = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 1, 1)
    condition = wanted.expand(-1, -1, 8, 8)  # what is wanted stands in the condition alone
    optimiser = torch.optim.AdamW(network.unet.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(60):
        z0 = network.estimate_z0(noise, condition)
        loss = (z0 - condition).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_row_is_trained_measured_and_then_skipped(data: Path, tmp_path: Path) -> None:
    work, said = work_in(tmp_path, data)
    row = Row("published", "ct")
    assert do_row(row, work)
    file = work.place.results / "published-ct.json"
    found = json.loads(file.read_text())
    assert found["cases"] == 3  # val and test
    assert found["steps"] > 1 and found["cpu_minutes"] == pytest.approx(2 * MINUTES, rel=0.5)
    assert list(found["by_steps"]) == [str(n) for n in MORE_STEPS]
    assert 0.0 <= found["by_steps"]["1"]["dice"] <= 1.0
    ways = found["speed"]["ways"]
    assert list(ways) == ["1x1", "10x1", "3x2"]
    assert ways["1x1"]["seconds"] < ways["10x1"]["seconds"]
    assert found["stability"]["masks"]["lpips"] is None and found["stability"]["runs"] == 2
    assert [seen["share"] for seen in found["latents"]] == [0.0, 0.05, 0.2, 0.5, 1.0]
    assert len(found["along"]) == 10
    ceiling = json.loads((work.place.results / "autoencoder-ct.json").read_text())
    assert 0.0 <= ceiling["ceiling"] <= 1.0
    before = file.read_bytes()
    assert not do_row(row, work) and said[-1] == "published-ct: done"
    assert not do_row(row, replace(work, minutes=9.0))
    assert "minutes 0.01 (now 9.0)" in said[-1] and file.read_bytes() == before


def test_a_stopped_row_goes_on_and_one_of_other_settings_begins_anew(
    data: Path, tmp_path: Path
) -> None:
    row = Row("clean", "polyp")
    asked: list[bool] = []

    def soon() -> bool:
        asked.append(True)
        return len(asked) > 12  # the autoencoder asks first

    work, said = work_in(tmp_path, data, is_cancelled=soon, minutes=0.03)
    with pytest.raises(Cancelled):
        do_row(row, work)
    assert not (work.place.results / f"{row.name}.json").exists()
    run = options_for(row, work.place, SCALE).run_folder
    state = read_state(run)
    assert state is not None and state["step"] >= 1 and 0 < state["spent"] < 3.6
    work, said = work_in(tmp_path, data, minutes=0.03)
    assert do_row(row, work)
    share = state["spent"] / 3.6
    assert f"  goes on at step {state['step']}, {share:.0%} of the time" in said
    found = json.loads((work.place.results / f"{row.name}.json").read_text())
    assert found["steps"] > state["step"]
    (work.place.results / f"{row.name}.json").unlink()
    work, said = work_in(tmp_path, data)
    assert do_row(row, work)
    assert any("dropped" in line for line in said)


def test_the_baseline_with_cross_attention_leaves_its_encoder_alone(
    data: Path, tmp_path: Path
) -> None:
    work, _ = work_in(tmp_path, data)
    row = Row("attention-frozen", "cup")
    assert do_row(row, work)
    from engine.sdseg.weights import read_tensors

    options = options_for(row, work.place, SCALE)
    tensors = read_tensors(options.run_folder / "checkpoint.safetensors")
    pairs = [
        (tensors[f"network.autoencoder.{name}"], tensor)
        for key, tensor in tensors.items()
        if (name := key.removeprefix("network.vision_encoder.")).startswith("encoder.")
    ]
    assert len(pairs) > 20 and all(torch.equal(a, b) for a, b in pairs)
    means = tensors["network.autoencoder.quant_conv.weight"][:4]
    assert torch.equal(tensors["network.vision_encoder.out.weight"], means)
    assert any("network.unet.inner.down_blocks.0.attentions" in key for key in tensors)
    chosen_settings = deciding(row, options, MINUTES)
    assert chosen_settings["conditioning"] == "attention"


def test_the_command_lists_and_refuses(data: Path, tmp_path: Path, capsys) -> None:
    folders = ["--results", str(tmp_path / "r"), "--work", str(tmp_path / "w")]
    assert paper_tables.main(["--list", "--data", str(data), *folders]) == 0
    told = capsys.readouterr().out
    assert "published-polyp" in told and "15 rows to do" in told
    assert paper_tables.main(["--only", "nobody", *folders]) == 1
    assert "No row has such a name" in capsys.readouterr().err
    for some in ([], folders[:2], folders[2:]):  # its row, or its checkpoint, would be the real one
        assert paper_tables.main(["--minutes", "0.5", "--data", str(data), *some]) == 1
        assert "A trial is no result" in capsys.readouterr().err
    words = ["--only", "clean-polyp", "--data", str(tmp_path), *folders]
    assert paper_tables.main(words) == 1
    assert "There is no folder polyp" in capsys.readouterr().err


def test_a_case_on_both_sides_is_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "polyp", tmp_path / "data" / "polyp")
    with (tmp_path / "data/polyp/test.txt").open("a") as stream:
        stream.write("\ncase0")
    work, _ = work_in(tmp_path, tmp_path / "data")
    with pytest.raises(UserError, match="case0 is trained on and scored"):
        do_row(Row("clean", "polyp"), work)


def test_a_damaged_result_is_named(data: Path, tmp_path: Path) -> None:
    work, _ = work_in(tmp_path, data)
    work.place.results.mkdir()
    (work.place.results / "clean-polyp.json").write_text("{")
    with pytest.raises(UserError, match=r"clean-polyp\.json is damaged"):
        do_row(Row("clean", "polyp"), work)
