"""A whole run of two classes: --target given twice, or labels.json, to a model that tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.models.schema import ModelInfo
from engine.models.store import read_entry
from tests.engine.cli.calls import pixels, refused, sdseg, text_file
from tests.engine.cli.test_train_cli import RECIPE, draw

# Enough to find the discs; both values of the masks, 1 (rim) and 2 (cup).
MORE = (
    "--steps", 60, "--autoencoder-steps", 150, "--autoencoder-lr", 1e-2, "--base-lr", 1e-3,
    "--ema-decay", 0.8, "--val-every", 60, "--checkpoint-every", 60,
)  # fmt: skip


def train(folder: Path, *more: Any) -> tuple[Any, ...]:
    recipe = text_file(folder / "bare.args", RECIPE.replace("--target disc=1,2\n", ""))
    return ("train", f"@{recipe}", "--data", folder, "--output", folder / "discs", *MORE, *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data and the model `discs`, whose targets overlap: the disc holds the cup."""
    folder = draw(tmp_path_factory.mktemp("classes"))
    text_file(folder / "labels.json", '{"0": "background", "1": "rim", "2": "cup"}')
    assert sdseg(*train(folder, "--target", "disc=1,2", "--target", "cup=2")) == 0
    return folder


def made(folder: Path) -> ModelInfo:
    return read_entry(folder / "discs").info


def test_the_model_names_its_classes_and_targets(trained: Path) -> None:
    info = made(trained)
    assert info.classes == {1: "rim", 2: "cup"} and info.class_coding == "channels"
    assert [(t.name, t.class_ids) for t in info.targets] == [("disc", (1, 2)), ("cup", (2,))]
    assert info.softmax_temperature is not None and 0.04 < info.softmax_temperature < 2.1
    assert any("Several classes" in sentence for sentence in info.departures)


def test_the_card_has_a_score_for_each_target(trained: Path) -> None:
    scores = made(trained).scores
    both = [scores[f"Dice of {name} on val.txt"] for name in ("disc", "cup")]
    assert all(0 <= score <= 1 for score in both) and both[0] > 0.3
    mean = scores["Dice on val.txt, 2 cases, native grid"]
    assert mean == pytest.approx(sum(both) / 2, abs=1e-6)
    card = (trained / "discs" / "CARD.md").read_text()
    assert "Dice of disc on val.txt" in card and "Dice of cup on val.txt" in card
    assert "target-free views of val.txt" in card and "pairwise Dice" in card


def test_segment_writes_class_ids_and_a_target_of_them(trained: Path, tmp_path: Path) -> None:
    source = trained / "images" / "case7.png"
    call = ("segment", source, "--model", trained / "discs", "--output")
    assert sdseg(*call, tmp_path / "all.png") == 0
    whole = pixels(tmp_path / "all.png")
    assert set(np.unique(whole)) <= {0, 1, 2} and (whole > 0).any()
    assert sdseg(*call, tmp_path / "disc.png", "--target", "disc") == 0
    assert np.array_equal(pixels(tmp_path / "disc.png") > 0, whole > 0)


def test_evaluate_repeats_the_scores_of_each_target(trained: Path, tmp_path: Path) -> None:
    files = ("--images", trained / "images", "--masks", trained / "masks")
    more = ("--cases", trained / "val.txt", "--json", tmp_path / "r.json")
    assert sdseg("evaluate", "--model", trained / "discs", *files, *more) == 0
    mean = json.loads((tmp_path / "r.json").read_text())["mean"]
    assert mean["dice"] == pytest.approx(
        made(trained).scores["Dice on val.txt, 2 cases, native grid"]
    )


def test_without_targets_the_labels_file_tells_them(tmp_path: Path) -> None:
    folder = draw(tmp_path)
    text_file(folder / "names.json", '{"1": "ring", "2": "core"}')
    few = ("--steps", 1, "--autoencoder-steps", 1)
    assert sdseg(*train(folder, *few, "--labels", folder / "names.json")) == 0
    info = made(folder)
    assert info.classes == {1: "ring", 2: "core"}
    assert [(t.name, t.class_ids) for t in info.targets] == [("ring", (1,)), ("core", (2,))]


def test_more_classes_than_channels_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = draw(tmp_path)
    many = [word for n in range(1, 5) for word in ("--target", f"t{n}={n}")]
    line = refused(capsys, *train(folder, *many))
    assert "classes" in line or "target" in line
    assert not (folder / "discs").exists()
