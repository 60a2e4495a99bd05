"""DICOM RT structure set in: closed planar contours onto the slices they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from engine.domain.case import Case
from engine.errors import UserError
from engine.imaging.contours import Points, fill
from engine.io.dicom_decode import read_elements
from engine.io.kinds import reading
from engine.io.mask_placing import SAME_SCAN, put_labels

_LAST = "RTROIObservationsSequence"  # must be there, and stands behind all contours
_TAGS: list[Any] = [
    Tag(n) for n in ("Modality", "StructureSetROISequence", "ROIContourSequence", _LAST)
]
_AREAS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF_SLICE = 0.1  # of a slice distance
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_MOST = 255


def is_rtstruct(path: Path) -> bool:
    """True for an RT structure set.

    Raises:
        UserError: it can't be read.
    """
    with reading(path):
        return read_elements(path, _TAGS[:1], pixels=False).get("Modality") == "RTSTRUCT"


def read_rtstruct(
    path: Path, case: Case, overlap: str = ""
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The structures as labels 1, 2, ... in the order of the file.

    Contours of one structure on one slice are combined by the even-odd rule, so that one inside
    another is a hole. Points and open lines, which are no areas, are left out.

    Args:
        path: of the file.
        case: on whose slices the contours must lie.
        overlap: as `put_labels` wants it.

    Returns:
        uint8 ``[k, j, i]``, and the structures' names by their labels.

    Raises:
        ChoiceNeeded: structures overlap, and nothing was chosen.
        UserError: it is damaged, or was drawn on other slices.
    """
    with reading(path):
        ds = read_elements(path, _TAGS, pixels=False)
        if _LAST not in ds:  # contours that are missing at the end would not be noticed
            raise UserError(
                f"{path.name} is cut short, or no whole structure set.",
                hint="Copy the file again from where it came.",
            )
        rois = list(ds.get("StructureSetROISequence") or [])
        if len(rois) > _MOST:
            raise UserError(f"{path.name} holds {len(rois)} structures; {_MOST} can be opened.")
        labels = {int(roi.ROINumber): n for n, roi in enumerate(rois, start=1)}
        found = np.zeros(case.scan.grid.shape, dtype=np.uint8)
        for structure in ds.get("ROIContourSequence") or []:
            label = labels.get(int(structure.get("ReferencedROINumber") or 0))
            if label is not None:
                _draw(path, found, case, structure, label, overlap)
        names = {n: str(roi.get("ROIName") or n) for n, roi in enumerate(rois, start=1)}
        return found, names


def _draw(
    path: Path, found: NDArray[np.uint8], case: Case, structure: Dataset, label: int, overlap: str
) -> None:
    """Fills the contours of one structure, slice by slice."""
    by_slice: dict[tuple[int, int], list[Points]] = {}
    for points in _polygons(structure, case):
        axis = 2 - int(np.ptp(points, axis=0).argmin())  # the array's axis across the contour
        height = points[:, 2 - axis]
        if axis == case.scan.plane:
            height = case.scan.index_at(height)
        index = round(float(height.mean()))
        if np.abs(height - index).max() > _OFF_SLICE or not 0 <= index < found.shape[axis]:
            raise UserError(
                f"{path.name} was drawn on other slices than those of {case.name}.", hint=SAME_SCAN
            )
        columns = [2 - a for a in (2, 1, 0) if a != axis]  # across, then down the slice
        by_slice.setdefault((axis, index), []).append(points[:, columns])
    for (axis, index), polygons in by_slice.items():
        rows, columns = (n for a, n in enumerate(found.shape) if a != axis)
        inside = np.nonzero(fill(polygons, (rows, columns)))
        place = np.full((3, inside[0].size), index, dtype=np.intp)
        place[[2 - a for a in range(3) if a != axis]] = inside
        put_labels(path, found, place, np.full(inside[0].size, label, dtype=np.uint8), overlap)


def _polygons(structure: Dataset, case: Case) -> Iterator[Points]:
    """Areas in voxels, (i, j, k)."""
    to_voxel = np.linalg.inv(case.scan.grid.affine)
    for contour in structure.get("ContourSequence") or []:
        if str(contour.get("ContourGeometricType")).strip() not in _AREAS:
            continue
        numbers = np.array([float(v) for v in contour.get("ContourData") or []])
        world = numbers.reshape(-1, 3) * _TO_RAS
        if len(world) >= 3:
            yield world @ to_voxel[:3, :3].T + to_voxel[:3, 3]
