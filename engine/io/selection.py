"""Which part of a source was opened, as one word that a project file keeps."""

from __future__ import annotations

_TIME = "#"


def selection(series: str, time: int | None) -> str:
    """One word for a series and a time point.

    Args:
        series: one-way hash of a DICOM series, or "".
        time: time point from 0, or None where the source has only one.
    """
    return series if time is None else f"{series}{_TIME}{time}"


def split_selection(word: str) -> tuple[str, int | None]:
    """The series and the time point of `selection`; a plain series has none."""
    series, mark, time = word.partition(_TIME)
    return (series, int(time)) if mark and time.isdigit() else (word, None)
