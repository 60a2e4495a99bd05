"""The brush: a disc swept along the path of the pointer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Stroke = tuple[slice, slice, NDArray[np.bool_]]


def stroke_mask(
    points: Sequence[Point],
    radius: float,
    shape: tuple[int, int],
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Stroke:
    """The pixels whose centres lie within `radius` of a polyline.

    The pixel under each point is always included, so that the smallest brush still paints.

    Args:
        points: (row, column) of the pointer in pixels, centres at whole numbers; one point is a
            single disc.
        radius: in the unit of `spacing` (mm, or pixels if uncalibrated).
        shape: (rows, columns) of the slice; the stroke is cut at its edges.
        spacing: (row distance, column distance).

    Returns:
        (rows, columns, mask): the smallest rectangle of the slice that can hold the stroke and a
        bool mask of its size; both empty if the stroke lies outside.
    """
    path = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    rows, columns = _bounds(path, radius, shape, spacing)
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
    if mask.size == 0:
        return rows, columns, mask
    ends = path[1:] if len(path) > 1 else path
    for start, end in zip(path, ends, strict=False):
        _add_capsule(mask, (rows.start, columns.start), start, end, radius, spacing)
    under = np.rint(path).astype(int) - (rows.start, columns.start)
    inside = ((under >= 0) & (under < mask.shape)).all(axis=1)
    mask[tuple(under[inside].T)] = True
    return rows, columns, mask


def _bounds(
    path: NDArray[np.float64], radius: float, shape: tuple[int, int], spacing: tuple[float, float]
) -> tuple[slice, slice]:
    """The rectangle around a path, cut to the slice; (0, 0) where nothing is left."""
    reach = np.maximum(radius / np.asarray(spacing), 0.5)
    low = np.floor(path.min(axis=0) - reach).astype(int)
    high = np.ceil(path.max(axis=0) + reach).astype(int) + 1
    starts = np.clip(low, 0, shape)
    stops = np.clip(high, starts, shape)
    return slice(int(starts[0]), int(stops[0])), slice(int(starts[1]), int(stops[1]))


def _add_capsule(
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    spacing: tuple[float, float],
) -> None:
    """Sets the pixels within `radius` of one segment; only its own rectangle is computed."""
    whole = (corner[0] + mask.shape[0], corner[1] + mask.shape[1])
    rows, columns = _bounds(np.stack([start, end]), radius, whole, spacing)
    first = max(rows.start, corner[0]), max(columns.start, corner[1])
    row = (np.arange(first[0], rows.stop) - start[0])[:, None] * spacing[0]
    column = (np.arange(first[1], columns.stop) - start[1])[None, :] * spacing[1]
    along = (end - start) * spacing
    length2 = float(along @ along)
    if length2 > 0:
        nearest = np.clip((row * along[0] + column * along[1]) / length2, 0.0, 1.0)
        distance2 = (row - nearest * along[0]) ** 2 + (column - nearest * along[1]) ** 2
    else:
        distance2 = row**2 + column**2
    part = mask[
        first[0] - corner[0] : rows.stop - corner[0],
        first[1] - corner[1] : columns.stop - corner[1],
    ]
    part |= distance2 <= radius**2 * (1 + 1e-9)
