"""From a file's own axes to the array's (LPS+), and back."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box
from engine.domain.grid import Affine, Grid, Shape3
from engine.domain.stored import StoredForm

# World axes are RAS+, array axes LPS+: i runs to the left, j to the back, k to the head.
_WORLD_SIGN = np.array([-1.0, -1.0, 1.0])
_THICK = 1.2
_SQUARE = 1e-5  # how far the cosine of two axes may be from that of a right angle


def closest_form(affine: Affine) -> StoredForm:
    """The turn that brings a file's axes closest to LPS+.

    Of the six ways to pair the file's axes with the patient's, the one with the largest sum of
    direction cosines; oblique and sheared scans keep their obliqueness in the affine.

    Args:
        affine: maps the file's voxel (first, second, third axis) to world mm in RAS+.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = affine[:3, :3] / lengths
    best = max(permutations(range(3)), key=lambda p: _alignment(cosines, p))
    signs = [cosines[world, best[world]] * _WORLD_SIGN[world] for world in range(3)]
    return StoredForm(
        axes=(best[2], best[1], best[0]),
        flipped=(bool(signs[2] < 0), bool(signs[1] < 0), bool(signs[0] < 0)),
    )


def _alignment(cosines: NDArray[np.float64], pairing: tuple[int, ...]) -> float:
    # Rounded, so that a tie (45 degrees) does not depend on the last bit.
    return round(sum(abs(float(cosines[world, axis])) for world, axis in enumerate(pairing)), 6)


def is_sheared(affine: Affine) -> bool:
    """True where the axes are not square to each other, which a qform, NRRD or ITK can't say."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(cosines.T @ cosines - np.eye(3)).max() > _SQUARE)


def to_array(stored: NDArray[Any], form: StoredForm) -> NDArray[Any]:
    """A view ``[k, j, i]`` (further axes stay last) of an array in the file's order."""
    rest = tuple(range(3, stored.ndim))
    return stored.transpose(form.axes + rest)[_flips(form)]


def to_stored(array: NDArray[Any], form: StoredForm) -> NDArray[Any]:
    """A view in the file's order of an array ``[k, j, i]``; the reverse of `to_array`."""
    rest = tuple(range(3, array.ndim))
    places = (form.axes.index(0), form.axes.index(1), form.axes.index(2))
    return array[_flips(form)].transpose(places + rest)


def _flips(form: StoredForm) -> tuple[slice, slice, slice]:
    k, j, i = (slice(None, None, -1 if flip else 1) for flip in form.flipped)
    return k, j, i


def array_affine(affine: Affine, shape: Shape3, form: StoredForm) -> Affine:
    """The affine for the array's voxel (i, j, k), given the file's.

    Args:
        affine: for the file's voxel (first, second, third axis).
        shape: of the file's array.
        form: the turn.
    """
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for axis in range(3):  # array axis (k, j, i) is column 2 - axis of its affine
        source = form.axes[axis]
        turn[source, 2 - axis] = -1.0 if form.flipped[axis] else 1.0
        if form.flipped[axis]:
            turn[source, 3] = shape[source] - 1
    return np.asarray(affine, dtype=np.float64) @ turn


def array_box(form: StoredForm, ranges: tuple[range, range, range], shape: Shape3) -> Box:
    """The box ``[k, j, i]`` of half-open ranges on the file's first, second and third axis.

    Args:
        form: of the scan.
        ranges: one a stored axis.
        shape: of the array, (k, j, i).
    """
    start: list[int] = []
    stop: list[int] = []
    for axis in range(3):
        along = ranges[form.axes[axis]]
        first, last = along.start, along.stop
        if form.flipped[axis]:
            first, last = shape[axis] - last, shape[axis] - first
        start.append(first)
        stop.append(last)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def plane_of(grid: Grid) -> int:
    """The axis of the largest spacing if it is > 1.2 times the others, else axial.

    A scan of one slice is counted along its only axis of length 1.
    """
    spacing = grid.spacing
    order = sorted(range(3), key=lambda axis: spacing[axis])
    if spacing[order[2]] > _THICK * spacing[order[1]]:
        return order[2]
    single = [axis for axis in range(3) if grid.shape[axis] == 1]
    return single[0] if len(single) == 1 else 0


# EXIF orientation -> (rows and columns swapped, rows flipped, columns flipped) of the upright
# picture against the stored one.
_EXIF = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def exif_form(rotation: int) -> StoredForm:
    """The turn from a picture's stored (column, row) to its upright array ``[1, row, column]``."""
    rotation = rotation if rotation in _EXIF else 1
    swapped, rows, columns = _EXIF[rotation]
    form = StoredForm("picture", flipped=(False, rows, columns), rotation=rotation)
    return replace(form, axes=(2, 0, 1)) if swapped else form
