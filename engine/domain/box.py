"""A box of voxels, half-open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index3 = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """Voxels ``start <= (k, j, i) < stop`` in the array's order (k, j, i)."""

    start: Index3
    stop: Index3

    @property
    def shape(self) -> Index3:
        """Number of voxels along (k, j, i)."""
        k, j, i = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return k, j, i

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing: ``array[box.slices]``."""
        k, j, i = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return k, j, i

    @property
    def is_empty(self) -> bool:
        """True if no voxel lies inside."""
        return 0 in self.shape

    def clipped(self, shape: Sequence[int]) -> Box:
        """The part that lies inside an array of this shape."""
        start = tuple(min(max(a, 0), n) for a, n in zip(self.start, shape, strict=False))
        stop = tuple(min(max(b, 0), n) for b, n in zip(self.stop, shape, strict=False))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def united(self, other: Box) -> Box:
        """The smallest box that holds both."""
        start = tuple(min(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(max(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def moved(self, by: Sequence[int]) -> Box:
        """The same box, `by` voxels further along (k, j, i)."""
        start = tuple(a + n for a, n in zip(self.start, by, strict=True))
        stop = tuple(b + n for b, n in zip(self.stop, by, strict=True))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def range_along(self, axis: int) -> range:
        """Indices that the box covers on one axis."""
        return range(self.start[axis], self.stop[axis])

    def in_slice(self, plane: int) -> tuple[slice, slice]:
        """(rows, columns) of the box within one slice along `plane`."""
        rows, columns = (s for axis, s in enumerate(self.slices) if axis != plane)
        return rows, columns


def full_box(shape: Sequence[int]) -> Box:
    """The box of a whole array."""
    return Box((0, 0, 0), (int(shape[0]), int(shape[1]), int(shape[2])))


def slice_box(shape: Sequence[int], plane: int, index: int) -> Box:
    """The box of one slice along `plane`."""
    start, stop = [0, 0, 0], [int(n) for n in shape[:3]]
    start[plane], stop[plane] = index, index + 1
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def box_of_mask(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around the true voxels of ``[k, j, i]``, or None if there are none."""
    start: list[int] = []
    stop: list[int] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if hits.size == 0:
            return None
        start.append(int(hits[0]))
        stop.append(int(hits[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
