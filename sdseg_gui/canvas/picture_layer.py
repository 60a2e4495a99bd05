"""The picture under the labels: windowed, smooth, never copied as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from engine.domain.volume import Volume
from engine.imaging.window_level import to_8bit

_MOST_REDUCTION = 16


class PictureLayer(pg.ImageItem):
    """One slice as 256 greys or as colour.

    The slice stays as it is stored; a change of the window sends it through a table. A slice shown
    much smaller than it is gets reduced first, so that fine structure does not flicker and a
    change of the window costs no more than the screen has pixels.
    """

    def __init__(self) -> None:
        super().__init__(axisOrder="row-major")
        self._scan: Volume | None = None
        self._index = 0
        self._window = (0.0, 1.0)
        self._reduction = 1
        self._reduced: NDArray[Any] | None = None
        self.setZValue(0)

    def show_slice(self, scan: Volume | None, index: int, window: tuple[float, float]) -> None:
        """Shows slice `index`, or nothing if the slice is not loaded."""
        is_there = scan is not None and bool(scan.loaded[index])
        self._scan, self._index, self._window = (scan if is_there else None), index, window
        self._reduced = None
        self.setVisible(is_there)
        self._render()

    def set_window(self, window: tuple[float, float]) -> None:
        """Shows the same slice through another (level, width)."""
        self._window = window
        if self._scan is not None and not self._scan.is_colour:
            self._render()

    def set_magnification(self, magnification: float) -> None:
        """Tells how many screen pixels a pixel of the slice takes."""
        wanted = 1
        while wanted < _MOST_REDUCTION and wanted * 2 * magnification <= 1.0:
            wanted *= 2
        if wanted != self._reduction:
            self._reduction = wanted
            self._reduced = None
            self._render()

    def paint(self, painter: QPainter, *args: Any) -> None:
        """Draws smoothly; label edges are crisp, the picture is not a mosaic."""
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        super().paint(painter, *args)

    def render(self) -> None:
        """Makes the picture for the screen."""
        super().render()
        if self.qimage is not None:
            # Smooth scaling of 32-bit pixels is more than twice as fast as of 8-bit ones.
            self.qimage = self.qimage.convertToFormat(QImage.Format.Format_RGB32)

    def _render(self) -> None:
        if self._scan is None:
            return
        if self._reduced is None:
            stored = self._scan.slice(self._index)
            # A mean of padding and tissue would make a bright rim: take single pixels there.
            mean = self._scan.padding is None
            self._reduced = reduced(stored, self._reduction, mean)
        # autoLevels would guess a window of its own.
        self.setImage(grey_of(self._scan, self._reduced, self._window), autoLevels=False)
        rows, columns = self._reduced.shape[:2]
        self.setRect(QRectF(0, 0, columns * self._reduction, rows * self._reduction))


def grey_of(scan: Volume, stored: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Stored values of a slice as shown: uint8 ``[rows, columns]`` or ``[rows, columns, 3]``.

    Args:
        scan: whose slice it is.
        stored: ``[rows, columns]``, or ``[rows, columns, 3]`` for colour.
        window: (level, width) in real values; colour ignores it.
    """
    if scan.is_colour:
        deep = stored if stored.dtype == np.uint8 else stored >> 8
        return np.ascontiguousarray(deep, dtype=np.uint8)
    level, width = window
    grey = to_8bit(stored, scan.slope, scan.intercept, level, width, inverted=scan.inverted)
    if scan.padding is not None:
        grey[stored == scan.padding] = 0
    return grey


def reduced(stored: NDArray[Any], factor: int, mean: bool = True) -> NDArray[Any]:
    """The slice with blocks of `factor` x `factor` pixels as one, of the same type.

    Args:
        stored: ``[rows, columns]`` or ``[rows, columns, 3]``.
        factor: a power of two; 1 gives the slice itself.
        mean: take the mean of each block instead of its first pixel. A block at the edge may be
            cut; its missing pixels repeat the edge.
    """
    if factor == 1:
        return stored
    if not mean:
        return stored[::factor, ::factor]
    while factor > 1:
        stored = _halved(stored)
        factor //= 2
    return stored


def _halved(stored: NDArray[Any]) -> NDArray[Any]:
    odd = [(0, n % 2) for n in stored.shape[:2]] + [(0, 0)] * (stored.ndim - 2)
    if any(after for _, after in odd):
        stored = np.pad(stored, odd, mode="edge")
    is_whole = stored.dtype.kind in "iu"
    wide = np.int64 if stored.dtype.itemsize > 2 else np.int32
    total = stored[::2, ::2].astype(wide if is_whole else np.float32)
    for row, column in ((0, 1), (1, 0), (1, 1)):
        total += stored[row::2, column::2]
    return (total // 4 if is_whole else total / 4).astype(stored.dtype)
