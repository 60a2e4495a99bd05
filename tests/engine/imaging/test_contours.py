"""Outlines and filling give each other back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.imaging.contours import fill, outlines

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(mask=MASKS)
def test_any_mask_comes_back_from_its_outlines(mask: np.ndarray) -> None:
    assert np.array_equal(fill(outlines(mask), mask.shape), mask)


@given(mask=MASKS, scale=st.floats(0.2, 3.0), shift=st.floats(-500.0, 500.0))
def test_the_way_through_millimetres_of_three_decimals_loses_nothing(
    mask: np.ndarray, scale: float, shift: float
) -> None:
    away = [np.round(points * scale + shift, 3) for points in outlines(mask)]
    back = [(points - shift) / scale for points in away]
    assert np.array_equal(fill(back, mask.shape), mask)


def test_a_square_has_four_sides_half_a_pixel_outside_of_its_centres() -> None:
    mask = np.zeros((6, 7), dtype=bool)
    mask[2:4, 1:5] = True
    (points,) = outlines(mask)
    assert points.min(axis=0).tolist() == [0.5, 1.5]
    assert points.max(axis=0).tolist() == [4.5, 3.5]
    assert len(points) == 8, "four sides, and four corners that are cut"


def test_a_hole_is_part_of_one_polygon() -> None:
    mask = np.ones((9, 9), dtype=bool)
    mask[2:4, 2:4] = mask[6, 6] = False
    (points,) = outlines(mask)
    assert np.array_equal(fill([points], mask.shape), mask)


def test_two_polygons_one_in_the_other_leave_a_hole() -> None:
    outer = np.array([[0, 0], [9, 0], [9, 9], [0, 9]]) - 0.5
    inner = np.array([[3, 3], [6, 3], [6, 6], [3, 6]]) - 0.5
    filled = fill([outer, inner], (9, 9))
    assert filled.sum() == 81 - 9
    assert not filled[3:6, 3:6].any()


def test_what_lies_outside_of_the_picture_is_cut_off() -> None:
    big = np.array([[-50.0, -50.0], [3.4, -50.0], [3.4, 90.0], [-50.0, 90.0]])
    filled = fill([big], (5, 8))
    assert filled[:, :4].all()
    assert not filled[:, 4:].any()


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((4, 4), dtype=bool)) == []
    assert not fill([], (4, 4)).any()
