"""Label values onto the grid of a case, and what only a person can tell about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.imaging.resampling import grids_meet, resample_labels

FIRST, LAST = "first", "last"  # which of two overlapping segments gets a voxel
NEAREST = "nearest"
_CHANGED = 0.05  # of a label's volume; less is what voxels of another size always do
Tell = Callable[[str], None]
SAME_SCAN = "Open the mask that was drawn on this very scan."


def put_labels(
    path: Path,
    found: NDArray[np.unsignedinteger[Any]],
    place: NDArray[np.intp],
    new: NDArray[np.unsignedinteger[Any]],
    overlap: str,
) -> None:
    """Writes labels into an array, unless a voxel has another one already.

    Args:
        path: for the sentences.
        found: ``[k, j, i]``, changed in place.
        place: voxels (i, j, k), ``[3, n]``.
        new: label of each.
        overlap: FIRST or LAST, or "" to ask.

    Raises:
        ChoiceNeeded: a voxel would get two labels.
    """
    i, j, k = place
    old = found[k, j, i]
    taken = (old != 0) & (old != new)
    if taken.any() and overlap not in (FIRST, LAST):
        raise ChoiceNeeded(
            f"Segments of {path.name} overlap, and a voxel can have one label.",
            hint="Choose which gets it: the segment of the lower or of the higher number "
            "(--overlap first, --overlap last).",
            about="overlap",
            choices=[Choice(FIRST, "the lower number gets it"), Choice(LAST, "the higher number")],
        )
    higher = np.maximum(old, new) if overlap == LAST else np.minimum(old, new)
    found[k, j, i] = np.where(taken, higher, new)


def other_grid(path: Path, case: Case, grid: Grid) -> UserError:
    """A mask on another grid: asked about where both share some space, refused where not."""
    target, even = case.scan.grid, case.scan.is_even
    if not (even and grid.calibrated and target.calibrated and grids_meet(grid, target)):
        return UserError(
            f"{path.name} lies on another grid ({_text(grid)}) than {case.name} ({_text(target)}).",
            hint=SAME_SCAN,
        )
    return ChoiceNeeded(
        f"{path.name} lies on another grid ({_text(grid)}) than {case.name} ({_text(target)}).",
        hint="Have it resampled by the nearest voxel (--resample), or open the mask that was drawn "
        "on this very scan.",
        about="resample",
        choices=[Choice(NEAREST, "resample it by the nearest voxel")],
    )


def put_on_grid(
    path: Path, values: NDArray[np.uint8], grid: Grid, target: Grid, tell: Tell
) -> NDArray[np.uint8]:
    """`resample_labels`, and a sentence about labels that are lost or got another size by it."""
    moved = resample_labels(values, grid, target)
    before, after = (
        np.bincount(array.reshape(-1), minlength=256) * abs(np.linalg.det(lattice.affine[:3, :3]))
        for array, lattice in ((values, grid), (moved, target))
    )
    odd: list[str] = []
    for label in (np.flatnonzero(before[1:]) + 1).tolist():
        change = after[label] / before[label] - 1
        if not after[label]:
            odd.append(f"label {label} was lost")
        elif abs(change) > _CHANGED:
            what = "less" if change < 0 else "more"
            odd.append(f"label {label} got {100 * abs(change):.0f} % {what} volume")
    if odd:
        tell(f"By resampling {path.name}, {', '.join(odd)}.")
    return moved


def _text(grid: Grid) -> str:
    shape = " x ".join(str(n) for n in grid.shape[::-1])
    return f"{shape} voxels of {' x '.join(f'{s:.3g}' for s in grid.spacing[::-1])} mm"
