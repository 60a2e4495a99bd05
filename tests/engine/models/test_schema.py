"""`model.json`: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import UserError
from engine.models.card import render_card
from engine.models.schema import (
    MODEL_JSON,
    FitStatistic,
    Lineage,
    ModelInfo,
    Preprocessing,
    Schedule,
    TargetEntry,
)
from engine.models.store import MAX_JSON_BYTES, read_entry
from engine.sdseg.folder import file_sha256, load_model
from tests.tiny_model import save_tiny, tiny_info

UNET = "unet/diffusion_pytorch_model.safetensors"


def full_info() -> ModelInfo:
    """Every field away from its default."""
    return ModelInfo(
        name="discs",
        title="Discs — Größe",
        preset="compact",
        kind="fundus photograph",
        classes={1: "rim", 2: "cup"},
        targets=(
            TargetEntry(name="disc", class_ids=(1, 2)),
            TargetEntry(name="cup", class_ids=(2,)),
        ),
        class_coding="channels",
        preprocessing=Preprocessing(
            size=96, channels="neighbours", fit="pad", intensity="window",
            window=(40.0, 400.0), field_mm=64.0,
        ),
        plane="coronal",
        roi="box",
        schedule=Schedule(train_timesteps=500, beta_start=0.001, beta_end=0.02),
        trained_timesteps="mixed",
        prediction_type="v_prediction",
        vision_encoder="trunk",
        decoder="mask",
        scale_factor=0.18215,
        precision="fp16",
        default_batch=8,
        softmax_temperature=1.7,
        fit=FitStatistic(threshold=2.5, modalities=("MR",), colour=False, trunk_sha256="ab" * 32),
        hashes={"unet/config.json": "cd" * 32},
        lineage=Lineage(parent_sha256="ef" * 32, initial_weights=("a",), data="set", steps=7),
        scores={"Dice": 0.9},
        departures=("It is narrower.",),
        licence="CC0",
    )  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    """A folder with nothing but a model.json."""
    content = tiny_info().model_dump(mode="json") | changes
    folder.mkdir(exist_ok=True)
    (folder / MODEL_JSON).write_text(json.dumps(content))
    return folder


def test_every_field_survives_writing_and_reading(tmp_path: Path) -> None:
    info = full_info()
    (tmp_path / MODEL_JSON).write_text(info.model_dump_json(indent=1), encoding="utf-8")
    found = read_entry(tmp_path).info
    assert found == info and found.targets[0].class_ids == (1, 2) and found.classes[2] == "cup"
    defaults = tiny_info()
    same = {n for n in ModelInfo.model_fields if getattr(info, n) == getattr(defaults, n)}
    assert same <= {"format_version", "preset"}  # else the test above would say little


def test_a_short_model_json_gets_the_defaults() -> None:
    required = {n for n, field in ModelInfo.model_fields.items() if field.is_required()}
    content = {n: v for n, v in tiny_info().model_dump(mode="json").items() if n in required}
    info = ModelInfo.model_validate_json(json.dumps(content))
    assert info.schedule == Schedule(train_timesteps=1000, beta_start=0.0015, beta_end=0.0155)
    assert (info.plane, info.default_batch, info.fit) == ("scan", 1, None)


def test_a_model_is_never_changed_after_it_was_read() -> None:
    info = full_info()
    with pytest.raises(ValidationError):
        info.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        info.preprocessing.size = 64  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"preset": "huge"},
        {"preprocessing": {"size": 0}},
        {"preprocessing": {"size": 100}},
        {"preprocessing": {"size": 64, "fit": "stretch"}},
        {"preprocessing": {"size": 64, "run": "rm"}},
        {"preprocessing": {"size": 3_200_000}},
        {"preprocessing": {"size": 64, "intensity": "window"}},
        {"scale_factor": 0},
        {"scale_factor": -1.0},
        {"scale_factor": None},
        {"scale_factor": float("nan")},
        {"scale_factor": float("inf")},
        {"default_batch": 0},
        {"prediction_type": "noise"},
        {"class_coding": "one-hot"},
        {"hashes": {"unet/config.json": 7}},
        {"classes": {"one": "disc"}},
        {"classes": {}},
        {"classes": {0: "background"}},
        {"classes": {256: "too many"}},
        {"targets": []},
        {"targets": [{"name": "disc"}]},
        {"name": None},
    ],
    ids=str,
)
def test_what_no_model_can_be_is_refused_in_one_sentence(tmp_path: Path, changes: dict) -> None:
    folder = written(tmp_path / "odd", **changes)
    with pytest.raises(UserError, match=r"odd: model\.json") as caught:
        read_entry(folder)
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("version", [0, 2, "1.5"])
def test_another_version_of_the_format_is_said(tmp_path: Path, version: Any) -> None:
    with pytest.raises(UserError, match="another version") as caught:
        read_entry(written(tmp_path / "odd", format_version=version))
    assert "Update" in caught.value.hint


@pytest.mark.parametrize("field", ["name", "title", "classes", "targets", "preprocessing"])
def test_a_field_that_is_needed_is_missed(tmp_path: Path, field: str) -> None:
    folder = written(tmp_path / "odd")
    content = json.loads((folder / MODEL_JSON).read_text())
    del content[field]
    (folder / MODEL_JSON).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"odd: model\.json"):
        read_entry(folder)


def test_a_model_json_without_end_is_refused_unread(tmp_path: Path) -> None:
    folder = written(tmp_path / "odd", licence="x" * MAX_JSON_BYTES)
    with pytest.raises(UserError, match="too large"):
        read_entry(folder)
    with (folder / MODEL_JSON).open("wb") as stream:
        stream.truncate(50 * 2**30)  # a hole: takes no place on the disk
    with pytest.raises(UserError, match="too large"):
        read_entry(folder)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL_JSON).write_text('{"scores":' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(UserError, match=r"model\.json"):
        read_entry(tmp_path)


def with_hashes(folder: Path, **changes: str | None) -> Path:
    """The folder after someone has rewritten its hashes."""
    content = json.loads((folder / MODEL_JSON).read_text())
    hashes = content["hashes"] | changes
    content["hashes"] = {name: value for name, value in hashes.items() if value is not None}
    (folder / MODEL_JSON).write_text(json.dumps(content))
    return folder


def test_a_wrong_or_missing_hash_is_refused(tmp_path: Path) -> None:
    wrong = with_hashes(save_tiny(tmp_path / "wrong").folder, **{UNET: "00" * 32})
    missing = with_hashes(save_tiny(tmp_path / "missing").folder, **{UNET: None})
    for folder in (wrong, missing):
        with pytest.raises(UserError, match=f"{folder.name}/{UNET} is not the file"):
            load_model(folder)


@pytest.mark.parametrize("way", ["../outside.txt", "unet/../../outside.txt", "absolute"])
def test_paths_that_leave_the_folder_are_refused_even_with_the_right_hash(
    tmp_path: Path, way: str
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("a secret")
    name = str(outside) if way == "absolute" else way
    folder = with_hashes(save_tiny(tmp_path / "m").folder, **{name: file_sha256(outside)})
    with pytest.raises(UserError):
        load_model(folder)


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


def test_a_pickle_under_the_name_of_weights_is_refused_and_never_run(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m").folder
    (folder / UNET).write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    with_hashes(folder, **{UNET: file_sha256(folder / UNET)})
    with pytest.raises(UserError, match="safetensors"):
        load_model(folder)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_a_pickle_beside_missing_weights_is_not_taken_for_them(tmp_path: Path, name: str) -> None:
    folder = save_tiny(tmp_path / "m").folder
    (folder / UNET).unlink()
    file = folder / "unet" / name
    file.write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    with_hashes(folder, **{f"unet/{name}": file_sha256(file)})
    with pytest.raises(UserError, match=f"lacks {UNET}"):
        load_model(folder)
    assert not (tmp_path / "trapped").exists()


def test_the_card_says_what_a_user_should_know() -> None:
    card = render_card(full_info(), "Not for children.")
    for words in (
        "# Discs — Größe", "Research use only. Not a medical device.", "disc, cup",
        "fundus photograph", "CC0", "96 x 96", "Dice | 0.9000", "It is narrower.",
        "Not for children.",
    ):  # fmt: skip
        assert words in card
