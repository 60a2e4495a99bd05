"""DICOM SEG in: each frame is put where its own position says, on the grid of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.domain.labels import MAX_LABEL_ID
from engine.domain.volume import Volume
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.io.dicom_child import CONTAINED
from engine.io.dicom_decode import Decoder, read_elements
from engine.io.dicom_frames import frames_of
from engine.io.dicom_refers import (
    names_in_seg,
    names_of_scan,
    tell_of_another,
    text_of,
)
from engine.io.dicom_seg_frames import (
    Frame,
    frame_of,
    leaves_stripes,
    own_grid,
    voxels_of,
    way_onto,
)
from engine.io.kinds import reading
from engine.io.mask_overlaps import Placing
from engine.io.mask_placing import Tell, other_grid, put_on_grid

_TAGS: list[Any] = [
    Tag(name)
    for name in (
        "Modality", "SegmentationType", "SegmentSequence", "MaximumFractionalValue", "Rows",
        "Columns", "BitsAllocated", "PixelRepresentation", "PixelPaddingValue",
        "NumberOfFrames", "FrameOfReferenceUID", "ReferencedSeriesSequence",
        "InConcatenationNumber", "InConcatenationTotalNumber",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    )
]  # fmt: skip
_NAMED = 3  # renumbered segments in a sentence
_Numbers = NDArray[np.unsignedinteger[Any]]


def read_seg(
    path: Path,
    case: Case,
    threshold: float | None = None,
    overlap: str = "",
    *,
    resample: bool = False,
    tell: Tell = lambda _: None,
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The segments of a DICOM SEG as labels of their numbers; those above 255 get free lower ones.

    Args:
        path: of the file.
        case: whose grid the frames must lie on.
        threshold: of a fractional segmentation, in (0, 1]: what has it or more is in.
        overlap: FIRST gives a voxel of two to the lower number, LAST to the higher one; "" asks.
        resample: put one of another grid onto the case's by the nearest voxel.
        tell: called with a sentence about what that changed, about labels that got other numbers,
            and if it was drawn on another scan.

    Returns:
        uint8 ``[k, j, i]``, and the segments' names by their labels.

    Raises:
        ChoiceNeeded: it is fractional, segments overlap, or it lies on another grid, and nothing
            was chosen.
        UserError: it is damaged, no segmentation, or has more segments than there are labels.
    """
    with reading(path):
        ds = _segmentation(path)
        kind = str(ds.get("SegmentationType") or "BINARY").upper()
        level = _level(path, ds, threshold) if kind == "FRACTIONAL" else 1
        elements = frames_of(path, ds, int(ds.get("NumberOfFrames") or 1))
        frames = [frame_of(path, item) for item in elements]
        mask, scan = names_in_seg(ds, elements), names_of_scan(case)
        drawn = _Drawn(path, ds, frames, level, overlap)
        drawn.check(tell)
        found = _on_case(drawn, case, mask.drawn_on(scan), resample, tell)
        tell_of_another(path, case, mask, scan, tell)
        return found


def _segmentation(path: Path) -> FileDataset:
    ds = read_elements(path, _TAGS, pixels=False)
    if str(ds.get("Modality")) != "SEG":
        raise UserError(
            f"{path.name} is DICOM, but no segmentation.",
            hint="Open a DICOM SEG or an RT structure set.",
        )
    return ds


