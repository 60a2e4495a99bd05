"""Where the voxels of a scan lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape3 = tuple[int, int, int]
Affine = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, spacing and position of an array in LPS+ axis order.

    Attributes:
        shape: number of voxels along (k, j, i); k runs to the head, j to the back, i to the left.
        affine: 4x4, maps the voxel (i, j, k) to world millimetres in RAS+, as nibabel writes it.
            An axial CT with 1 mm voxels has ``diag(-1, -1, 1, 1)``.
        calibrated: False where the spacing is not known in mm (a plain picture); lengths are then
            in pixels.
        oriented: False where nothing says how the patient lies in it; no letters are shown then.
    """

    shape: Shape3
    affine: Affine
    calibrated: bool = True
    oriented: bool = True

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres in mm, in the array's order (k, j, i)."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[2]), float(lengths[1]), float(lengths[0])

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres, right for sheared grids too."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def same_place(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """True if both grids have the same shape and their corners lie within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        return bool(np.all(np.abs(self.corners() - other.corners()) < tolerance_mm))

    def corners(self) -> NDArray[np.float64]:
        """World positions (RAS+, mm) of the eight corner voxels, shape [8, 3]."""
        depth, height, width = (n - 1 for n in self.shape)
        corner = np.array(
            [[i, j, k, 1] for k in (0, depth) for j in (0, height) for i in (0, width)],
            dtype=np.float64,
        )
        return (corner @ self.affine.T)[:, :3]


def picture_grid(height: int, width: int) -> Grid:
    """The grid of a plain picture: one slice, pixels of unknown size."""
    return Grid((1, height, width), np.diag([-1.0, -1.0, 1.0, 1.0]), False, False)
