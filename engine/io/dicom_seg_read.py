"""DICOM SEG in: each frame is put where its own position says, on the grid of a case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from engine.domain.case import Case
from engine.domain.grid import Affine, Grid
from engine.domain.volume import Volume
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.io.dicom_child import CONTAINED
from engine.io.dicom_decode import Decoder, read_elements
from engine.io.dicom_frames import Elements, frames_of
from engine.io.kinds import reading
from engine.io.mask_placing import SAME_SCAN, Tell, other_grid, put_labels, put_on_grid

_TAGS: list[Any] = [
    Tag(name)
    for name in (
        "Modality", "SegmentationType", "SegmentSequence", "MaximumFractionalValue", "Rows",
        "Columns", "NumberOfFrames", "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    )
]  # fmt: skip
_OFF_GRID = 0.01  # of a voxel
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE_MM = 1e-3
_SAME_DIRECTION = 1e-3
_UNEVEN = 0.01  # of a slice distance
_COARSER = 1.5  # voxels of the grid between two of the segmentation


@dataclass(frozen=True)
class _Frame:
    segment: int
    affine: Affine  # (column, row, 0, 1) to world mm in RAS+
    distance: float  # of the slices it was drawn on, in mm; 0 if unknown


def read_seg(
    path: Path,
    case: Case,
    threshold: float | None = None,
    overlap: str = "",
    *,
    resample: bool = False,
    tell: Tell = lambda _: None,
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The segments of a DICOM SEG as labels of their numbers.

    Args:
        path: of the file.
        case: whose grid the frames must lie on.
        threshold: of a fractional segmentation, in (0, 1]: what has it or more is in.
        overlap: where segments overlap, FIRST gives the voxel to the lower number, LAST to the
            higher one; "" asks.
        resample: put it onto the case's grid from its own one, by the nearest voxel.
        tell: called with a sentence about what that changed.

    Returns:
        uint8 ``[k, j, i]``, and the segments' names by their numbers.

    Raises:
        ChoiceNeeded: it is fractional, segments overlap, or it lies on another grid, and nothing
            was chosen.
        UserError: it is damaged, or no segmentation.
    """
    with reading(path):
        ds = read_elements(path, _TAGS, pixels=False)
        if str(ds.get("Modality")) != "SEG":
            raise UserError(
                f"{path.name} is DICOM, but no segmentation.",
                hint="Open a DICOM SEG or an RT structure set.",
            )
        count = int(ds.get("NumberOfFrames") or 1)
        kind = str(ds.get("SegmentationType") or "BINARY").upper()
        level = _level(path, ds, threshold) if kind == "FRACTIONAL" else 1
        frames = [_frame(path, elements) for elements in frames_of(path, ds, count)]
        found = _put_frames(path, ds, frames, case, level, overlap, resample, tell)
        return found, _names(ds)


def _put_frames(
    path: Path,
    ds: FileDataset,
    frames: Sequence[_Frame],
    case: Case,
    level: float,
    overlap: str,
    resample: bool,
    tell: Tell,
) -> NDArray[np.uint8]:
    """The frames' labels on the case's grid; from the segmentation's own one if that is wanted."""
    target = case.scan.grid
    if not resample and _leaves_stripes(frames, case.scan):
        raise other_grid(path, case, _own_grid(path, frames, _size(ds)))
    grid = _own_grid(path, frames, _size(ds)) if resample else target
    found = np.zeros(grid.shape, dtype=np.uint8)
    is_labelmap = str(ds.get("SegmentationType")).upper() == "LABELMAP"
    decoder = Decoder()
    for n, frame in enumerate(frames):
        pixels = _pixels(decoder, path, ds, n if len(frames) > 1 else None)
        values = pixels if is_labelmap else (pixels >= level) * np.uint8(frame.segment)
        place = _place(frame.affine, values, grid, None if resample else case.scan)
        if place is None:
            raise other_grid(path, case, _own_grid(path, frames, _size(ds)))
        put_labels(path, found, place, values[values != 0].astype(np.uint8), overlap)
    return put_on_grid(path, found, grid, target, tell) if resample else found


def _size(ds: FileDataset) -> tuple[int, int]:
    return int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)


def _level(path: Path, ds: FileDataset, threshold: float | None) -> float:
    """The stored value from which a voxel of a fractional segmentation is in."""
    if threshold is None:
        raise ChoiceNeeded(
            f"{path.name} holds fractions, not yes or no.",
            hint="Choose from which fraction on a voxel belongs to a segment; 0.5 is usual "
            "(--threshold 0.5).",
            about="threshold",
            choices=[Choice(text, f"from {text} on") for text in ("0.5", "0.25", "0.75")],
        )
    return max(threshold * float(ds.get("MaximumFractionalValue") or 255), 1e-9)


