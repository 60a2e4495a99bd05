"""Importing a checkpoint: odd and hostile files are refused in one sentence, nothing stays."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.cli.import_checkpoint import read_settings
from engine.errors import Cancelled, UserError
from engine.models.schema import Preprocessing
from engine.sdseg import contained
from engine.sdseg.folder import load_model
from engine.sdseg.import_checkpoint import ImportOptions, import_checkpoint
from engine.sdseg.unpickle import extract

SMALL = Path(__file__).resolve().parents[2] / "data" / "sdseg_small"
OPTIONS = ImportOptions("small", "Small", Preprocessing(size=64))


def state(name: str = "binary") -> dict[str, Any]:
    return torch.load(SMALL / f"{name}.ckpt", weights_only=True)


def saved(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = state()
    change(content["state_dict"])
    torch.save(content, path)
    return path


def refused(source: Path, tmp_path: Path, options: ImportOptions = OPTIONS) -> str:
    output = tmp_path / "out" / "model"
    with pytest.raises(UserError) as caught:
        import_checkpoint(source, output, options)
    assert list(tmp_path.glob("out/*")) == [], "something was left behind"
    assert "\n" not in caught.value.message
    return caught.value.message


class Trap:
    """Unpickling it would leave a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


@pytest.mark.parametrize("place", ["state_dict", "callbacks"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, place: str) -> None:
    content = state()
    if place == "state_dict":
        content["state_dict"]["model.diffusion_model.out.2.bias"] = Trap(tmp_path / "proof")
    else:
        content["callbacks"] = {Trap: Trap(tmp_path / "proof")}
    torch.save(content, tmp_path / "bad.ckpt")
    with contextlib.suppress(UserError):  # a stand-in beside the weights does no harm
        import_checkpoint(tmp_path / "bad.ckpt", tmp_path / "model", OPTIONS)
    assert not (tmp_path / "proof").exists()


def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "bad.ckpt").write_bytes(pickle.dumps(Trap(tmp_path / "proof")))
    assert "bad.ckpt" in refused(tmp_path / "bad.ckpt", tmp_path)
    assert not (tmp_path / "proof").exists()


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    whole = (SMALL / "binary.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "half.ckpt" in refused(tmp_path / "half.ckpt", tmp_path)


def test_one_flipped_byte_in_the_weights_is_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(SMALL / "binary.ckpt") as archive:
        largest = archive.read(max(archive.infolist(), key=lambda member: member.file_size))
    content = bytearray((SMALL / "binary.ckpt").read_bytes())
    content[content.find(largest) + len(largest) // 2] ^= 1
    (tmp_path / "flipped.ckpt").write_bytes(content)
    said = refused(tmp_path / "flipped.ckpt", tmp_path)
    assert "flipped.ckpt is damaged" in said and "has changed" in said


def forged(path: Path, program: bytes) -> Path:
    """A checkpoint whose pickle is another one."""
    with (
        zipfile.ZipFile(SMALL / "binary.ckpt") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new,
    ):
        for member in old.infolist():
            inside = member.filename.endswith("/data.pkl")
            new.writestr(member.filename, program if inside else old.read(member))
    return path


def test_a_pickle_that_takes_for_ever_is_stopped(tmp_path: Path) -> None:
    pushes = forged(tmp_path / "slow.ckpt", b"\x80\x02" + b"K\x01" * 30_000_000 + b".")
    started = time.monotonic()
    said = refused(pushes, tmp_path)
    assert "slow.ckpt could not be read: it takes too long" in said
    assert time.monotonic() - started < 60  # a hang is what this is about; speed is for benchmarks


def test_a_pickle_that_takes_all_memory_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contained, "ROOM_BYTES", 50_000_000)  # the watching parent's limit alone
    monkeypatch.setattr(contained, "UNPICKLE_S", 60.0)
    lists = forged(tmp_path / "large.ckpt", b"\x80\x02" + b"]" * 3_000_000 + b".")
    assert "large.ckpt could not be read: it needs more memory" in refused(lists, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the child limits itself on Linux only")
def test_the_child_s_own_limit_holds_too(tmp_path: Path) -> None:
    lists = forged(tmp_path / "large.ckpt", b"\x80\x02" + b"]" * 3_000_000 + b".")
    program = (
        "import sys, pathlib; from engine.cli import child; from engine.sdseg import contained;"
        "contained.ROOM_BYTES = 50_000_000; sys.exit(child.main(['unpickle', *sys.argv[1:]]))"
    )
    words = [sys.executable, "-c", program, str(lists), str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "needs more memory" in ended.stdout


def test_tensors_that_share_one_storage_many_times_are_refused(tmp_path: Path) -> None:
    content = {f"{n}": view for n, view in enumerate(torch.zeros(4, 10_000).expand(4, -1))}
    whole = torch.zeros(50_000)
    content |= {f"view {n}": whole[:40_000] for n in range(100)}
    torch.save(content, tmp_path / "views.ckpt")
    with pytest.raises(UserError, match="many times over"):
        extract(tmp_path / "views.ckpt", tmp_path)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(SMALL / "binary.ckpt") as old,
        zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(UserError, match=r"bomb\.ckpt is no checkpoint"):
        extract(tmp_path / "bomb.ckpt", tmp_path)


def set_nan(weights: dict[str, Any]) -> None:
    weights["model.diffusion_model.out.2.bias"][0] = float("nan")


def repeat(weights: dict[str, Any]) -> None:
    weights["model.diffusion_model.out.2.bias"] = torch.zeros(1).expand(10**9)


def make_sparse(weights: dict[str, Any]) -> None:
    weights["scale_factor"] = torch.eye(3).to_sparse()


@pytest.mark.parametrize(
    ("change", "word"), [(set_nan, "NaN"), (repeat, "repeats"), (make_sparse, "plain")]
)
def test_tensors_that_no_model_has_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    with pytest.raises(UserError, match=word):
        extract(saved(tmp_path / "odd.ckpt", change), tmp_path)


def lose_vision(weights: dict[str, Any]) -> None:
    for name in [n for n in weights if n.startswith("cond_stage_model.")]:
        del weights[name]


def lose_scale(weights: dict[str, Any]) -> None:
    del weights["scale_factor"]


def lose_one(weights: dict[str, Any]) -> None:
    del weights["first_stage_model.decoder.norm_out.bias"]


def reshape(weights: dict[str, Any]) -> None:
    name = "first_stage_model.decoder.conv_out.weight"
    weights[name] = weights[name][:, :16].clone()


def add_one(weights: dict[str, Any]) -> None:
    weights["model.diffusion_model.extra.weight"] = torch.zeros(3)


def scale_of_two(weights: dict[str, Any]) -> None:
    weights["scale_factor"] = torch.tensor([0.2, 0.2])


def scale_of_none(weights: dict[str, Any]) -> None:
    weights["scale_factor"] = torch.empty(0)


def scale_of_nothing(weights: dict[str, Any]) -> None:
    weights["scale_factor"] = torch.tensor(1e-40)


def odd_level(weights: dict[str, Any]) -> None:
    weights["first_stage_model.encoder.down.x.block.0.norm1.weight"] = torch.zeros(2)


def odd_block(weights: dict[str, Any]) -> None:
    lose_averages(weights)
    weights["model.diffusion_model.output_blocks.x.0.in_layers.2.weight"] = torch.zeros(2, 2)


def scalar(weights: dict[str, Any]) -> None:
    weights["first_stage_model.encoder.conv_out.weight"] = torch.tensor(1.0)


def lose_axes(weights: dict[str, Any]) -> None:
    for part in ("first", "cond"):
        name = f"{part}_stage_model.encoder.mid.attn_1.q.weight"
        weights[name] = weights[name][:, :, :0].clone()


def embed(count: int) -> Callable[[dict[str, Any]], None]:
    def change(weights: dict[str, Any]) -> None:
        lose_averages(weights)
        width = len(weights["model.diffusion_model.time_embed.0.weight"])
        weights["model.diffusion_model.label_emb.weight"] = torch.zeros(count, width)

    return change


def lose_averages(weights: dict[str, Any]) -> None:
    for name in [n for n in weights if n.startswith("model_ema.")]:
        del weights[name]


def whole_numbers(weights: dict[str, Any]) -> None:
    lose_averages(weights)
    name = "model.diffusion_model.out.2.weight"
    weights[name] = weights[name].long()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (scale_of_two, "not one number"),
        (scale_of_none, "not one number"),
        (scale_of_nothing, "which is none"),
        (odd_level, "autoencoder is not one of"),
        (odd_block, "U-Net is not one of"),
        (scalar, "autoencoder is not one of"),
        (lose_axes, "make no network"),
        (embed(1), "embeds 1 classes"),
        (embed(300), "embeds 300 classes"),
        (whole_numbers, "whole numbers"),
    ],
)
def test_a_checkpoint_with_odd_names_shapes_or_types_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    assert word in refused(saved(tmp_path / "odd.ckpt", change), tmp_path)


def test_without_averaged_weights_the_lineage_does_not_speak_of_them(tmp_path: Path) -> None:
    info = import_checkpoint(saved(tmp_path / "raw.ckpt", lose_averages), tmp_path / "m", OPTIONS)
    assert info.lineage.initial_weights == ("raw.ckpt, raw weights of the U-Net",)
    _, again = load_model(tmp_path / "m")
    assert again == info


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lose_vision, "no vision encoder"),
        (lose_scale, "scale factor"),
        (lose_one, "norm_out"),
        (reshape, "conv_out"),
        (add_one, "averaged weights are not complete"),
    ],
)
def test_a_checkpoint_that_lacks_or_bends_a_part_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    assert word in refused(saved(tmp_path / "odd.ckpt", change), tmp_path)


