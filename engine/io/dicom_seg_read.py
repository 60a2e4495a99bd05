"""DICOM SEG in: each frame is put where its own position says, on the grid of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from engine.domain.case import Case
from engine.domain.grid import Affine
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.io.dicom_child import CONTAINED
from engine.io.dicom_decode import Decoder, read_elements
from engine.io.dicom_frames import Elements, frames_of
from engine.io.kinds import reading

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
FIRST, LAST = "first", "last"


@dataclass(frozen=True)
class _Frame:
    segment: int
    affine: Affine  # (column, row, 0, 1) to world mm in RAS+


def is_seg(path: Path) -> bool:
    """True for a DICOM segmentation."""
    with reading(path):
        return str(read_elements(path, [Tag("Modality")], pixels=False).get("Modality")) == "SEG"


def read_seg(
    path: Path, case: Case, threshold: float | None = None, overlap: str = ""
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The segments of a DICOM SEG as labels of their numbers.

    Args:
        path: of the file.
        case: whose grid the frames must lie on.
        threshold: of a fractional segmentation, in (0, 1]: what has it or more is in.
        overlap: where segments overlap, FIRST gives the voxel to the lower number, LAST to the
            higher one; "" asks.

    Returns:
        uint8 ``[k, j, i]``, and the segments' names by their numbers.

    Raises:
        ChoiceNeeded: it is fractional, or segments overlap, and nothing was chosen.
        UserError: it is damaged, or lies on another grid.
    """
    with reading(path):
        ds = read_elements(path, _TAGS, pixels=False)
        count = int(ds.get("NumberOfFrames") or 1)
        kind = str(ds.get("SegmentationType") or "BINARY").upper()
        level = _level(path, ds, threshold) if kind == "FRACTIONAL" else 1
        frames = [_frame(path, elements) for elements in frames_of(path, ds, count)]
        found = np.zeros(case.scan.grid.shape, dtype=np.uint8)
        decoder = Decoder()
        for n, frame in enumerate(frames):
            pixels = _pixels(decoder, path, ds, n if count > 1 else None)
            values = pixels if kind == "LABELMAP" else (pixels >= level) * np.uint8(frame.segment)
            _put(path, found, case, frame.affine, values, overlap)
        return found, _names(ds)


def _level(path: Path, ds: FileDataset, threshold: float | None) -> float:
    """The stored value from which a voxel of a fractional segmentation is in."""
    if threshold is None:
        raise ChoiceNeeded(
            f"{path.name} holds fractions, not yes or no.",
            hint="Choose from which fraction on a voxel belongs to a segment; 0.5 is usual.",
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
    return _Frame(0 if segment is None else int(segment), _TO_RAS @ affine)


def _pixels(decoder: Decoder, path: Path, ds: FileDataset, frame: int | None) -> NDArray[Any]:
    syntax = ds.file_meta.TransferSyntaxUID
    size = int(ds.get("Rows") or 0) * int(ds.get("Columns") or 0)
    if syntax.is_compressed or syntax.is_deflated:
        return CONTAINED.read(path, frame, size)
    return decoder.read(path, frame)


def _put(
    path: Path,
    found: NDArray[np.uint8],
    case: Case,
    affine: Affine,
    values: NDArray[Any],
    overlap: str,
) -> None:
    """Writes one frame ``[row, column]`` into the array where it lies."""
    to_voxel = np.linalg.inv(case.scan.grid.affine) @ affine
    rows, columns = np.nonzero(values)
    start, steps = to_voxel[:3, 3], to_voxel[:3, :2]
    if np.abs(steps - np.rint(steps)).max() > _OFF_GRID / max(values.shape) or (
        np.abs(start - np.rint(start)).max() > _OFF_GRID
    ):
        raise _elsewhere(path, case)
    if rows.size == 0:
        return
    place = np.rint(start[:, None] + steps @ np.stack([columns, rows])).astype(np.intp)
    i, j, k = place
    if place.min() < 0 or (place.max(axis=1) >= found.shape[::-1]).any():
        raise _elsewhere(path, case)
    new, old = values[rows, columns].astype(np.uint8), found[k, j, i]
    taken = (old != 0) & (old != new)
    if taken.any() and overlap not in (FIRST, LAST):
        raise ChoiceNeeded(
            f"Segments of {path.name} overlap, and a voxel can have one label.",
            hint="Choose which gets it: the segment of the lower or of the higher number.",
            about="overlap",
            choices=[Choice(FIRST, "the lower number gets it"), Choice(LAST, "the higher number")],
        )
    higher = np.maximum(old, new) if overlap == LAST else np.minimum(old, new)
    found[k, j, i] = np.where(taken, higher, new)


def _elsewhere(path: Path, case: Case) -> UserError:
    return UserError(
        f"{path.name} lies on another grid than {case.name}.",
        hint="Open the mask that was drawn on this very scan.",
    )


def _names(ds: FileDataset) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in ds.get("SegmentSequence") or []:
        number = int(item.get("SegmentNumber") or 0)
        if 0 < number < 256:
            names[number] = str(item.get("SegmentLabel") or number)
    return names
