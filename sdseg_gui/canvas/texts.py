"""What stands in the corners, as plain text."""

from __future__ import annotations

import numpy as np

from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.domain.volume import AXIS_PLANE, Volume

# World axes of an affine are RAS+: (towards plus, towards minus).
_DIRECTIONS = (("R", "L"), ("A", "P"), ("H", "F"))


def title(case: Case) -> list[str]:
    """Name of the case, and what kind of picture it is."""
    scan = case.scan
    if scan.is_picture:
        rows, columns = scan.slice_shape
        return [case.name, f"{columns} × {rows} px"]
    kind = [scan.modality] if scan.modality else []
    if scan.slice_count > 1:
        kind.append(AXIS_PLANE[scan.plane])
    return [case.name, " · ".join(kind)] if kind else [case.name]


def place(scan: Volume, index: int) -> list[str]:
    """Which slice it is, and where; empty for a single picture."""
    if scan.slice_count == 1:
        return []
    lines = [f"Slice {index + 1} / {scan.slice_count}"]
    if scan.grid.calibrated:
        lines.append(position(scan.grid, scan.plane, scan.place(index)))
    return lines


def position(grid: Grid, plane: int, index: float) -> str:
    """Where the middle of a slice lies along its normal, for example "H 12.5 mm"."""
    centre = [(n - 1) / 2 for n in grid.shape]
    centre[plane] = index
    world = grid.affine @ np.array([*reversed(centre), 1.0])
    # The affine's columns are (i, j, k); the slice's normal is nearest to one world axis.
    axis = int(np.argmax(np.abs(grid.affine[:3, 2 - plane])))
    millimetres = float(world[axis])
    letter = _DIRECTIONS[axis][0 if millimetres >= 0 else 1]
    return f"{letter} {abs(millimetres):.1f} mm"


def window(scan: Volume, level_width: tuple[float, float]) -> list[str]:
    """Level and width; empty for colour."""
    if scan.is_colour:
        return []
    level, width = (_number(x, level_width[1]) for x in level_width)
    unit = f" {scan.unit}" if scan.unit else ""
    return [f"Level {level} · Width {width}{unit}"]


def _number(value: float, width: float) -> str:
    """Whole numbers where the window is wide, else as many digits as matter."""
    if width >= 20:
        return f"{value:.0f}"
    return f"{value:.3g}"


def zoom(magnification: float) -> str:
    """Zoom in percent; 100 % is one screen pixel for each pixel of the slice."""
    return f"Zoom {magnification * 100:.0f} %"


def scale_bar(longest_mm: float) -> tuple[float, str]:
    """A round length (1, 2 or 5 times a power of ten) that is not above `longest_mm`."""
    power = 10.0 ** np.floor(np.log10(longest_mm))
    length = next(step * power for step in (5.0, 2.0, 1.0) if step * power <= longest_mm * 1.000001)
    return float(length), f"{length:g} mm"
