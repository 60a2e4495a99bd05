"""Voxels that hold no number (NaN, infinity): the lowest value in a scan, background in a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.volume import Volume
from engine.errors import UserError


def fill_scan(scan: Volume, remarks: list[str]) -> Volume:
    """A scan in which every voxel holds a number.

    Args:
        scan: as its file holds it; it is not changed.
        remarks: gets a sentence if there was something to fill.
    """
    if scan.array.dtype.kind != "f":
        return scan
    good = np.isfinite(scan.array)
    missing = good.size - int(np.count_nonzero(good))
    if not missing:
        return scan
    remarks.append(f"{missing} voxels hold no number; they are given the lowest value.")
    lowest = scan.array.min(where=good, initial=np.inf) if missing < good.size else 0
    return replace(scan, array=np.where(good, scan.array, scan.array.dtype.type(lowest)))


def fill_mask(path: Path, values: NDArray[Any], tell: Callable[[str], None]) -> NDArray[Any]:
    """Values of a mask in which NaN is 0: programs write it where nothing was drawn.

    The lowest value, as in a scan, would be a label.

    Args:
        path: for the sentences.
        values: of any type and shape; not changed.
        tell: called with a sentence if there was something to fill.

    Raises:
        UserError: a voxel is infinite, which means nothing in a mask.
    """
    if values.dtype.kind != "f":
        return values
    if np.isinf(values).any():
        raise UserError(
            f"{path.name} is no mask: it holds infinite values.",
            hint="Save it with one whole number a label, and 0 for the background.",
        )
    missing = np.isnan(values)
    if not missing.any():
        return values
    count = int(np.count_nonzero(missing))
    tell(f"{count} voxels of {path.name} hold no number; they are background.")
    return np.where(missing, values.dtype.type(0), values)