def _frame(path: Path, elements: Elements) -> _Frame:
    numbers = [elements.get(n) for n in ("ImagePositionPatient", "ImageOrientationPatient")]
    spacing = elements.get("PixelSpacing")
    if any(value is None for value in (*numbers, spacing)):
        raise UserError(
            f"{path.name} does not say where its segments lie in the patient.",
            hint="Export it from its program as NIfTI.",
        )
    position, orientation = (np.array([float(v) for v in value]) for value in numbers)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * float(spacing[1])
    affine[:3, 1] = orientation[3:] * float(spacing[0])
    affine[:3, 2] = np.cross(orientation[:3], orientation[3:])
    affine[:3, 3] = position
    segment = elements.get("ReferencedSegmentNumber")
    distance = elements.get("SpacingBetweenSlices") or elements.get("SliceThickness") or 0
    number = 0 if segment is None else int(segment)
    return _Frame(number, _TO_RAS @ affine, abs(float(distance)))


def _pixels(decoder: Decoder, path: Path, ds: FileDataset, frame: int | None) -> NDArray[Any]:
    syntax = ds.file_meta.TransferSyntaxUID
    size = int(ds.get("Rows") or 0) * int(ds.get("Columns") or 0)
    if syntax.is_compressed or syntax.is_deflated:
        return CONTAINED.read(path, frame, size)
    return decoder.read(path, frame)


def _place(
    affine: Affine, values: NDArray[Any], grid: Grid, scan: Volume | None
) -> NDArray[np.intp] | None:
    """Voxels (i, j, k), ``[3, n]``, of what is not 0 in one frame; None if it is off the grid.

    Where the slices of the scan lie unevenly, a frame must lie on one of them.
    """
    to_voxel = np.linalg.inv(grid.affine) @ affine
    rows, columns = np.nonzero(values)
    start, steps = to_voxel[:3, 3], to_voxel[:3, :2]
    if scan is not None and not scan.is_even:
        across = 2 - scan.plane
        if np.abs(steps[across]).max() > _OFF_GRID / max(values.shape):
            return None
        start[across] = scan.index_at(start[across])
    if np.abs(steps - np.rint(steps)).max() > _OFF_GRID / max(values.shape) or (
        np.abs(start - np.rint(start)).max() > _OFF_GRID
    ):
        return None
    place = np.rint(start[:, None] + steps @ np.stack([columns, rows])).astype(np.intp)
    if place.size and (place.min() < 0 or (place.max(axis=1) >= grid.shape[::-1]).any()):
        return None
    return place


def _leaves_stripes(frames: Sequence[_Frame], scan: Volume) -> bool:
    """True if the segmentation is coarser than the scan and its voxels would lie apart on it."""
    to_voxel = np.linalg.inv(scan.grid.affine)
    steps = to_voxel[:3, :3] @ frames[0].affine[:3, :3]
    if np.abs(steps[:, :2]).max() > _COARSER:
        return True
    if not scan.is_even:  # `_place` looks for the slice of each frame
        return False
    axis = int(np.abs(steps[:, :2]).sum(axis=1).argmin())
    places = [round(float((to_voxel @ frame.affine[:, 3])[axis])) for frame in frames]
    apart = math.gcd(*(place - min(places) for place in places))
    return apart != 1 and frames[0].distance * abs(float(steps[axis, 2])) > _COARSER


def _own_grid(path: Path, frames: Sequence[_Frame], size: tuple[int, int]) -> Grid:
    """The grid that the frames of a segmentation make by themselves: ``[position, row, column]``.

    Raises:
        UserError: they lie in several directions, or unevenly.
    """
    first = frames[0].affine
    normal = first[:3, 2]
    origins = np.array([frame.affine[:3, 3] for frame in frames])
    heights = (origins - origins[0]) @ normal
    start, end = origins[heights.argmin()], origins[heights.argmax()]
    reach = float(np.ptp(heights))
    gaps: NDArray[np.float64] = np.diff(np.sort(heights))
    gap = float(gaps[gaps > _SAME_PLACE_MM].min(initial=reach))
    distance = frames[0].distance
    step = distance if 0 < distance < gap * (1 + _UNEVEN) else gap
    depth = round(reach / step) if step else 0
    along = (end - start) / depth if depth else normal * (distance or 1.0)
    index = np.rint((heights - heights.min()) / max(along @ normal, _SAME_PLACE_MM))
    off = np.sqrt(((origins - start - index[:, None] * along) ** 2).sum(axis=1))
    turned = [np.abs(frame.affine[:3, :3] - first[:3, :3]).max() for frame in frames]
    if max(turned) > _SAME_DIRECTION or off.max() > _UNEVEN * float(np.linalg.norm(along)):
        raise UserError(
            f"{path.name} lies on another grid, and its frames make no regular grid.",
            hint=SAME_SCAN,
        )
    affine = first.copy()
    affine[:3, 2], affine[:3, 3] = along, start
    return Grid((depth + 1, *size), affine)


def _names(ds: FileDataset) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in ds.get("SegmentSequence") or []:
        number = int(item.get("SegmentNumber") or 0)
        if 0 < number < 256:
            names[number] = str(item.get("SegmentLabel") or number)
    return names
