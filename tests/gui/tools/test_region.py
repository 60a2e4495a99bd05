"""Where a region of interest is grabbed, and what a drag makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.box import Box
from sdseg_gui.tools.geometry import SliceGeometry
from sdseg_gui.tools.region import Grip, deepened, drawn, grip_at, moved, resized

AXIAL = SliceGeometry((20, 100, 80), (5.0, 1.0, 1.0), 0)
SAGITTAL = SliceGeometry((60, 50, 30), (1.0, 2.0, 4.0), 2)
BOX = Box((5, 10, 20), (9, 40, 60))


def test_geometry_counts_along_its_plane() -> None:
    assert AXIAL.voxel(3, 4, 5) == (3, 4, 5)
    assert SAGITTAL.voxel(3, 4, 5) == (4, 5, 3)
    assert SAGITTAL.slice_shape == (60, 50)
    assert SAGITTAL.pixel_spacing == (1.0, 2.0)
    assert SAGITTAL.slice_spacing == 4.0
    assert SAGITTAL.box(range(1, 3), slice(4, 6), slice(7, 9)) == Box((4, 7, 1), (6, 9, 3))


def test_first_drag_is_about_as_deep_as_wide() -> None:
    box = drawn(AXIAL, 10, (10.2, 20.7), (49.5, 60.1))
    assert box is not None
    assert box.in_slice(0) == (slice(10, 50), slice(20, 61))
    # 40 x 41 mm: 20 mm to both sides are 4 slices of 5 mm.
    assert box.range_along(0) == range(6, 15)


def test_first_drag_holds_its_slice_and_stays_inside() -> None:
    small = drawn(AXIAL, 0, (10, 10), (11, 11))
    assert small is not None and small.range_along(0) == range(0, 1)
    large = drawn(AXIAL, 19, (-30, -30), (300, 300))
    assert large == Box((10, 0, 0), (20, 100, 80))
    assert drawn(AXIAL, 3, (200, 200), (300, 300)) is None


def test_drag_uses_spacing_of_a_sagittal_scan() -> None:
    box = drawn(SAGITTAL, 15, (10, 10), (26, 18))  # 16 x 16 mm, slices 4 mm apart
    assert box is not None and box.range_along(2) == range(13, 18)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (10, 20, Grip(-1, -1)),
        (39, 61, Grip(1, 1)),
        (25, 19, Grip(0, -1)),
        (41, 40, Grip(1, 0)),
        (25, 40, Grip(0, 0)),
        (25, 65, None),
        (5, 40, None),
    ],
)
def test_grip(row: float, column: float, expected: Grip | None) -> None:
    assert grip_at(BOX, 0, row, column, (2.0, 2.0)) == expected


def test_edges_can_be_dragged_past_each_other_and_one_pixel_stays() -> None:
    assert resized(AXIAL, BOX, Grip(-1, 0), 70, 0).in_slice(0) == (slice(40, 70), slice(20, 60))
    assert resized(AXIAL, BOX, Grip(-1, 0), 40, 0).in_slice(0)[0] == slice(39, 40)
    assert resized(AXIAL, BOX, Grip(0, 1), 0, 20).in_slice(0)[1] == slice(20, 21)
    assert resized(AXIAL, BOX, Grip(1, 1), 999, 999).in_slice(0) == (slice(10, 100), slice(20, 80))


def test_shift_drag_changes_the_range_of_slices() -> None:
    more = deepened(AXIAL, BOX, Grip(1, 0), 11.0, 0.0)  # 11 mm outward: two slices of 5 mm
    assert more.range_along(0) == range(5, 11)
    assert deepened(AXIAL, BOX, Grip(-1, 0), -11.0, 0.0).range_along(0) == range(3, 9)
    assert deepened(AXIAL, BOX, Grip(0, 1), 0.0, -500.0).range_along(0) == range(5, 6)
    assert deepened(AXIAL, BOX, Grip(0, -1), 0.0, -500.0).range_along(0) == range(0, 9)
    assert more.in_slice(0) == BOX.in_slice(0)


numbers = st.floats(-400, 400, allow_nan=False)


@given(numbers, numbers, st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1]))
def test_whatever_the_drag_the_box_stays_in_the_scan(
    row: float, column: float, rows: int, columns: int
) -> None:
    grip = Grip(rows, columns)
    shifted = moved(AXIAL, BOX, row, column)
    assert shifted.shape == BOX.shape
    boxes = [shifted, resized(AXIAL, BOX, grip, row, column)]
    if not grip.is_inside:
        boxes.append(deepened(AXIAL, BOX, grip, row, column))
    for box in boxes:
        assert box == box.clipped(AXIAL.shape)
        assert not box.is_empty
