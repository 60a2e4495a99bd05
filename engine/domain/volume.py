"""A scan: a read-only array, its grid, and what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Grid
from engine.domain.stored import StoredForm

PLANE_AXIS = {"axial": 0, "coronal": 1, "sagittal": 2}
AXIS_PLANE = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, eq=False)
class Volume:
    """A picture or a CT/MR volume.

    Nobody writes it. A loader may still fill in slices (it alone has the memory behind `array` and
    `loaded`): such a slice is False in `loaded` until it is all there.

    Attributes:
        array: ``[k, j, i]``, or ``[k, j, i, 3]`` for colour (uint8 or uint16); C-contiguous and
            not writeable. Integers as stored where one slope and intercept serve all slices.
        grid: where it lies.
        plane: array axis along which slices were acquired and are counted (0 axial, 1 coronal,
            2 sagittal): "slice n" means index n on it, everywhere.
        slope, intercept: real value = stored value * slope + intercept.
        modality: DICOM's word: "CT", "MR", "CR", ..., "picture" for a plain picture, "" unknown.
        unit: unit of the real values ("HU"), or "".
        window: (level, width) in real values from the file's header, or None.
        padding: stored value that means "nothing was measured here", or None.
        loaded: one flag a slice; nothing runs on a slice that is not loaded.
        missing: slices that no image of the series shows; they are never loaded.
        places: where each slice lies along `plane`, for slices that lie unevenly: counted in the
            grid's own (mean) slice distances, rising, float64 [slice count]. Slice n then lies
            where the grid has index ``places[n]``. None where slice n lies at n.
        inverted: True where low values are to be shown bright (DICOM's MONOCHROME1).
        stored: how the source file stores the voxels.
    """

    array: NDArray[Any]
    grid: Grid
    plane: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    modality: str = ""
    unit: str = ""
    window: tuple[float, float] | None = None
    padding: float | None = None
    loaded: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=np.bool_))
    missing: frozenset[int] = frozenset()
    places: NDArray[np.float64] | None = None
    inverted: bool = False
    stored: StoredForm = field(default_factory=StoredForm)

    def __post_init__(self) -> None:
        array = np.ascontiguousarray(self.array)
        if array.shape[:3] != self.grid.shape:
            raise ValueError(f"array {array.shape} does not fit the grid {self.grid.shape}")
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        object.__setattr__(self, "array", array)
        if self.loaded.size == 0:
            object.__setattr__(self, "loaded", np.ones(self.slice_count, dtype=np.bool_))
        if self.places is not None and self.places.shape != (self.slice_count,):
            raise ValueError(f"{self.places.shape} places for {self.slice_count} slices")

    @property
    def is_complete(self) -> bool:
        """True once every slice that there is has been read."""
        return int(self.loaded.sum()) + len(self.missing) >= self.slice_count

    @property
    def is_even(self) -> bool:
        """True if the slices lie evenly, so that lengths and views across them are right."""
        return self.places is None

    def place(self, index: int) -> float:
        """Index along `plane` at which the grid's affine finds the middle of a slice."""
        return float(index) if self.places is None else float(self.places[index])

    def index_at(self, place: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """The reverse of `place`: which slice lies there; a fraction between two of them."""
        at = np.asarray(place, dtype=np.float64)
        if self.places is None:
            return at
        within = np.interp(at, self.places, np.arange(self.slice_count))
        return np.where((at < 0) | (at > self.slice_count - 1), at, within)

    @property
    def voxel_ml(self) -> NDArray[np.float64]:
        """Volume of one voxel of each slice in millilitres, float64 [slice count].

        Of slices that lie unevenly each reaches half-way to its neighbours; the first and the last
        as far outwards as inwards.
        """
        depth = np.ones(self.slice_count)
        if self.places is not None:
            gaps = np.diff(self.places)
            depth = (np.append(gaps[:1], gaps) + np.append(gaps, gaps[-1:])) / 2
        return depth * self.grid.voxel_volume_ml

    def volume_ml(self, mask: NDArray[np.bool_]) -> float:
        """Volume of the voxels of a mask ``[k, j, i]`` in millilitres."""
        counts = mask.sum(axis=tuple(axis for axis in range(3) if axis != self.plane))
        return float(counts @ self.voxel_ml)

    @property
    def is_colour(self) -> bool:
        """True for ``[k, j, i, 3]``."""
        return self.array.ndim == 4

    @property
    def is_picture(self) -> bool:
        """True for a plain 2-D picture without a place in a patient."""
        return self.modality == "picture"

    @property
    def slice_count(self) -> int:
        """Number of slices along `plane`."""
        return int(self.array.shape[self.plane])

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns) of one slice along `plane`."""
        rows, columns = (n for axis, n in enumerate(self.grid.shape) if axis != self.plane)
        return rows, columns

    @property
    def slice_spacing(self) -> tuple[float, float]:
        """(row distance, column distance) in mm within a slice along `plane`."""
        rows, columns = (s for axis, s in enumerate(self.grid.spacing) if axis != self.plane)
        return rows, columns

    def slice(self, index: int, plane: int | None = None) -> NDArray[Any]:
        """Slice `index` as a view, ``[rows, columns]`` or ``[rows, columns, 3]``."""
        axis = self.plane if plane is None else plane
        return self.array[(slice(None),) * axis + (index,)]

    def real(self, stored: NDArray[Any] | float) -> NDArray[np.float32]:
        """Stored values as real ones (HU for a CT), float32."""
        values = np.asarray(stored, dtype=np.float32)
        return values * np.float32(self.slope) + np.float32(self.intercept)
