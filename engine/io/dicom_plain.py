"""Plain pixels of one image, read where its header ends.

A series has thousands of files. Their headers are read once, to sort them; parsing each a second
time for its pixels would take most of the time that opening takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

_TAG = b"\xe0\x7f\x10\x00"  # (7FE0,0010) Pixel Data, little-endian
_LONG = 12  # bytes of an element's head where its value representation is told; else 8
_UNDEFINED = 2**32 - 1


@dataclass(frozen=True)
class PlainPixels:
    """Where the grey values of an image lie in its file.

    Attributes:
        start: of the element that holds them, in bytes from the start of the file.
        head: the first bytes of that element; the values follow.
        kind: numpy's name of a value's type.
        unused: bits of each value that mean nothing, from the highest one (PS3.5 8.1.1).
    """

    start: int
    head: bytes
    kind: str
    unused: int

    def read(self, path: Path, shape: tuple[int, int]) -> NDArray[Any] | None:
        """Stored values ``[row, column]``; None if the file is no longer what it was."""
        with path.open("rb") as stream:
            stream.seek(self.start)
            if stream.read(len(self.head)) != self.head:
                return None
            values = np.fromfile(stream, self.kind, shape[0] * shape[1])
        if values.size < shape[0] * shape[1]:
            return None
        if self.unused:
            values <<= self.unused
            values >>= self.unused
        return values.reshape(shape)


def find_plain(ds: FileDataset, stream: IO[bytes]) -> PlainPixels | None:
    """Where the pixels are; None if it takes a decoder to read them.

    Args:
        ds: what was read before the pixels.
        stream: the file, where reading stopped.
    """
    bits, stored, sign = (ds.get(n) for n in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    rows, columns = ds.get("Rows"), ds.get("Columns")
    is_long = _is_long(ds)
    if (
        is_long is None
        or bits not in (8, 16)
        or sign not in (0, 1)
        or not all(isinstance(n, int) and n > 0 for n in (stored, rows, columns))
        or stored > bits
        or ds.get("HighBit") not in (None, stored - 1)
        or ds.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2")
        or ds.get("SamplesPerPixel") != 1
        or ds.get("NumberOfFrames") not in (None, 1)
        or ds.get("ModalityLUTSequence")
    ):
        return None
    start = stream.tell()
    head = stream.read(_LONG if is_long else 8)
    length = int.from_bytes(head[-4:], "little")
    if head[:4] != _TAG or not rows * columns * bits // 8 <= length < _UNDEFINED:
        return None
    return PlainPixels(start, head, f"<{'ui'[sign]}{bits // 8}", bits - stored)


def _is_long(ds: FileDataset) -> bool | None:
    """True where elements tell their value representation; None for another transfer syntax."""
    syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    syntaxes = {ExplicitVRLittleEndian: (False, True), ImplicitVRLittleEndian: (True, True)}
    expected = syntaxes.get(syntax)  # type: ignore[call-overload]
    if expected is None or ds.original_encoding != expected:
        return None
    return not expected[0]
