"""Window and level: from stored values to the 256 greys of a screen."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.volume import Volume

Window = tuple[float, float]

PRESETS: dict[str, Window] = {
    "soft_tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "liver": (90.0, 150.0),
    "bone": (480.0, 2500.0),
    "brain": (40.0, 80.0),
}
_SAMPLES = 500_000
_LOW, _HIGH = 1.0, 99.0


def to_8bit(
    array: NDArray[Any],
    slope: float,
    intercept: float,
    level: float,
    width: float,
    *,
    inverted: bool = False,
) -> NDArray[np.uint8]:
    """Real values ``level - width/2 .. level + width/2`` as 0..255.

    Args:
        array: stored values of any shape.
        slope, intercept: stored to real.
        level, width: of the window, in real values; a width below a millionth counts as that.
        inverted: low values bright.
    """
    width = max(float(width), 1e-6)
    scale = slope * 255.0 / width
    offset = (intercept - (level - width / 2.0)) * 255.0 / width
    if inverted:
        scale, offset = -scale, 255.0 - offset
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        table = _table(array.dtype.str, float(scale), float(offset))
        return table.take(array.view(np.dtype(f"u{array.dtype.itemsize}")))
    return _scaled(array, scale, offset)


def _scaled(array: NDArray[Any], scale: float, offset: float) -> NDArray[np.uint8]:
    # In float64: a steep window on large integers would lose its steps in float32.
    grey = array * scale + offset
    return np.clip(np.rint(grey), 0.0, 255.0).astype(np.uint8)


@lru_cache(maxsize=16)
def _table(dtype: str, scale: float, offset: float) -> NDArray[np.uint8]:
    """The grey of every value of an 8- or 16-bit type, indexed by its bits."""
    bits = np.dtype(dtype).itemsize
    values = np.arange(256**bits, dtype=np.dtype(f"u{bits}")).view(dtype)
    table = _scaled(values.astype(np.float64), scale, offset)
    table.flags.writeable = False
    return table


def default_window(volume: Volume) -> Window:
    """(level, width) to begin with, in real values.

    The header's; for 8-bit pictures the whole range; else from the 1st to the 99th percentile of
    the loaded slices, padding left out.
    """
    if volume.window is not None:
        return volume.window
    if volume.array.dtype == np.uint8 and volume.is_picture:
        return 127.5, 255.0
    if volume.is_colour and volume.array.dtype == np.uint16:
        return 32767.5, 65535.0
    low, high = np.percentile(volume.real(_sample(volume)), [_LOW, _HIGH])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return float(low + high) / 2.0, float(high - low)


def _sample(volume: Volume) -> NDArray[Any]:
    """Stored values of the loaded slices, evenly taken, at most about half a million."""
    there = np.flatnonzero(volume.loaded)
    if 0 < there.size < volume.slice_count:
        flat = _evenly([volume.slice(n) for n in there.tolist()])
    else:
        flat = _evenly([volume.array])
    if volume.padding is not None:
        measured = flat[flat != volume.padding]
        flat = measured if measured.size else flat
    return flat


def _evenly(parts: list[NDArray[Any]]) -> NDArray[Any]:
    # An odd step that shares no factor with common row lengths, so that columns are mixed.
    step = max(1, sum(part.size for part in parts) // _SAMPLES) | 1
    return np.concatenate([part.reshape(-1)[::step] for part in parts])
