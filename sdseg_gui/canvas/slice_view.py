"""The drawing area: layers of one slice, seen through a camera."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from sdseg_gui.canvas.annotations import Annotations, Words
from sdseg_gui.canvas.camera import Camera
from sdseg_gui.canvas.footprint import Footprint
from sdseg_gui.canvas.label_layer import LabelLayer
from sdseg_gui.canvas.markers import BoxFrame, BrushRing, Hatch
from sdseg_gui.canvas.picture_layer import PictureLayer
from sdseg_gui.canvas.placeholder import paint_placeholder

_BACKGROUND = "#08090b"


class SliceView(pg.GraphicsView):
    """Draws; it knows nothing of documents and decides nothing.

    The scene's coordinates are screen pixels. Layers that belong to the slice hang on one root
    item whose transform is the camera's, so that they count in the slice's own pixels.
    """

    camera_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        self.camera: Camera | None = None  # resizeEvent comes before this constructor ends
        super().__init__(parent, background=_BACKGROUND)
        self.setCentralItem(None)
        self.setAcceptDrops(False)  # the window takes what is dropped
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.camera = Camera()
        self.open_key = ""
        self._annotations = Annotations()
        self._is_empty = True
        self._root = pg.ItemGroup()
        self.picture, self.labels, self.footprint = PictureLayer(), LabelLayer(), Footprint()
        self.hatch, self.frame, self.ring = Hatch(), BoxFrame(), BrushRing()
        for layer in (self.picture, self.labels, self.footprint):
            layer.setParentItem(self._root)
        for item in (self._root, self.hatch, self.frame, self.ring):
            self.addItem(item)
        self.set_empty(True)

    def is_alive(self) -> bool:
        """False once Qt has begun to take the scene apart."""
        return all(isValid(item) for item in (self._root, self.footprint, self.frame, self.ring))

    def set_empty(self, is_empty: bool) -> None:
        """Shows the hint instead of a slice, or the reverse."""
        self._is_empty = is_empty
        self._root.setVisible(not is_empty)
        self.viewport().update()

    def set_words(self, words: Words) -> None:
        """What is written over the slice."""
        if words != self._annotations.words:
            self._annotations.words = words
            self.viewport().update()

    def look(self) -> Camera:
        """The camera."""
        assert self.camera is not None
        return self.camera

    def apply_camera(self) -> None:
        """Draws with the camera as it is now."""
        camera = self.look()
        self._root.setTransform(camera.transform())
        self.picture.set_magnification(camera.magnification)
        self.hatch.set_area(camera.slice_on_screen())
        self.camera_changed.emit()
        self.viewport().update()

    def screen_rect(self, rows: slice, columns: slice) -> QRectF:
        """Where a rectangle of the slice lies on the screen."""
        corner = QPointF(columns.start, rows.start)
        return self.look().transform().mapRect(QRectF(corner, QPointF(columns.stop, rows.stop)))

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        """Keeps the slice fitted, or its middle in the middle."""
        super().resizeEvent(ev)
        if self.camera is not None:
            self.camera.resize(self.viewport().width(), self.viewport().height())
            self.apply_camera()

    def drawForeground(self, painter: QPainter, *args: Any) -> None:
        """Words, or the hint."""
        area = QRectF(self.viewport().rect())
        if self._is_empty:
            paint_placeholder(painter, area, self.font(), self.open_key)
        else:
            self._annotations.paint(painter, area, self.font())
