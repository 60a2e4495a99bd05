"""What a mask in DICOM says it was drawn on, and whether that is the scan of a case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from engine.domain.case import Case
from engine.errors import UserError
from engine.io.dicom import source_stack
from engine.io.dicom_source import other_uid
from engine.io.mask_placing import Tell

_Uids = frozenset[str]


@dataclass(frozen=True)
class Names:
    """UIDs that a mask names, or those of a scan; empty where nothing is said.

    Attributes:
        spaces: of frames of reference.
        series: of series.
        images: of images (SOP instances).
        pairs: frames of reference, each with a series that the mask says to lie in it.
    """

    spaces: _Uids = frozenset()
    series: _Uids = frozenset()
    images: _Uids = frozenset()
    pairs: frozenset[tuple[str, str]] = frozenset()

    def drawn_on(self, scan: Names) -> bool | None:
        """True if a mask names the scan's series or images, False if only others; None: neither."""
        if self.series & scan.series or self.images & scan.images:
            return True
        names_others = (self.series and scan.series) or (self.images and scan.images)
        return False if names_others else None

    def lies_elsewhere(self, scan: Names) -> bool:
        """True if some of it lies in a frame of reference that is not the scan's.

        Some programs make up a UID for the frame; the scan's series is then listed under it.
        """
        made_up = {space for space, series in self.pairs if series in scan.series}
        return bool(self.spaces - scan.spaces - made_up)


def names_of_scan(case: Case) -> Names:
    """The UIDs of a case's images, as they stand and as a de-identified mask names them.

    Nothing for a case that is not from DICOM, or whose images have gone since.
    """
    if case.scan.stored.format != "dicom":
        return Names()
    try:
        images = source_stack(case).images
    except (UserError, OSError):
        return Names()
    return Names(
        _with_other({image.space for image in images}),
        _with_other({image.series for image in images}),
        _with_other({image.uid for image in images}),
    )


def names_in_seg(ds: Dataset, frames: Iterable[Any]) -> Names:
    """What a segmentation names.

    Args:
        ds: the file's own elements.
        frames: the elements of each frame.
    """
    series = list(referenced_series(ds))
    listed = [item for entry in series for item in entry.get("ReferencedInstanceSequence") or []]
    sources = [item for frame in frames for item in frame.get("SourceImageSequence") or []]
    spaces, named = _uids([ds], "FrameOfReferenceUID"), _uids(series, "SeriesInstanceUID")
    images = _uids([*listed, *sources], "ReferencedSOPInstanceUID")
    return Names(spaces, named, images, frozenset(product(spaces, named)))


def names_in_rtstruct(ds: Dataset, rois: Iterable[Dataset]) -> Names:
    """What a structure set names; `rois` are the items that describe its structures."""
    items = list(ds.get("ReferencedFrameOfReferenceSequence") or [])
    name, series = "FrameOfReferenceUID", "SeriesInstanceUID"
    spaces = _uids(rois, f"Referenced{name}") or _uids([ds, *items], name)
    pairs = [p for i in items for p in product(_uids([i], name), _uids(_series_in(i), series))]
    return Names(spaces, _uids(referenced_series(ds), series), pairs=frozenset(pairs))


def tell_of_another(path: Path, case: Case, mask: Names, scan: Names, tell: Tell) -> None:
    """Says if a mask was drawn in another frame of reference; by the series where none is named."""
    if mask.spaces and scan.spaces:
        is_elsewhere = mask.lies_elsewhere(scan)
        what = "in another frame of reference than that of" if is_elsewhere else ""
    else:
        what = "on another series than" if mask.drawn_on(scan) is False else ""
    if what:
        tell(f"{path.name} was drawn {what} {case.name}: check that it is this patient's and fits.")


def referenced_series(ds: Dataset) -> Iterator[Dataset]:
    """The items for the series that a segmentation or a structure set refers to."""
    yield from ds.get("ReferencedSeriesSequence") or []
    for frame in ds.get("ReferencedFrameOfReferenceSequence") or []:
        yield from _series_in(frame)


def _series_in(frame: Dataset) -> Iterator[Dataset]:
    """The items for the series that a structure set lists under a frame of reference."""
    for study in frame.get("RTReferencedStudySequence") or []:
        yield from study.get("RTReferencedSeriesSequence") or []


def text_of(value: Any) -> str:
    """One text; a backslash in it made several of it (PS3.5 6.4)."""
    return "\\".join(value) if isinstance(value, MultiValue) else str(value or "")


def _uids(items: Iterable[Dataset], name: str) -> _Uids:
    return frozenset(str(uid) for item in items if (uid := item.get(name)))


def _with_other(uids: set[str]) -> _Uids:
    known = uids - {""}
    return frozenset(known | {str(other_uid(uid)) for uid in known})
