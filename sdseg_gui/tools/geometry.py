"""Between a slice as it is counted and the array that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, Index3
from engine.domain.volume import Volume


@dataclass(frozen=True)
class SliceGeometry:
    """How slices lie in an array.

    Attributes:
        shape: (k, j, i).
        spacing: distance between voxel centres along (k, j, i) in mm, in pixels if uncalibrated.
        plane: the axis along which slices are counted.
    """

    shape: Index3
    spacing: tuple[float, float, float]
    plane: int

    @classmethod
    def of(cls, scan: Volume) -> SliceGeometry:
        """The geometry of a scan along its own plane."""
        return cls(scan.grid.shape, scan.grid.spacing, scan.plane)

    @property
    def slice_count(self) -> int:
        """Number of slices."""
        return self.shape[self.plane]

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns) of a slice."""
        rows, columns = (n for axis, n in enumerate(self.shape) if axis != self.plane)
        return rows, columns

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """(row distance, column distance) within a slice."""
        rows, columns = (s for axis, s in enumerate(self.spacing) if axis != self.plane)
        return rows, columns

    @property
    def slice_spacing(self) -> float:
        """Distance from slice to slice."""
        return self.spacing[self.plane]

    def voxel(self, index: int, row: int, column: int) -> Index3:
        """(k, j, i) of a pixel of slice `index`."""
        place = [row, column]
        place.insert(self.plane, index)
        return place[0], place[1], place[2]

    def box(self, slices: range, rows: slice, columns: slice) -> Box:
        """The box of a rectangle on some neighbouring slices."""
        return Box(
            self.voxel(slices.start, rows.start, columns.start),
            self.voxel(slices.stop, rows.stop, columns.stop),
        )

    def lifted(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A slice's mask ``[rows, columns]`` as a view of three axes, one slice thick."""
        return np.expand_dims(mask, self.plane)