def test_someone_else_s_network_is_refused(tmp_path: Path) -> None:
    torch.save({"model.0.conv.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "yolo.pt")
    assert "holds no U-Net" in refused(tmp_path / "yolo.pt", tmp_path)


def test_an_existing_folder_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="exists already"):
        import_checkpoint(SMALL / "binary.ckpt", tmp_path / "model", OPTIONS)


def test_a_network_in_one_object_is_refused_and_its_class_never_run(tmp_path: Path) -> None:
    """As YOLO's files: the whole network pickled, its class known to nobody here."""
    whole = {"epoch": 3, "model": Trap(tmp_path / "proof"), "train_args": {"imgsz": 640}}
    torch.save(whole, tmp_path / "yolo.pt")
    assert "yolo.pt" in refused(tmp_path / "yolo.pt", tmp_path)
    assert not (tmp_path / "proof").exists()


def test_a_foreign_file_is_refused_before_its_tensors_are_copied(tmp_path: Path) -> None:
    torch.save({"model.0.conv.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pt")
    copied: list[tuple[int, int]] = []
    with pytest.raises(UserError, match="holds no U-Net"):
        import_checkpoint(
            tmp_path / "other.pt", tmp_path / "m", OPTIONS, lambda *done: copied.append(done)
        )
    assert copied == []


def test_it_can_be_cancelled_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        import_checkpoint(
            SMALL / "binary.ckpt", tmp_path / "out" / "m", OPTIONS, is_cancelled=lambda: True
        )
    assert list(tmp_path.glob("out/*")) == []


def test_the_lineage_names_the_file_and_its_weights(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    import_checkpoint(
        SMALL / "multi3.ckpt", tmp_path / "m", OPTIONS, lambda a, b: seen.append((a, b))
    )
    _, info = load_model(tmp_path / "m")
    assert seen[-1][0] == seen[-1][1] == len(seen) - 1
    assert info.lineage.steps == 7 and "averaged" in info.lineage.initial_weights[0]
    assert info.classes == {1: "class 1", 2: "class 2"} and info.class_coding == "embed"


CONFIG = "model: {params: {unet_config: {params: {%s}}}}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("num_heads: 4, dropout: 0.1", {"heads": 4, "dropout": 0.1}),
        ("num_heads: 4", {"heads": 4}),
        ("", {}),
    ],
)
def test_heads_and_dropout_come_from_the_yaml(tmp_path: Path, text: str, found: dict) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG % text)
    assert read_settings(tmp_path / "c.yaml") == found


@pytest.mark.parametrize("text", ["a: [", "- 1", CONFIG % "num_heads: many", "!!python/name:os.x"])
def test_a_yaml_that_says_nothing_of_use_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml"):
        read_settings(tmp_path / "c.yaml")
