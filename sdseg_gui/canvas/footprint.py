"""The pixels that the brush would set, drawn before they are set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
import qimage2ndarray
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QImage, QPainter

from engine.editing.brush import Stroke

_OPACITY = 110


class Footprint(pg.GraphicsObject):
    """A preview in the slice's own pixels, so that a person sees exactly what a click does."""

    def __init__(self) -> None:
        super().__init__()
        self._image = QImage()
        self._area = QRectF()
        self.setZValue(3)
        self.hide()

    def set_stroke(self, stroke: Stroke, colour: QColor) -> None:
        """Shows (rows, columns, mask) in a colour."""
        rows, columns, mask = stroke
        self.prepareGeometryChange()
        self._area = QRectF(columns.start, rows.start, mask.shape[1], mask.shape[0])
        pixels = np.zeros((*mask.shape, 4), dtype=np.uint8)
        pixels[mask] = (colour.red(), colour.green(), colour.blue(), _OPACITY)
        self._image = qimage2ndarray.array2qimage(pixels) if mask.size else QImage()
        self.update()

    @property
    def image(self) -> QImage:
        """The preview."""
        return self._image

    def boundingRect(self) -> QRectF:
        """In pixels of the slice."""
        return self._area

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Unsmoothed: pixels are set or not."""
        if not self._image.isNull():
            painter.drawImage(self._area, self._image)
