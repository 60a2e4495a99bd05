"""Values of DICOM elements, whatever their writers made of them."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.io.dicom_frames import Elements


def text_of(ds: Elements, name: str) -> str:
    """Without blanks around it; "" where nothing is said."""
    value = ds.get(name)
    return "" if value is None else str(value).strip()


def many_of(ds: Elements, name: str) -> list[Any]:
    """All values of an element that may have several."""
    value = ds.get(name)
    if value is None or isinstance(value, str):
        return [] if value is None else [value]
    return list(value) if hasattr(value, "__iter__") else [value]


def words_of(ds: Elements, name: str) -> list[str]:
    """All values, in capitals."""
    return [str(word).upper() for word in many_of(ds, name)]


def floats_of(ds: Elements, name: str, count: int) -> list[float] | None:
    """Exactly `count` finite numbers, or None."""
    try:
        values = [float(v) for v in many_of(ds, name)]
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(isfinite, values)) else None


def number_of(ds: Elements, name: str, default: float) -> float:
    """The first value; `default` where it is missing or no finite number."""
    try:
        values = [float(v) for v in many_of(ds, name)[:1]]
    except (TypeError, ValueError):
        return default
    return values[0] if values and isfinite(values[0]) else default


def whole_of(path: Path, ds: Elements, name: str, default: int = 0) -> int:
    """A number from 1 on.

    Raises:
        UserError: it is none.
    """
    try:
        value = int(ds.get(name) or default)
    except (TypeError, ValueError):
        value = 0
    if value < 1:
        raise UserError(f"{path.name} is damaged: its {name} makes no sense.")
    return value
