"""Label values from one grid onto another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Grid


def resample_labels(values: NDArray[np.uint8], grid: Grid, target: Grid) -> NDArray[np.uint8]:
    """Each voxel of the target gets the label of the nearest voxel; outside of the grid it is 0.

    Args:
        values: uint8 ``[k, j, i]`` on `grid`.
        grid: where they lie; its axes may run in any direction.
        target: where they are wanted.

    Returns:
        uint8 ``[k, j, i]`` of the target's shape; equal values where both grids are the same.
    """
    from scipy import ndimage

    turn = np.linalg.inv(grid.affine) @ target.affine  # (i, j, k) of the target to (i, j, k)
    turn = turn[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    moved = np.zeros(target.shape, dtype=np.uint8)
    ndimage.affine_transform(
        values,
        np.round(turn, 9),  # a hair beside the middle between two voxels is the middle
        output=moved,
        output_shape=target.shape,
        order=0,
        mode="grid-constant",
        prefilter=False,
    )
    return moved


def grids_meet(one: Grid, other: Grid) -> bool:
    """True if the boxes around both grids, along the axes of the world, share some space."""
    first, second = one.corners(), other.corners()
    reach = max(*one.spacing, *other.spacing)
    return bool(
        (first.min(axis=0) <= second.max(axis=0) + reach).all()
        and (second.min(axis=0) <= first.max(axis=0) + reach).all()
    )