@dataclass(frozen=True)
class _Drawn:
    """A segmentation; `level` is the stored value from which a pixel of no label map is in."""

    path: Path
    ds: FileDataset
    frames: Sequence[Frame]
    level: float
    overlap: str

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of each frame."""
        return int(self.ds.get("Rows") or 0), int(self.ds.get("Columns") or 0)

    @cached_property
    def names(self) -> dict[int, str]:
        """Of the segments, by their numbers."""
        items = self.ds.get("SegmentSequence") or []
        named = {int(n): item for item in items if (n := item.get("SegmentNumber"))}
        return {n: text_of(item.get("SegmentLabel")) or str(n) for n, item in named.items()}

    def check(self, tell: Tell) -> None:
        """Refuses frames that say no segment; tells if other files hold the rest of them."""
        if not self._is_labelmap and any(frame.segment < 1 for frame in self.frames):
            raise UserError(
                f"{self.path.name} is damaged: a frame does not say which segment it shows.",
                hint="Copy the file again, or export it anew from its program.",
            )
        parts = int(self.ds.get("InConcatenationTotalNumber") or 1)
        if parts > 1:
            part = self.ds.get("InConcatenationNumber")
            tell(f"{self.path.name} is part {part} of {parts}: the other files hold the rest.")

    def put(self, grid: Grid, scan: Volume | None) -> _Numbers | None:
        """Segment numbers ``[k, j, i]`` on a grid, uint8 or uint16; None if a frame is beside it.

        `scan` as `way_onto` wants it.
        """
        all_ways = [way_onto(frame, self.size, grid, scan) for frame in self.frames]
        ways = [way for way in all_ways if way is not None]
        if len(ways) < len(all_ways):
            return None
        placing = Placing(self.path, grid.shape, self.overlap, self._type())
        decoder = Decoder()
        for n, way in enumerate(ways):
            values = self._numbers(decoder, n)
            place = voxels_of(values, way, grid)
            if place is None:
                return None
            placing.put(place, values[values != 0])
        return placing.finish(self.names)

    @property
    def _is_labelmap(self) -> bool:
        return str(self.ds.get("SegmentationType")).upper() == "LABELMAP"

    def _type(self) -> type[np.uint8] | type[np.uint16]:
        most = max(frame.segment for frame in self.frames)
        is_wide = int(self.ds.get("BitsAllocated") or 8) > 8 if self._is_labelmap else most > 255
        return np.uint16 if is_wide else np.uint8

    def _numbers(self, decoder: Decoder, n: int) -> _Numbers:
        """Segment numbers ``[row, column]`` of one frame, 0 where none is."""
        pixels = self._pixels(decoder, n if len(self.frames) > 1 else None)
        if not self._is_labelmap:
            return (pixels >= self.level) * self._type()(self.frames[n].segment)
        nothing = self.ds.get("PixelPaddingValue")
        values = pixels.astype(self._type())
        return values if nothing is None else values * (values != nothing)

    def _pixels(self, decoder: Decoder, frame: int | None) -> NDArray[Any]:
        syntax = self.ds.file_meta.TransferSyntaxUID
        if syntax.is_compressed or syntax.is_deflated:
            size = self.size[0] * self.size[1] * self._type()().itemsize
            return CONTAINED.read(self.path, frame, size)
        return decoder.read(self.path, frame)


def _on_case(
    drawn: _Drawn, case: Case, is_drawn_on: bool | None, resample: bool, tell: Tell
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Labels on the case's grid and their names; from the segmentation's own grid if need be."""
    path, target = drawn.path, case.scan.grid
    found = None
    if not leaves_stripes(drawn.frames, case.scan, is_drawn_on):
        found = drawn.put(target, case.scan)
    if found is not None:
        return _labels(path, found, drawn.names, tell)
    grid = own_grid(path, drawn.frames, drawn.size)
    found = drawn.put(grid, None) if resample else None
    if found is None:
        raise other_grid(path, case, grid)
    labels, names = _labels(path, found, drawn.names, tell)
    return put_on_grid(path, labels, grid, target, tell), names


def _labels(
    path: Path, found: _Numbers, names: Mapping[int, str], tell: Tell
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Segment numbers as labels; those above 255 get the lowest that is free, unnamed ones first.

    Raises:
        UserError: more segments are drawn than there are labels.
    """
    known = {n: name for n, name in names.items() if n <= MAX_LABEL_ID}
    if found.dtype == np.uint8:
        return found.astype(np.uint8, copy=False), known
    used = [int(n) for n in np.unique(found) if n]
    if len(used) > MAX_LABEL_ID:
        raise UserError(
            f"{path.name} holds {len(used)} segments; {MAX_LABEL_ID} can be opened.",
            hint="Export them from its program as several files.",
        )
    free = sorted(set(range(1, MAX_LABEL_ID + 1)) - set(used), key=lambda n: (n in known, n))
    given = dict(zip([n for n in used if n > MAX_LABEL_ID], free, strict=False))
    turn = np.zeros(max(used, default=0) + 1, dtype=np.uint8)
    turn[used] = [given.get(n, n) for n in used]
    known |= {label: names.get(n, str(n)) for n, label in given.items()}
    if given:
        parts = [f"segment {n} is label {label}" for n, label in [*given.items()][:_NAMED]]
        more = f" and {len(given) - _NAMED} more are renumbered" * (len(given) > _NAMED)
        tell(f"Labels end at {MAX_LABEL_ID}: of {path.name}, {', '.join(parts)}{more}.")
    return turn[found], known


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
