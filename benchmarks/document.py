"""The part of a document that a benchmark renews, between two markers."""

from __future__ import annotations

from pathlib import Path

from engine.errors import UserError


def around(document: Path, begin: str, end: str) -> tuple[str, str]:
    """What stands before and behind the part, each with its marker.

    Raises:
        UserError: the document lacks a marker.
    """
    before, first, rest = document.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise UserError(f"{document.name} lacks {begin} or {end}.")
    return before + first, last + after
