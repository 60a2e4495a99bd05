"""DICOM RT structure set in: closed planar contours onto the slices they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag

from engine.domain.case import Case
from engine.errors import UserError
from engine.imaging.contours import NO_AREA, Points, area, fill
from engine.io.dicom_decode import read_elements
from engine.io.dicom_refers import names_in_rtstruct, names_of_scan, tell_of_another, text_of
from engine.io.kinds import reading
from engine.io.mask_overlaps import Placing
from engine.io.mask_placing import SAME_SCAN, Tell

_LAST = "RTROIObservationsSequence"  # must be there, and stands behind all contours
_TAGS: list[Any] = [
    Tag(name)
    for name in (
        "Modality", "FrameOfReferenceUID", "ReferencedFrameOfReferenceSequence",
        "StructureSetROISequence", "ROIContourSequence", _LAST,
    )
]  # fmt: skip
_PLAIN, _XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
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
    path: Path, case: Case, overlap: str = "", tell: Tell = lambda _: None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The structures as labels 1, 2, ... in the order of the file.

    Contours of one structure on one slice are combined by the even-odd rule, so that one inside
    another is a hole; one that came twice counts once. Points and open lines, which are no areas,
    are left out, and so are contours on no slice of the scan.

    Args:
        path: of the file.
        case: on whose slices the contours must lie.
        overlap: as `Placing` wants it.
        tell: called with a sentence about contours that are cut or left out, and if it was drawn on
            another scan.

    Returns:
        uint8 ``[k, j, i]``, and the structures' names by their labels.

    Raises:
        ChoiceNeeded: structures overlap, and nothing was chosen.
        UserError: it is damaged, or none of its contours lies on the scan.
    """
    with reading(path):
        ds = _structure_set(path)
        rois = list(ds.get("StructureSetROISequence") or [])
        if len(rois) > _MOST:
            raise UserError(f"{path.name} holds {len(rois)} structures; {_MOST} can be opened.")
        labels = {int(roi.ROINumber): n for n, roi in enumerate(rois, start=1)}
        names = {n: text_of(roi.get("ROIName")) or str(n) for n, roi in enumerate(rois, start=1)}
        placing, tally = Placing(path, case.scan.grid.shape, overlap), _Tally()
        for structure in ds.get("ROIContourSequence") or []:
            label = labels.get(int(structure.get("ReferencedROINumber") or 0))
            if label is not None:
                contours = _sorted(structure, case, tally)
                _draw(placing, contours, label)
                _tell_of_stripes(path, contours, names[label], tell)
        tally.close(path, case, tell)
        tell_of_another(path, case, names_in_rtstruct(ds, rois), names_of_scan(case), tell)
        return placing.finish(names).astype(np.uint8, copy=False), names


def _structure_set(path: Path) -> FileDataset:
    ds = read_elements(path, _TAGS, pixels=False)
    if _LAST not in ds:  # contours that are missing at the end would not be noticed
        raise UserError(
            f"{path.name} is cut short, or no whole structure set.",
            hint="Copy the file again from where it came.",
        )
    return ds


@dataclass
class _Tally:
    """How many contours a file holds, and what became of those that were not all drawn."""

    contours: int = 0
    lines: int = 0
    flat: int = 0
    off_slice: int = 0
    outside: int = 0
    cut: int = 0
    twice: int = 0

    def close(self, path: Path, case: Case, tell: Tell) -> None:
        """Says what was left out or cut.

        Raises:
            UserError: no contour with an area lies on the scan.
        """
        areas = self.contours - self.flat
        if areas and self.off_slice == areas:
            raise UserError(
                f"{path.name} was drawn on other slices than those of {case.name}.", hint=SAME_SCAN
            )
        if areas and self.off_slice + self.outside == areas:
            raise UserError(f"{path.name} lies wholly outside of {case.name}.", hint=SAME_SCAN)
        parts = [
            f"{count} {what}"
            for count, what in (
                (self.cut, "cut at the border of the picture"),
                (self.outside, "left out beside the picture"),
                (self.off_slice, "left out between or beyond the slices"),
                (self.flat, "left out without an area"),
                (self.lines, "left out as points or open lines"),
                (self.twice, "left out as copies"),
            )
            if count
        ]
        if parts:
            count = self.contours + self.lines
            all_of_them = f"{count} contour{'s' * (count > 1)}"
            tell(f"Of {all_of_them} in {path.name}: {', '.join(parts)}.")


