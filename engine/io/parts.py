"""What a person chooses from: the cases behind a path, each series of a DICOM folder by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.io.kinds import Kind, kind_of, stem_of
from engine.io.listing import Progress, list_cases


@dataclass(frozen=True)
class Part:
    """One case.

    Attributes:
        path: its file or folder.
        series: one-way hash of the series in a folder with several, else "".
        name: what a list calls it.
        summary: size and description of a series, for the screen alone; may be "".
        is_likeliest: True for the one that is most likely meant.
    """

    path: Path
    series: str
    name: str
    summary: str = ""
    is_likeliest: bool = False


def list_parts(path: Path, progress: Progress | None = None) -> list[Part]:
    """The cases behind a path, in natural order.

    Args:
        path: file or folder.
        progress: called with (folders looked at, 0) while folders are looked for, then with (files
            looked at, files of the folder) before each DICOM file; may raise `Cancelled`.

    Raises:
        UserError: nothing there can be opened.
    """
    parts: list[Part] = []
    for case in list_cases(path, progress):
        parts += _parts_of(case, progress, is_all=case == path)
    return parts


def _parts_of(case: Path, progress: Progress | None, *, is_all: bool) -> list[Part]:
    """The series of a case; `is_all` says that it was asked for by itself."""
    name = stem_of(case) if case.is_file() else case.name
    if kind_of(case) not in (Kind.FOLDER, Kind.DICOM):
        return [Part(case, "", name)]
    from engine.io.dicom_header import short_hash
    from engine.io.dicom_series import find_series, likeliest

    try:
        series = find_series(case, progress).series
    except UserError:
        if is_all:
            raise
        # One of several: it is said when the case is opened.
        return [Part(case, "", name)]
    if len(series) == 1:
        return [Part(case, "", name, series[0].summary)]
    best = likeliest(series)
    return [
        Part(case, short_hash(one.uid), one.name, one.summary, n == best)
        for n, one in enumerate(series)
    ]
