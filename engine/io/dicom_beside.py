"""Segmentations and structure sets that lie among the images of their series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.tag import Tag

from engine.domain.case import Case
from engine.errors import UserError
from engine.io.dicom_decode import read_elements
from engine.io.dicom_header import short_hash
from engine.io.dicom_refers import referenced_series
from engine.io.dicom_series import MASKS, find_series
from engine.io.selection import split_selection

_TAGS: list[Any] = [
    Tag(name)
    for name in ("Modality", "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence")
]


def masks_of(case: Case) -> list[Path]:
    """The masks in the folder of a case from DICOM, but for those that name another series."""
    series = split_selection(case.scan.stored.series)[0]
    return [path for path in find_series(case.source).others if _is_mask(path, series)]


def names_case(path: Path, case: Case) -> bool:
    """True for a segmentation or structure set that names the series of a case, or none."""
    return _is_mask(path, split_selection(case.scan.stored.series)[0])


def _is_mask(path: Path, series: str) -> bool:
    try:
        ds = read_elements(path, _TAGS, pixels=False)
    except UserError:
        return False
    if ds.get("Modality") not in MASKS:
        return False
    named = {short_hash(str(item.get("SeriesInstanceUID"))) for item in referenced_series(ds)}
    return not named or series in named
