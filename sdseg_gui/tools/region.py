"""The box tool's arithmetic: where a region of interest is grabbed and what a drag makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from engine.domain.box import Box
from sdseg_gui.tools.geometry import SliceGeometry


@dataclass(frozen=True)
class Grip:
    """Which part of a box is held.

    Attributes:
        rows, columns: -1 the first edge, 1 the last one, 0 neither; (0, 0) is the inside.
    """

    rows: int
    columns: int

    @property
    def is_inside(self) -> bool:
        """True if no edge is held."""
        return self.rows == 0 and self.columns == 0


def grip_at(
    box: Box, plane: int, row: float, column: float, reach: tuple[float, float]
) -> Grip | None:
    """What of a box lies under a point of a slice that it covers, or None outside of it.

    Args:
        box: region of interest.
        plane: axis along which slices are counted.
        row, column: in pixels of the slice.
        reach: (rows, columns) within which an edge counts as hit.
    """
    rows, columns = box.in_slice(plane)
    if not _near(row, rows, reach[0]) or not _near(column, columns, reach[1]):
        return None
    return Grip(_edge(row, rows, reach[0]), _edge(column, columns, reach[1]))


def _near(place: float, side: slice, reach: float) -> bool:
    return side.start - reach <= place <= side.stop + reach


def _edge(place: float, side: slice, reach: float) -> int:
    first, last = abs(place - side.start), abs(place - side.stop)
    if min(first, last) > reach:
        return 0
    return -1 if first < last else 1


def drawn(
    geometry: SliceGeometry, index: int, start: tuple[float, float], end: tuple[float, float]
) -> Box | None:
    """The box dragged out on slice `index` from one (row, column) to another.

    Across the slices it reaches half of its mean in-plane size to both sides, so that it is about
    as deep as it is wide.

    Returns:
        The box within the scan, or None if it lies outside.
    """
    sides = [_drawn_side(a, b, n) for a, b, n in zip(start, end, geometry.slice_shape, strict=True)]
    rows, columns = sides
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return None
    height = (rows.stop - rows.start) * geometry.pixel_spacing[0]
    width = (columns.stop - columns.start) * geometry.pixel_spacing[1]
    reach = floor((height + width) / 4 / geometry.slice_spacing + 0.5)
    first, last = max(0, index - reach), min(geometry.slice_count, index + reach + 1)
    return geometry.box(range(first, last), rows, columns)


def _drawn_side(start: float, end: float, size: int) -> slice:
    low, high = sorted((start, end))
    return slice(max(0, floor(low)), min(size, ceil(high)))


def moved(geometry: SliceGeometry, box: Box, rows: float, columns: float) -> Box:
    """The box shifted within its slices, as far as the scan goes."""
    sides = box.in_slice(geometry.plane)
    shifted = [
        _moved_side(side, shift, size)
        for side, shift, size in zip(sides, (rows, columns), geometry.slice_shape, strict=True)
    ]
    return geometry.box(box.range_along(geometry.plane), *shifted)


def _moved_side(side: slice, shift: float, size: int) -> slice:
    length = side.stop - side.start
    start = min(max(side.start + round(shift), 0), size - length)
    return slice(start, start + length)


def resized(geometry: SliceGeometry, box: Box, grip: Grip, row: float, column: float) -> Box:
    """The box with the held edges at (row, column); an edge may be dragged past the other."""
    rows, columns = box.in_slice(geometry.plane)
    height, width = geometry.slice_shape
    rows = _resized_side(rows, grip.rows, row, height)
    columns = _resized_side(columns, grip.columns, column, width)
    return geometry.box(box.range_along(geometry.plane), rows, columns)


def _resized_side(side: slice, held: int, place: float, size: int) -> slice:
    if held == 0:
        return side
    fixed = side.stop if held < 0 else side.start
    edge = min(max(round(place), 0), size)
    if edge == fixed:  # one pixel always stays, on the side where the drag began
        edge = fixed - 1 if (held < 0 and fixed > 0) or fixed == size else fixed + 1
    return slice(min(fixed, edge), max(fixed, edge))


def deepened(geometry: SliceGeometry, box: Box, grip: Grip, rows: float, columns: float) -> Box:
    """The box over more or fewer slices, by a drag of (rows, columns) from the held edge.

    Outward is more, inward is fewer. The first edges (top or left in an axial slice) move the
    first slice, the last edges the last one; a corner follows its row edge.
    """
    height, width = geometry.pixel_spacing
    outward = grip.rows * rows * height + grip.columns * columns * width
    count = round(outward / geometry.slice_spacing)
    slices = box.range_along(geometry.plane)
    if (grip.rows or grip.columns) < 0:
        first = min(max(slices.start - count, 0), slices.stop - 1)
        slices = range(first, slices.stop)
    else:
        last = min(max(slices.stop + count, slices.start + 1), geometry.slice_count)
        slices = range(slices.start, last)
    return geometry.box(slices, *box.in_slice(geometry.plane))
