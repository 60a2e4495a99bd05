"""What stands in the corners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.domain.case import new_case
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from sdseg_gui.canvas import texts

CT = Volume(
    np.zeros((3, 4, 5), dtype=np.int16),
    Grid((3, 4, 5), np.array([[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 2.5, -10], [0, 0, 0, 1.0]])),
    modality="CT",
    unit="HU",
)


def test_place_of_an_axial_slice() -> None:
    assert texts.place(CT, 1) == ["Slice 2 / 3", "F 7.5 mm"]


def test_position_follows_the_plane() -> None:
    grid = Grid((3, 4, 5), np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert texts.position(grid, 1, 3) == "P 3.0 mm"
    assert texts.position(grid, 2, 4) == "L 4.0 mm"


def test_window_names_the_unit_and_keeps_digits_of_narrow_windows() -> None:
    assert texts.window(CT, (40.0, 400.0)) == ["Level 40 · Width 400 HU"]
    assert texts.window(CT, (0.52, 1.25)) == ["Level 0.52 · Width 1.25 HU"]


def test_a_picture_has_no_position_and_colour_no_window() -> None:
    pixels = np.zeros((1, 30, 40, 3), dtype=np.uint8)
    scan = Volume(pixels, picture_grid(30, 40), modality="picture")
    assert texts.place(scan, 0) == []
    assert texts.window(scan, (1.0, 2.0)) == []
    assert texts.title(new_case(scan, Path("eye.png"))) == ["eye", "40 × 30 px"]


@pytest.mark.parametrize(
    ("longest", "length", "caption"),
    [(37.0, 20.0, "20 mm"), (50.0, 50.0, "50 mm"), (0.3, 0.2, "0.2 mm"), (199.0, 100.0, "100 mm")],
)
def test_scale_bar_is_round(longest: float, length: float, caption: str) -> None:
    assert texts.scale_bar(longest) == (pytest.approx(length), caption)
