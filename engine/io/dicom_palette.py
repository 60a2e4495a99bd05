"""Colours of a palette image (PS3.3 C.7.6.3.1.5 and C.7.9.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.pixels.processing import apply_color_lut

_COLOURS = ("Red", "Green", "Blue")
_MOST = 2**16  # entries, which the descriptor says as 0


def colours_of(ds: FileDataset, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """RGB ``[row, column, 3]`` of the entry numbers of an image.

    Numbers before the first entry take its colour, those behind the last one the last one's.
    """
    count, first, _ = ds.RedPaletteColorLookupTableDescriptor
    table = _table(ds, count or _MOST, first)
    return table[np.clip(pixels.astype(np.int64) - first, 0, len(table) - 1)]


def _table(ds: FileDataset, count: int, first: int) -> NDArray[np.uint8]:
    """All entries, ``[count, 3]``. Tables of 16 bits often hold 8-bit colours in either byte."""
    data = [ds.get(f"{colour}PaletteColorLookupTableData") for colour in _COLOURS]
    if all(data):
        order = "<" if ds.file_meta.TransferSyntaxUID.is_little_endian else ">"
        kind = f"{order}u{2 if len(data[0]) >= 2 * count else 1}"
        table = np.stack([np.frombuffer(part, kind, count) for part in data], axis=-1)
    else:  # written as pieces of lines
        table = apply_color_lut(np.arange(count, dtype=np.int32) + first, ds)[:, :3]
    is_wide = int(table.max(initial=0)) > 255
    return (table >> 8 if is_wide else table).astype(np.uint8)
