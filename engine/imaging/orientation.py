"""How a slice of an LPS+ array lies on the screen.

Rows run down the screen and columns to the right. Axial slices ``[j, i]`` are shown as they are:
front up, the patient's left on the right. Coronal ``[k, i]`` and sagittal ``[k, j]`` slices are
shown with their rows reversed, because k runs to the head and the head belongs at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Grid

_AXIAL = 0
# World axes of an affine are RAS+.
_LETTERS = (("L", "R"), ("P", "A"), ("F", "H"))


@dataclass(frozen=True)
class EdgeLetters:
    """Orientation letters at the edges of a slice on the screen; an edge may have two ("PL")."""

    top: str
    bottom: str
    left: str
    right: str


def rows_run_up(plane: int) -> bool:
    """True where row 0 of a slice is at the bottom of the screen."""
    return plane != _AXIAL


def as_shown(pixels: NDArray[Any], plane: int) -> NDArray[Any]:
    """A slice ``[rows, columns, ...]`` turned upright, as a view; its own reverse."""
    return pixels[::-1] if rows_run_up(plane) else pixels


def edge_letters(grid: Grid, plane: int) -> EdgeLetters | None:
    """Letters at the edges of a slice as it is shown; None where nothing says how the patient lies.

    R, L, A, P, H, F: right, left, anterior, posterior, head, foot. A second letter is added where
    the edge is more than 20 degrees off the first.
    """
    if not grid.oriented:
        return None
    row_axis, column_axis = (axis for axis in range(3) if axis != plane)
    down = grid.affine[:3, 2 - row_axis] * (-1.0 if rows_run_up(plane) else 1.0)
    right = grid.affine[:3, 2 - column_axis]
    return EdgeLetters(
        top=_letters(-down), bottom=_letters(down), left=_letters(-right), right=_letters(right)
    )


def _letters(direction: NDArray[np.float64]) -> str:
    unit = direction / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit), kind="stable")
    limit = np.sin(np.radians(20.0))
    chosen = [axis for place, axis in enumerate(order) if place == 0 or abs(unit[axis]) > limit]
    return "".join(_LETTERS[axis][int(unit[axis] > 0)] for axis in chosen[:2])
