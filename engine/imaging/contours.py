"""Outlines of a mask, and masks of outlines; each gives the other back exactly.

Points are (column, row) in pixels, pixel centres at whole numbers. An outline runs half-way between
the centres of what is in and what is out (marching squares), and a pixel is in a polygon if its
centre is, by the even-odd rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

Points = NDArray[np.float64]


def outlines(mask: NDArray[np.bool_]) -> list[Points]:
    """The outline of each part of a mask as one closed polygon.

    A hole is joined to the outline around it by a cut without width (the keyhole of DICOM PS3.3
    C.8.8.6.3), since most formats know no holes.

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
    found: list[Points] = []
    for points, ends in zip(*generator.filled(0.5, 1.5), strict=True):
        rings = [_corners(points[a : b - 1]) for a, b in pairwise(ends)]  # the last is the first
        found.append(_keyhole(rings) + corner)
    return found


def fill(polygons: Iterable[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centres lie inside, by the even-odd rule over all polygons together.

    Args:
        polygons: ``[n, 2]`` each, closed; parts outside of the picture are cut off.
        shape: (rows, columns).
    """
    height, width = shape
    # toggles[r, c]: how many edges are crossed on the way from column c - 1 to c in row r
    toggles = np.zeros((height, width + 1), dtype=np.int64)
    for polygon in polygons:
        start, stop = polygon, np.roll(polygon, -1, axis=0)
        # Both directions of an edge give the same numbers, so that the two sides of a cut cancel.
        turned = start[:, 1] > stop[:, 1]
        low = np.where(turned[:, None], stop, start)
        high = np.where(turned[:, None], start, stop)
        first = np.clip(np.ceil(low[:, 1]), 0, height).astype(np.intp)
        last = np.clip(np.ceil(high[:, 1]), 0, height).astype(np.intp)  # half-open
        counts = np.maximum(last - first, 0)
        edge = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
        slope = (high - low)[edge]
        crossing = low[edge, 0] + (row - low[edge, 1]) * slope[:, 0] / slope[:, 1]
        column = np.clip(np.ceil(crossing), 0, width).astype(np.intp)
        np.add.at(toggles, (row, column), 1)
    return np.cumsum(toggles, axis=1)[:, :width] % 2 == 1


def _corners(ring: Points) -> Points:
    """Without the points on a straight line; all numbers are halves, so the test is exact."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return ring[turns != 0]


def _keyhole(rings: list[Points]) -> Points:
    """One polygon of an outline and its holes, each joined where it is nearest."""
    joined = rings[0]
    for hole in rings[1:]:
        distance = ((joined[:, None] - hole[None]) ** 2).sum(axis=2)
        at, begin = np.unravel_index(int(distance.argmin()), distance.shape)
        way = np.roll(hole, -int(begin), axis=0)
        joined = np.concatenate([joined[: at + 1], way, way[:1], joined[at:]])
    return joined
