"""Mask files as class ids: what can't be meant is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Grid
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import UserError

WHOLE = 1e-3  # how far a stored value times its slope may lie from a whole number
PART_OF_A_VOXEL = 0.1  # how far the corners of two grids may lie apart
MANY = 6  # values of a mask that nobody has named: this many come from JPEG or from smoothing


@dataclass(frozen=True)
class Known:
    """The mask values that mean something.

    Attributes:
        targets: what is learned.
        named: values that labels.json names.
    """

    targets: Sequence[Target]
    named: frozenset[int] = field(default_factory=frozenset[int])

    @property
    def values(self) -> frozenset[int]:
        """All of them, and the background."""
        return self.named | {0} | {n for target in self.targets for n in target.class_ids}


def check_place(scan: Volume, mask: Volume, image_file: Path, mask_file: Path) -> None:
    """A mask lies where its scan lies.

    Raises:
        UserError: they differ in size, or one of two volumes lies elsewhere, which it always does
            where the slices of a scan lie unevenly.
    """
    if mask.grid.shape != scan.grid.shape:
        raise UserError(
            f"The mask {mask_file.name} ({_size(mask)}) does not have the size of "
            f"{image_file.name} ({_size(scan)})."
        )
    if not (scan.grid.calibrated and mask.grid.calibrated):
        return
    if not scan.is_even:
        raise UserError(
            f"The slices of {image_file.name} lie unevenly, and those of the mask {mask_file.name} "
            "don't.",
            hint="Learn from a project in which the scan was drawn on.",
        )
    if not mask.grid.same_place(scan.grid, PART_OF_A_VOXEL * min(scan.grid.spacing)):
        raise UserError(
            f"The mask {mask_file.name} has the size of {image_file.name} but lies elsewhere: "
            f"{_difference(scan.grid, mask.grid)}.",
            hint="Export the mask again on the grid of the scan, or give it the scan's header if "
            "it lost its own.",
        )


def _size(scan: Volume) -> str:
    sizes = scan.grid.shape[:0:-1] if scan.is_picture else scan.grid.shape[::-1]
    return " x ".join(str(n) for n in sizes)


def _difference(scan: Grid, mask: Grid) -> str:
    if not np.allclose(scan.spacing, mask.spacing, rtol=1e-2):
        found = (" x ".join(f"{s:.3g}" for s in grid.spacing[::-1]) for grid in (mask, scan))
        return "its voxels measure {} mm, the scan's {} mm".format(*found)
    far = float(np.linalg.norm(scan.corners() - mask.corners(), axis=1).max())
    return f"its corners are up to {far:.3g} mm away from the scan's"


def class_ids(mask: Volume, file: Path) -> NDArray[np.uint8]:
    """The values of a mask, uint8 ``[k, j, i]``.

    Raises:
        UserError: it is a colour picture, or holds values that are no class ids.
    """
    if mask.is_colour:
        raise UserError(
            f"The mask {file.name} is a colour picture.",
            hint="A mask holds a class id in each pixel: save it in grey, or with a palette.",
        )
    plain = (mask.slope, mask.intercept) == (1.0, 0.0)
    values: NDArray[Any] = mask.array if plain else mask.real(mask.array)
    if values.dtype == np.uint8:
        return values
    rounded = np.rint(values)
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(values - rounded) <= WHOLE)
    if odd.any():
        raise UserError(
            f"The mask {file.name} holds the value {float(values[odd][0]):.4g}; class ids are "
            "whole numbers.",
            hint="Cut it at a threshold and save it with whole numbers. Do not resample masks "
            "with smoothing.",
        )
    outside = (rounded < 0) | (rounded > 255)
    if outside.any():
        raise UserError(
            f"The mask {file.name} holds the value {int(rounded[outside][0])}; class ids are 0 "
            "to 255.",
            hint="Is it a scan, or does it number each object? Save it with one value a class.",
        )
    return rounded.astype(np.uint8)


def values_of(classes: NDArray[np.uint8]) -> frozenset[int]:
    """The values that occur."""
    counts = np.bincount(classes.reshape(-1), minlength=256)
    return frozenset(np.flatnonzero(counts).tolist())


def check_known(found: frozenset[int], known: Known, file: Path) -> None:
    """Every value of a mask has a name.

    Raises:
        UserError: telling the value found, and what to write if it is the target.
    """
    strange = sorted(found - known.values)
    if not strange:
        return
    if len(strange) > MANY:
        shown = ", ".join(str(n) for n in strange[:MANY])
        raise UserError(
            f"The mask {file.name} holds {len(strange)} values that no class has ({shown} ...).",
            hint="JPEG and smooth edges make such values. Save it as PNG with one value a class.",
        )
    shown = ", ".join(str(n) for n in strange)
    plural = "s" if len(strange) > 1 else ""
    raise UserError(
        f"The mask {file.name} holds the value{plural} {shown}, which no --target and no "
        "labels.json names.",
        hint=_remedy(strange, found, known.targets),
    )


def _remedy(strange: list[int], found: frozenset[int], targets: Sequence[Target]) -> str:
    other = "If it is something else, name it in labels.json."
    if len(targets) > 1:
        return f"Name it in labels.json, or with one more --target NAME={strange[0]}."
    target = targets[0]
    kept = [n for n in target.class_ids if n in found]
    ids = ",".join(str(n) for n in sorted([*kept, *strange]))
    return f"If it is the {target.name}, write --target {target.name}={ids}. {other}"
