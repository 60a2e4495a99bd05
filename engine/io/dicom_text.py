"""Names as DICOM can hold them; needs no pydicom."""

from __future__ import annotations

_LETTERS = 64  # of a short text (LO, PS3.5 6.2)


def one_text(text: str) -> str:
    """A text as one value of an element of 64 letters: a backslash would make two of it."""
    plain = "".join(letter for letter in text.replace("\\", "/") if letter.isprintable())
    return plain[:_LETTERS].strip()
