"""Label values of another grid, onto that of a case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.imaging.resampling import grids_meet, resample_labels

NEAREST = "nearest"
_CHANGED = 0.05  # of a label's volume; less is what voxels of another size always do
Tell = Callable[[str], None]
SAME_SCAN = "Open the mask that was drawn on this very scan."


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
