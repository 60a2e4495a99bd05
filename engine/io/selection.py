"""Which part of a source was opened, as one word that a project file keeps."""

from __future__ import annotations

from pathlib import Path

from engine.errors import Choice, ChoiceNeeded, UserError

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


def time_point(path: Path, count: int, time: int | None) -> int | None:
    """The time point to open of `count`; None where there is only one.

    Raises:
        ChoiceNeeded: there are several, and none was chosen.
        UserError: there is no such time point.
    """
    if time is not None and not 0 <= time < count:
        raise UserError(f"{path.name} has no time point {time}.", hint=f"It has 0 to {count - 1}.")
    if count == 1:
        return None
    if time is None:
        raise ChoiceNeeded(
            f"{path.name} holds {count} images at each place (time points, or passes).",
            hint=f"Choose one: --time 0 to --time {count - 1}.",
            about="time",
            choices=[Choice(str(n), f"time point {n}") for n in range(count)],
        )
    return time
