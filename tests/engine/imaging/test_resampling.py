"""Labels on another grid: where each voxel lies decides, on sheared and turned grids too."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.domain.grid import Grid
from engine.imaging.resampling import grids_meet, resample_labels

SHAPE = (4, 5, 6)
VALUES = arrays(np.uint8, SHAPE)
AFFINE = np.array(
    [[-0.7, 0.1, 0.0, 3.0], [0.0, -0.9, 0.4, -2.0], [0.1, 0.0, 2.5, 40.0], [0, 0, 0, 1.0]]
)


@settings(deadline=None)  # SciPy is imported by the first
@given(values=VALUES)
def test_onto_its_own_grid_nothing_changes(values: np.ndarray) -> None:
    grid = Grid(SHAPE, AFFINE)
    assert np.array_equal(resample_labels(values, grid, grid), values)


@given(values=VALUES, factor=st.sampled_from([2, 3, 5]))
def test_on_a_finer_grid_each_voxel_becomes_a_block(values: np.ndarray, factor: int) -> None:
    finer = AFFINE @ np.diag([1 / factor, 1 / factor, 1 / factor, 1])
    shift = np.eye(4)
    shift[:3, 3] = -(factor - 1) / 2  # so that the blocks have the voxels' own centres
    grid = Grid(tuple(n * factor for n in SHAPE), finer @ shift)
    blocks = values
    for axis in range(3):
        blocks = blocks.repeat(factor, axis=axis)
    assert np.array_equal(resample_labels(values, Grid(SHAPE, AFFINE), grid), blocks)


@given(values=VALUES, order=st.permutations(range(3)))
def test_in_another_axis_order_the_same_voxels_keep_their_labels(
    values: np.ndarray, order: list[int]
) -> None:
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, old in enumerate(order):
        turn[old, new] = 1
    moved = np.ascontiguousarray(values.transpose(2, 1, 0).transpose(order).transpose(2, 1, 0))
    target = Grid(moved.shape, AFFINE @ turn)
    assert np.array_equal(resample_labels(values, Grid(SHAPE, AFFINE), target), moved)


def test_outside_of_the_mask_there_is_nothing() -> None:
    shifted = AFFINE.copy()
    shifted[:3, 3] += AFFINE[:3, 2] * 2  # two slices on
    values = np.full(SHAPE, 7, np.uint8)
    moved = resample_labels(values, Grid(SHAPE, AFFINE), Grid(SHAPE, shifted))
    assert (moved[:2] == 7).all() and not moved[2:].any()


def test_grids_far_from_each_other_do_not_meet() -> None:
    here, away = Grid(SHAPE, AFFINE), AFFINE.copy()
    away[0, 3] += 500
    assert grids_meet(here, here) and not grids_meet(here, Grid(SHAPE, away))
