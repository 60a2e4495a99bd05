"""False finds: where there is no target, and what a model finds there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.domain.box import Box
from engine.errors import UserError
from engine.evaluation.pairs import find_pairs
from engine.evaluation.target_free import FalseFinds, false_finds, largest_empty
from engine.models.store import read_entry
from engine.sdseg.folder import save_model
from engine.sdseg.segmenter import Segmenter
from tests.engine.io.phantoms import write_nifti
from tests.tiny_model import tiny_info, tiny_network


def target(rows: slice, columns: slice, shape: tuple[int, int] = (100, 200)) -> np.ndarray:
    found = np.zeros((1, *shape), bool)
    found[0, rows, columns] = True
    return found


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [
        (slice(10, 20), slice(50, 60), Box((0, 22, 0), (1, 100, 200))),  # below
        (slice(80, 90), slice(50, 60), Box((0, 0, 0), (1, 78, 200))),  # above
        (slice(10, 90), slice(150, 170), Box((0, 0, 0), (1, 100, 146))),  # left
        (slice(10, 90), slice(20, 40), Box((0, 0, 44), (1, 100, 200))),  # right
        (slice(25, 75), slice(50, 150), None),  # a quarter on every side
        (slice(0, 100), slice(0, 200), None),
    ],
)
def test_the_largest_rectangle_beside_the_target_is_taken(rows, columns, box) -> None:
    mask = target(rows, columns)
    found = largest_empty(mask)
    assert found == box
    if found is not None:
        assert not mask[found.slices].any()


def test_a_picture_without_the_target_is_taken_whole() -> None:
    assert largest_empty(np.zeros((1, 30, 40), bool)) == Box((0, 0, 0), (1, 30, 40))


def segmenter(folder: Path, bias: float) -> Segmenter:
    """A real network whose decoder says everywhere foreground, or nowhere."""
    network = tiny_network()
    with torch.no_grad():
        network.autoencoder.decoder.conv_out.weight.zero_()
        network.autoencoder.decoder.conv_out.bias.fill_(bias)
    save_model(folder, network, tiny_info(), "# Tiny\n")
    return Segmenter.load(read_entry(folder), "cpu")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A picture with target (2) and one without, and a volume with target in slices 1 and 2."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8)
    for stem, place in (("with", slice(5, 15)), ("without", slice(0, 0))):
        mask = np.zeros((60, 80), np.uint8)
        mask[place, 20:40] = 2
        mask[50:, 60:] = 1  # another class: no target
        Image.fromarray(grey).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{stem}.png")
    values = np.random.default_rng(1).integers(0, 900, (24, 20, 5)).astype(np.int16)
    truth = np.zeros((24, 20, 5), np.uint8)
    truth[4:9, 5:9, 1:3] = 2
    write_nifti(tmp_path / "images" / "volume.nii.gz", values, np.diag([-1.0, -1.5, 2.0, 1.0]))
    write_nifti(tmp_path / "masks" / "volume.nii.gz", truth, np.diag([-1.0, -1.5, 2.0, 1.0]))
    return tmp_path


def finds(model: Segmenter, folder: Path, stems: list[str]) -> FalseFinds:
    pairs = find_pairs(folder / "images", folder / "masks", stems, "test.txt")
    return false_finds(model, pairs, (2,))


def test_every_view_counts_for_a_model_that_marks_everything(files: Path) -> None:
    model = segmenter(files / "all", 1.0)
    assert finds(model, files, ["with"]) == FalseFinds(1, 1)
    assert finds(model, files, ["volume"]) == FalseFinds(3, 3)  # of five slices
    both = finds(model, files, ["with", "without", "volume"])
    assert both == FalseFinds(5, 5) and both.share == 1.0


def test_none_counts_for_a_model_that_marks_nothing(files: Path) -> None:
    found = finds(segmenter(files / "none", -1.0), files, ["with", "without", "volume"])
    assert found == FalseFinds(5, 0) and found.share == 0.0


def test_without_any_view_there_is_no_share(files: Path) -> None:
    full = np.full((60, 80), 2, np.uint8)
    Image.fromarray(full).save(files / "masks" / "with.png")
    found = finds(segmenter(files / "all", 1.0), files, ["with"])
    assert found == FalseFinds(0, 0) and found.share is None


def test_a_mask_of_another_size_is_refused_by_name(files: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(files / "masks" / "with.png")
    with pytest.raises(UserError, match="with"):
        finds(segmenter(files / "all", 1.0), files, ["with"])