@dataclass(frozen=True)
class _Contour:
    """An area on one slice: points ``[n, 2]`` across and down the slice, in pixels."""

    axis: int  # the array's axis across the slice
    index: int
    points: Points


def _sorted(structure: Dataset, case: Case, tally: _Tally) -> list[_Contour]:
    """The contours of a structure that can be drawn; the others are counted."""
    found: list[_Contour] = []
    known: set[tuple[int, int, bytes]] = set()
    for kind, points in _polygons(structure, case, tally):
        tally.contours += 1
        contour = _on_slice(points, case, tally)
        if contour is None:
            continue
        key = (contour.axis, contour.index, contour.points.tobytes())
        if kind == _PLAIN and key in known:  # twice, it would be no area by the even-odd rule
            tally.twice += 1
            continue
        known.add(key)
        found.append(contour)
    return found


def _on_slice(points: Points, case: Case, tally: _Tally) -> _Contour | None:
    """The slice that a contour ``[n, 3]`` in voxels (i, j, k) lies on; None if it is left out."""
    scan, shape = case.scan, case.scan.grid.shape
    reach = np.ptp(points, axis=0)[::-1]  # in the array's order
    is_along = reach[scan.plane] <= _OFF_SLICE  # a narrow one is flat in two directions
    axis = scan.plane if is_along else int(reach.argmin())
    across = [2 - a for a in (2, 1, 0) if a != axis]
    flat = points[:, across]
    if area(flat) < NO_AREA:
        tally.flat += 1
        return None
    height = points[:, 2 - axis]
    if axis == scan.plane:
        height = scan.index_at(height)
    index = round(float(height.mean()))
    if np.abs(height - index).max() > _OFF_SLICE or not 0 <= index < shape[axis]:
        tally.off_slice += 1
        return None
    size = np.array([shape[2 - a] for a in across])
    low, high = flat.min(axis=0), flat.max(axis=0)
    if (high < -0.5).any() or (low > size - 0.5).any():
        tally.outside += 1
        return None
    tally.cut += bool((low <= -1).any() or (high >= size).any())  # centres of pixels are cut off
    return _Contour(axis, index, np.ascontiguousarray(flat))


def _tell_of_stripes(path: Path, contours: Sequence[_Contour], name: str, tell: Tell) -> None:
    """Says if a structure leaves out slices all along, as one drawn on thicker slices does."""
    slices = sorted({(contour.axis, contour.index) for contour in contours})
    axis = slices[0][0] if slices else 0
    gaps = np.diff([index for along, index in slices if along == axis])
    if gaps.size and gaps.min() > 1:
        tell(
            f"{name} in {path.name} is drawn on {gaps.size + 1} slices, none beside another: "
            "those between stay empty."
        )


def _draw(placing: Placing, contours: Sequence[_Contour], label: int) -> None:
    """Fills the contours of one structure, slice by slice."""
    by_slice: dict[tuple[int, int], list[Points]] = {}
    for contour in contours:
        by_slice.setdefault((contour.axis, contour.index), []).append(contour.points)
    for (axis, index), polygons in by_slice.items():
        rows, columns = (n for a, n in enumerate(placing.array.shape) if a != axis)
        inside = np.nonzero(fill(polygons, (rows, columns)))
        place = np.full((3, inside[0].size), index, dtype=np.intp)
        place[[2 - a for a in range(3) if a != axis]] = inside
        placing.put(place, np.full(inside[0].size, label, dtype=np.uint8))


def _polygons(structure: Dataset, case: Case, tally: _Tally) -> Iterator[tuple[str, Points]]:
    """Closed contours and their kind, in voxels (i, j, k); points and open lines are counted."""
    to_voxel = np.linalg.inv(case.scan.grid.affine)
    for contour in structure.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType")).strip()
        if kind not in (_PLAIN, _XOR):
            tally.lines += 1
            continue
        data = contour.get("ContourData") or []
        if isinstance(data, bytes):  # more than 64 KB, written as of unknown kind (PS3.5 6.2.2)
            data = data.decode("ascii").split("\\")
        world = np.array([float(v) for v in data]).reshape(-1, 3) * _TO_RAS
        if len(world):
            yield kind, world @ to_voxel[:3, :3].T + to_voxel[:3, 3]
