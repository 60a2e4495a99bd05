"""Outlines of a mask, and masks of outlines; each gives the other back exactly.

Points are (column, row) in pixels, pixel centres at whole numbers. An outline runs half-way between
the centres of what is in and what is out (marching squares), and a pixel is in a polygon if its
centre is, by the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

Points = NDArray[np.float64]
_ON_EDGE = 0.01  # of a pixel: what millimetres of a few decimals leave of a centre
NO_AREA = 1e-6  # of a pixel: a polygon of less is a line


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """The outline of each part of a mask as one closed polygon.

    A hole is joined to what lies to the left of it by a cut without width (the keyhole of DICOM
    PS3.3 C.8.8.6.3), since most formats know no holes.

    Args:
        mask: ``[rows, columns]``.

    Returns:
        float64 ``[n, 2]`` each, at least three points, the first not repeated at the end.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return []
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = np.pad(part, 1).astype(np.float64)
    generator = contour_generator(z=padded, fill_type=FillType.OuterOffset)
    corner = np.array([columns[0] - 1.0, rows[0] - 1.0])
    return [
        _corners(_keyhole(points, np.asarray(ends, dtype=np.intp))) + corner
        for points, ends in zip(*generator.filled(0.5, 1.5), strict=True)
    ]


def fill(polygons: Iterable[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centres lie inside, by the even-odd rule over all polygons together.

    A centre that lies on an edge is inside: many programs draw through the centres of the outermost
    pixels of a part, and of those around a hole.

    Args:
        polygons: ``[n, 2]`` each, closed; parts outside of the picture are cut off.
        shape: (rows, columns).
    """
    height, width = shape
    # toggles[r, c]: how many edges are crossed on the way from column c - 1 to c in row r
    toggles = np.zeros((height, width + 1), dtype=np.int64)
    touched = np.zeros(shape, dtype=np.bool_)
    for polygon in polygons:
        start, stop = polygon, np.roll(polygon, -1, axis=0)
        _cross(toggles, start, stop)
        if area(polygon) < NO_AREA:  # a line there and back is no part
            continue
        is_flat = np.abs(stop - start) @ [1, -1] > 0  # further across than down
        _touch(touched, start[~is_flat], stop[~is_flat])
        _touch(touched.T, start[is_flat, ::-1], stop[is_flat, ::-1])
    return (np.cumsum(toggles, axis=1)[:, :width] % 2 == 1) | touched


def area(polygon: Points) -> float:
    """What one closed polygon ``[n, 2]`` encloses, in pixels; 0 for a point or a line."""
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _cross(toggles: NDArray[np.int64], start: Points, stop: Points) -> None:
    """Counts where the edges of a polygon cross the rows."""
    height, width = toggles.shape[0], toggles.shape[1] - 1
    # Both directions of an edge give the same numbers, so that the two sides of a cut cancel.
    turned = start[:, 1] > stop[:, 1]
    low = np.where(turned[:, None], stop, start)
    high = np.where(turned[:, None], start, stop)
    first = np.clip(np.ceil(low[:, 1]), 0, height).astype(np.intp)
    last = np.clip(np.ceil(high[:, 1]), 0, height).astype(np.intp)  # half-open
    edge, row = _counted(first, last)
    slope = (high - low)[edge]
    crossing = low[edge, 0] + (row - low[edge, 1]) * slope[:, 0] / slope[:, 1]
    column = np.clip(np.ceil(crossing), 0, width).astype(np.intp)
    np.add.at(toggles, (row, column), 1)


def _touch(touched: NDArray[np.bool_], start: Points, stop: Points) -> None:
    """Marks the centres that lie on edges, each at least as far down as across, or a point."""
    height, width = touched.shape
    low, high = np.minimum(start[:, 1], stop[:, 1]), np.maximum(start[:, 1], stop[:, 1])
    first = np.clip(np.ceil(low - _ON_EDGE), 0, height).astype(np.intp)
    last = np.clip(np.floor(high + _ON_EDGE) + 1, 0, height).astype(np.intp)
    edge, row = _counted(first, last)
    way, reach = (stop - start)[edge], (high - low)[edge]
    along = np.clip(row, low[edge], high[edge]) - start[edge, 1]
    across = np.divide(along * way[:, 0], way[:, 1], out=np.zeros(edge.size), where=reach > 0)
    place = start[edge, 0] + across
    column = np.rint(np.clip(place, -1, width)).astype(np.intp)
    is_hit = (np.abs(place - column) <= _ON_EDGE) & (column >= 0) & (column < width)
    touched[row[is_hit], column[is_hit]] = True


def _counted(
    first: NDArray[np.intp], last: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Every whole number from `first` up to before `last`, and the index of its pair."""
    counts = np.maximum(last - first, 0)
    pair = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[pair]
    return pair, number


def _corners(ring: Points) -> Points:
    """Without the points on a straight line; all numbers are halves, so the test is exact."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return ring[turns != 0]


def _keyhole(points: Points, ends: NDArray[np.intp]) -> Points:
    """One polygon of an outline and its holes.

    From the leftmost point of a hole, which lies in a row of pixels, the cut runs left along that
    row to the next point of any outline. All between them is in, so that no cut meets another hole.

    Args:
        points: of the outline, then of each hole, the first of each repeated at its end.
        ends: where each begins, and where the last one ends.
    """
    begins, lasts = ends[:-1], ends[1:] - 1
    follower = np.arange(1, len(points) + 1)
    follower[lasts - 1] = begins
    is_own = np.ones(len(points), dtype=np.bool_)
    is_own[lasts] = False
    in_row = np.flatnonzero(is_own & (points[:, 1] % 1 == 0))
    in_row = in_row[np.lexsort((points[in_row, 0], points[in_row, 1]))]
    rank = np.empty(len(points), dtype=np.intp)
    rank[in_row] = np.arange(in_row.size)
    holes = list(zip(begins[1:].tolist(), lasts[1:].tolist(), strict=True))
    left = [begin + int(points[begin:last, 0].argmin()) for begin, last in holes]
    return points[_joined(follower.tolist(), left, in_row[rank[left] - 1].tolist())]


def _joined(follower: list[int], left: list[int], at: list[int]) -> list[int]:
    """The way around all rings, from point 0: each point `at` leads around one ring and back.

    Args:
        follower: the next point of each, on its own ring.
        left: a point of each ring but the first.
        at: the point of another ring that it is joined to.
    """
    point = list(range(len(follower)))
    before = {after: n for n, after in enumerate(follower)}
    for begin, target in zip(left, at, strict=True):
        back = len(follower)  # the way back is two points more
        follower[before[begin]] = back
        before[follower[target]] = back + 1
        follower += [back + 1, follower[target]]
        follower[target] = begin
        point += [begin, target]
    way, node = [0], follower[0]
    while node != 0:
        way.append(point[node])
        node = follower[node]
    return way
