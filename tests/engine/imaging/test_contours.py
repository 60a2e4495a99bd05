"""Outlines and filling give each other back."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.imaging.contours import area, fill, outlines

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


def test_a_polygon_through_the_centres_of_the_outermost_pixels_holds_them_all() -> None:
    square = np.array([[1.0, 2.0], [6.0, 2.0], [6.0, 5.0], [1.0, 5.0]])
    wanted = np.zeros((8, 9), dtype=bool)
    wanted[2:6, 1:7] = True
    for points in (square, square[::-1], square + 0.004, np.round(square * 0.7, 2) / 0.7):
        assert np.array_equal(fill([points], (8, 9)), wanted)
    assert fill([square + 0.02], (8, 9)).sum() == 3 * 5, "two sides lie beside the centres"


def test_slanted_edges_hold_the_centres_that_they_meet() -> None:
    slanted = np.array([[0.0, 4.0], [4.0, 0.0], [8.0, 4.0], [4.0, 8.0]])
    row, column = np.indices((9, 9))
    assert np.array_equal(fill([slanted], (9, 9)), abs(row - 4) + abs(column - 4) <= 4)
    steep = np.array([[0.0, 0.0], [3.0, 6.0], [0.0, 6.0]])  # meets (0, 0), (1, 2), (2, 4), (3, 6)
    row, column = np.indices((7, 4))
    assert np.array_equal(fill([steep], (7, 4)), 2 * column <= row)
    assert np.array_equal(fill([steep[:, ::-1]], (4, 7)), (2 * column <= row).T)


def test_a_hole_drawn_through_the_centres_of_the_pixels_around_it() -> None:
    outer = np.array([[0, 0], [8, 0], [8, 8], [0, 8]], float)
    around = np.array([[2, 3], [6, 3], [6, 6], [2, 6]], float)
    wanted = np.ones((9, 9), dtype=bool)
    wanted[4:6, 3:6] = False
    assert np.array_equal(fill([outer, around], (9, 9)), wanted)
    # the same as one polygon, with a cut along a row of centres
    cut = np.array([[0, 0], [8, 0], [8, 8], [0, 8], [0, 4], [2, 4], [2, 3], [6, 3], [6, 6], [2, 6]])
    keyhole = np.concatenate([cut, [[2, 4], [0, 4]]]).astype(float)
    assert np.array_equal(fill([keyhole], (9, 9)), wanted)


def test_spurs_one_pixel_wide_are_drawn_there_and_back() -> None:
    there = np.array([[1, 1], [3, 1], [3, 2], [7, 2], [3, 2], [3, 3], [1, 3]], float)
    filled = fill([there], (5, 9))
    assert filled[2].tolist() == [False, *[True] * 7, False] and filled.sum() == 9 + 4


def test_points_and_lines_are_no_area() -> None:
    line = np.array([[1, 2], [6, 2], [3, 2]], float)
    for points in (line, line[:2], line[:1], line[[0, 0, 0]], line[:, ::-1]):
        assert area(points) == 0
        assert not fill([points], (8, 9)).any()
    assert area(np.array([[0, 0], [4, 0], [4, 2]], float)) == 4


def test_edges_outside_of_the_picture_touch_nothing() -> None:
    big = np.array([[-1.0, -1.0], [8.0, -1.0], [8.0, 5.0], [-1.0, 5.0]])
    assert fill([big], (5, 8)).all()
    assert not fill([big + 30], (5, 8)).any()
    assert not fill([big - 9], (5, 8)).any()


def test_no_cut_between_holes_runs_through_another_hole() -> None:
    mask = np.ones((12, 40), dtype=bool)
    mask[2:10, 3::4] = False  # walls with holes between them, all in the same rows
    mask[5, 5::4] = False
    outline = outlines(mask)
    assert np.array_equal(fill(outline, mask.shape), mask)
    for points in outline:
        ends = np.stack([points, np.roll(points, -1, axis=0)])
        cuts = ends[:, (ends[0, :, 1] == ends[1, :, 1]) & (ends[0, :, 1] % 1 == 0)]
        for (first, row), (last, _) in cuts.transpose(1, 0, 2):
            low, high = sorted((first, last))
            assert mask[int(row), int(np.ceil(low)) : int(np.floor(high)) + 1].all()


def test_outlines_of_twenty_thousand_holes_take_about_a_second() -> None:
    mask = np.random.default_rng(0).random((512, 512)) < 0.9
    start = time.process_time()
    found = outlines(mask)
    assert time.process_time() - start < 3.0
    assert np.array_equal(fill(found, mask.shape), mask)


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((4, 4), dtype=bool)) == []
    assert not fill([], (4, 4)).any()
