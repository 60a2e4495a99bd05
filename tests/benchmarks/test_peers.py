"""The comparison with peers: its clock, its plan, its runs, its tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.budget import Budget
from benchmarks.claim import claim
from benchmarks.peers import sides
from benchmarks.peers.__main__ import main
from benchmarks.peers.answers import PeerSegmenter
from benchmarks.peers.cards import WHY, write_cards
from benchmarks.peers.networks import make_network, outputs_of
from benchmarks.peers.plan import RATES, UNTUNED, Run, chosen, planned
from benchmarks.peers.results import Results
from benchmarks.peers.runner import do_run, fingerprint
from benchmarks.peers.setting import options_for
from benchmarks.peers.sides import begin
from benchmarks.peers.tables import between, part_tables, write_tables
from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.errors import Cancelled, UserError
from engine.io import open_case
from engine.models.schema import Preprocessing
from engine.sdseg.segmenter import Segmenter
from engine.training.checkpoint import read_state
from engine.training.run import read_data
from tests.benchmarks.peer_data import setting_of
from tests.tiny_model import save_tiny, tiny_network

RUN = Run("a", "polyp", "unet")


def spend(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_only_what_is_counted_is_paid_for() -> None:
    budget = Budget(0.1)
    spend(0.03)
    assert budget.spent == 0.0
    with budget.counting():
        spend(0.05)
        inside = budget.spent
    spend(0.03)
    assert 0.05 <= inside <= budget.spent < 0.08
    assert not budget.is_over
    with budget.counting():
        spend(0.06)
    assert budget.is_over


def test_the_rate_warms_up_by_steps_and_ends_at_zero_by_time() -> None:
    budget = Budget(100.0)
    assert budget.rate_factor(0, 50) == pytest.approx(1 / 50)
    assert budget.rate_factor(49, 50) == pytest.approx(1.0)
    budget.go_on(spent=20.0, begun=20.0)  # after an autoencoder's 20 s
    assert budget.rate_factor(100, 50) == pytest.approx(1.0)
    budget.go_on(spent=60.0, begun=20.0)
    assert budget.rate_factor(100, 50) == pytest.approx(0.5)
    budget.go_on(spent=100.0, begun=20.0)
    assert budget.rate_factor(100, 50) == 0.0


def test_the_plan_is_the_issue_s() -> None:
    runs = planned()
    names = [r.name for r in runs]
    assert len(set(names)) == len(names)
    count = {part: sum(r.part == part for r in runs) for part in "tabc"}
    assert count == {"t": 16, "a": 27, "b": 9, "c": 2}
    assert sum(r.part == "a" and r.data_set == "lungs" for r in runs) == 9
    assert [r.name for r in chosen(runs, ["b-polyp"])] == [
        "b-polyp-sdseg-0", "b-polyp-fpn-0", "b-polyp-unet-0",
    ]  # fmt: skip
    assert {r.side for r in chosen(runs, ["a-*-unet-*", "c"])} == {"unet", "dynunet"}


@pytest.mark.parametrize("side", ["fpn", "unet", "dynunet"])
def test_networks_answer_at_the_picture_s_size_and_learn(side: str) -> None:
    network = make_network(side, 3)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    outputs = outputs_of(network.train()(pictures))
    assert {x.shape for x in outputs} == {(2, 3, 64, 64)}
    torch.stack([x.square().mean() for x in outputs]).sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    with torch.inference_mode():
        assert network.eval()(pictures).shape == (2, 3, 64, 64)


def test_a_peer_is_asked_as_a_model_is(tmp_path: Path) -> None:
    """The same network gives the same labels through both doors."""
    setting = setting_of(tmp_path)
    entry = save_tiny(tmp_path / "tiny")
    network = tiny_network()
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))

    def maps(pictures: torch.Tensor) -> torch.Tensor:
        z0 = network.estimate_z0(
            noise.expand(len(pictures), -1, -1, -1), network.condition(pictures)
        )
        return network.probabilities(z0)

    options = replace(options_for(RUN, setting), preprocessing=entry.info.preprocessing)
    scan = open_case(setting.data / "polyp" / "images" / "p0.png").scan
    request = SegmentRequest(scan, range(1))
    (mine,) = PeerSegmenter(maps, options).segment(request)
    (models,) = Segmenter.load(entry, "cpu", "fp32").segment(request)
    assert np.abs(mine.probability - models.probability).max() < 1e-4
    assert (mine.labels == models.labels).mean() > 0.999
    assert 0 < mine.labels.mean() < 1


def test_a_stopped_run_goes_on_and_a_done_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "STATISTICS_BATCHES", 1)  # seconds less
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    setting = setting_of(tmp_path)
    with pytest.raises(Cancelled):
        do_run(RUN, replace(setting, is_cancelled=stop))
    state = read_state(setting.work / RUN.name / "model.run")
    assert state is not None and state["step"] == 1 and state["spent"] > 0
    assert setting.results.read(RUN) is None

    assert do_run(RUN, setting)
    result = setting.results.read(RUN)
    assert result is not None and result["steps"] > 1
    assert 1.0 <= result["cpu_seconds"] < 3.0
    assert set(result["test"]["cases"]) == {"p5"} and len(result["shifts"]) == 16
    assert result["target_free"]["views"] == 1
    assert result["fingerprint"] == fingerprint(RUN, setting)
    assert not (setting.work / RUN.name).exists()

    kept = setting.results.file(RUN).read_bytes()
    told = ["--data", str(setting.data), "--only", RUN.name, "--work", str(setting.work)]
    told += ["--results", str(setting.results.folder), "--trial-seconds", "1"]
    assert main(told) == 0
    assert setting.results.file(RUN).read_bytes() == kept


def test_a_checkpoint_of_another_setting_is_not_gone_on_with(tmp_path: Path) -> None:
    setting = setting_of(tmp_path)
    checks = iter([False, True])
    with pytest.raises(Cancelled):
        do_run(RUN, replace(setting, is_cancelled=lambda: next(checks)))
    checks = iter([True])
    with pytest.raises(Cancelled):
        do_run(RUN, replace(setting, seconds=2.0, is_cancelled=lambda: next(checks)))
    state = read_state(setting.work / RUN.name / "model.run")
    assert state is not None and state["step"] == 0


def test_what_decides_a_run_changes_its_fingerprint(tmp_path: Path) -> None:
    setting = setting_of(tmp_path)
    mark = fingerprint(RUN, setting)
    assert fingerprint(RUN, setting) == mark
    assert fingerprint(replace(RUN, seed=1), setting) != mark
    assert fingerprint(replace(RUN, side="sdseg"), setting) != mark
    assert fingerprint(replace(RUN, part="t", rate=2e-3), setting) != mark
    (setting.data / "polyp" / "train.txt").write_text("p0\np1")
    assert fingerprint(RUN, setting) != mark


def test_two_commands_do_not_share_a_run(tmp_path: Path) -> None:
    with claim(tmp_path / "run") as first, claim(tmp_path / "run") as second:
        assert first and not second
    with claim(tmp_path / "run") as third:
        assert third

    command = (
        f"from pathlib import Path; from benchmarks.claim import claim\n"
        f"with claim(Path({str(tmp_path / 'run')!r})) as mine: print(mine, flush=True); input()"
    )
    words = [sys.executable, "-c", command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        with claim(tmp_path / "run") as mine:
            assert not mine
        other.kill()
    with claim(tmp_path / "run", wait=True) as mine:  # what was killed holds nothing
        assert mine


def tuned(results: Results, data_set: str, scores: dict[float, float]) -> None:
    for rate, score in scores.items():
        results.write(Run("t", data_set, "fpn", rate=rate), {"val": {"dice": score}})


def test_rates_are_chosen_by_val(tmp_path: Path) -> None:
    results = Results(tmp_path)
    run = Run("a", "polyp", "fpn")
    assert results.rate_of(run) == (UNTUNED, 0)
    assert results.rate_of(Run("a", "polyp", "sdseg")) == (None, 0)
    low, middle, high = RATES["fpn"]
    tuned(results, "polyp", {low: 0.7, middle: 0.72, high: 0.75})
    assert results.rate_of(run) == (high, 3)
    other = Run("a", "ct-abdomen", "fpn")
    assert results.rate_of(other) == (UNTUNED, 0)  # tried on one set only
    assert results.tuning_left(run) == [] and len(results.tuning_left(other)) == 3
    tuned(results, "lungs", {low: 0.95, middle: 0.94, high: 0.8})
    assert results.rate_of(other) == (middle, 6) and results.tuning_left(other) == []
    assert results.tuning_left(Run("c", "lungs", "dynunet")) == []  # not tuned


def result_of(dice: dict[str, float], shifted: float, steps: int) -> dict[str, Any]:
    mean = sum(dice.values()) / len(dice)
    return {
        "test": {
            "dice": mean, "targets": {"polyp": mean},
            "cases": {case: {"polyp": value} for case, value in dice.items()},
        },
        "shifts": {"blur: 0.5 %": shifted, "blur: 1 %": shifted - 0.1},
        "shifted_dice": shifted, "shifted_cases": dict.fromkeys(dice, shifted),
        "target_free": {"views": 20, "found": 1}, "steps": steps, "cpu_seconds": 600.0,
    }  # fmt: skip


def test_tables_say_what_is_there_and_no_more(tmp_path: Path) -> None:
    results = Results(tmp_path)
    runs = [r for r in planned() if r.part == "a" and r.data_set == "polyp"]
    empty = part_tables("a", runs, results)
    assert not any(c.isdigit() for c in empty.replace("of 3", "").replace("0 ", ""))
    results.write(Run("a", "polyp", "sdseg", 0), result_of({"x": 0.8, "y": 0.9}, 0.7, 400))
    results.write(Run("a", "polyp", "fpn", 0), result_of({"x": 0.9, "y": 0.9}, 0.6, 900))
    results.write(Run("a", "polyp", "fpn", 1), result_of({"x": 0.8, "y": 0.9}, 0.6, 1100))
    lines = part_tables("a", runs, results).splitlines()
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    ours, fpn, unet = cells[2], cells[3], cells[4]
    assert ours[2:6] == ["1 of 3", "0.850", "polyp 0.850", "-"]
    assert fpn[2] == "2 of 3" and fpn[3] == "0.875 (0.850 to 0.900)"
    assert fpn[5].startswith("-0.025 (") and fpn[7].startswith("+0.100")
    assert fpn[8:] == ["5.0% of 40", "1000", "10"]
    assert unet[2:4] == ["0 of 3", "not run yet"]
    head, shifted = cells[8], cells[10]
    assert shifted[head.index("blur")] == "0.650" and shifted[head.index("noise")] == "-"


def test_runs_on_different_processors_are_named(tmp_path: Path) -> None:
    results = Results(tmp_path)
    runs = [Run("a", "polyp", side) for side in ("sdseg", "fpn", "unet")]
    for run, processor in zip(runs, ("old", "old", "new"), strict=True):
        assert "different processors" not in part_tables("a", runs, results)
        own = {"run": run.name, "trained_in": run.name, "processor": processor}
        results.write(run, {**result_of({"x": 0.8}, 0.7, 400), **own})
    note = "Trained on different processors: polyp. old: a-polyp-sdseg-0, a-polyp-fpn-0; new: "
    assert f"\n\n{note}a-polyp-unet-0.\n\n" in part_tables("a", runs, results)


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    text = "before <!-- a -->old<!-- end of a --> after"
    assert between(text, "a", "new") == "before <!-- a -->\nnew\n<!-- end of a --> after"
    with pytest.raises(UserError, match="no place for the table 'b'"):
        between(text, "b", "new")
    document = Path(__file__).parents[2] / "docs" / "accuracy.md"
    copy = tmp_path / "accuracy.md"
    copy.write_text(document.read_text("utf-8"), "utf-8")
    write_tables(copy, planned(), Results(document.parents[1] / "benchmarks" / "results" / "peers"))
    assert copy.read_text("utf-8") == document.read_text("utf-8")  # the committed one is current


def test_cards_tell_where_a_peer_is_ahead(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    card = tmp_path / "models" / "polyp" / "CARD.md"
    card.parent.mkdir(parents=True)
    card.write_text("# Polyps\n")
    results.write(Run("b", "polyp", "sdseg"), result_of({"x": 0.8, "y": 0.9}, 0.7, 400))
    assert write_cards(tmp_path / "models", results) == []  # nothing to compare with
    results.write(Run("b", "polyp", "unet"), result_of({"x": 0.7, "y": 0.9}, 0.6, 900))
    assert write_cards(tmp_path / "models", results) == [card]
    assert "| MONAI U-Net from scratch | 0.800 | +0.050 (" in card.read_text()
    assert "Ahead" not in card.read_text()
    results.write(Run("b", "polyp", "fpn"), result_of({"x": 0.9, "y": 0.9}, 0.72, 900))
    assert write_cards(tmp_path / "models", results) == [card]
    told = card.read_text()
    assert told.startswith("# Polyps\n\n## Beside") and told.count("## Beside") == 1
    ahead = "Ahead of this model by 0.050 on test.txt and 0.020 on shifted pictures: same trunk"
    assert ahead in told and WHY["polyp", "fpn"] in told
    assert write_cards(tmp_path / "models", results) == []  # current


def test_the_shipped_cards_are_current(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for name in ("polyp", "chest-xray-lungs", "fundus-disc-cup"):
        (tmp_path / name).mkdir()
        shutil.copyfile(root / "resources/models" / name / "CARD.md", tmp_path / name / "CARD.md")
    assert write_cards(tmp_path, Results(root / "benchmarks" / "results" / "peers")) == []


def test_a_trial_never_lies_among_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "nowhere", "--trial-seconds", "5"]
    for folders in ([], ["--results", "r"], ["--work", "w"]):
        assert main([*words, *folders]) == 1
        assert "A trial is no result" in capsys.readouterr().err


def test_scores_that_could_not_be_kept_are_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nowhere" / "scores.json"
    words = ["--data", str(tmp_path), "--score-model", str(tmp_path / "none"), "--json", str(file)]
    assert main(words) == 1
    assert f"There is no folder {file.parent}" in capsys.readouterr().err


def test_a_set_without_a_test_list_is_refused_before_it_is_trained_on(tmp_path: Path) -> None:
    setting = setting_of(tmp_path)
    (setting.data / "polyp" / "test.txt").unlink()
    with pytest.raises(UserError, match="a-polyp-unet-0 has no test list"):
        do_run(RUN, setting)
    assert not setting.work.exists() and setting.results.read(RUN) is None


def test_results_that_are_damaged_are_named(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.file(RUN).write_text("{")
    with pytest.raises(UserError, match=r"a-polyp-unet-0\.json is damaged"):
        results.read(RUN)
    results.write(RUN, {"steps": 1})
    assert json.loads(results.file(RUN).read_text()) == {"steps": 1}


@pytest.mark.parametrize("names", [("disc",), ("disc", "spot")])
def test_sdseg_goes_on_after_its_autoencoder_and_pays_for_it(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    setting = setting_of(tmp_path)
    if len(names) == 2:
        for file in (setting.data / "polyp" / "masks").iterdir():
            mask = np.asarray(Image.open(file)).copy()
            mask[:10, :10] = 2
            Image.fromarray(mask).save(file)
    base = options_for(RUN, setting)
    few = replace(base.optimisation, batch=2, autoencoder_steps=3, latent_variants=0)
    options = replace(
        base, targets=tuple(Target(name, (n + 1,)) for n, name in enumerate(names)),
        preset="tiny", preprocessing=Preprocessing(size=64), optimisation=few,
        objective=replace(base.objective, pyramid_weight=0.0),
    )  # fmt: skip
    data = read_data(options, lambda _: None)
    budget = Budget(100.0)
    side = begin("sdseg", None, options, data, budget, lambda _: None)
    assert 0.0 < budget.begun == budget.spent
    for _ in range(2):
        with budget.counting():
            side.update()
    side.save()
    later = Budget(100.0)
    again = begin("sdseg", None, options, data, later, lambda _: None)
    assert again.step == 2
    assert (later.spent, later.begun) == (budget.spent, budget.begun)
    pictures = data[1].batch(torch.tensor([0]))[0]
    with torch.inference_mode():
        one, other = side.finish()(pictures), again.finish()(pictures)
    assert torch.equal(one, other)
    assert one.shape == (1, 1 if len(names) == 1 else 3, 64, 64)
