"""What lies over the picture in screen pixels: brush ring, region of interest, hatch."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QPainter, QPen

_DARK = QColor(0, 0, 0, 150)
_LIGHT = QColor(240, 242, 245)
_HANDLE = 7.0


class BrushRing(pg.GraphicsObject):
    """The outline of the brush around the pointer."""

    def __init__(self) -> None:
        super().__init__()
        self._radius = 1.0
        self._colour = QColor(_LIGHT)
        self._blocked = self._erases = False
        self.setZValue(10)
        self.hide()

    def set_brush(self, radius: float, colour: QColor, *, erases: bool, blocked: bool) -> None:
        """Radius in screen pixels; an eraser is dashed, a brush that can't paint is struck out."""
        self.prepareGeometryChange()
        self._radius, self._colour = max(radius, 1.5), colour
        self._erases, self._blocked = erases, blocked
        self.update()

    @property
    def radius(self) -> float:
        """In screen pixels."""
        return self._radius

    def boundingRect(self) -> QRectF:
        """Ring and pen."""
        reach = self._radius + 3.0
        return QRectF(-reach, -reach, 2 * reach, 2 * reach)

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """A light ring with a dark one around it is seen on any picture."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ring = QPen(QColor(170, 174, 180) if self._blocked else self._colour, 1.4)
        if self._erases:
            ring.setStyle(Qt.PenStyle.DashLine)
        for pen in (QPen(_DARK, 3.4), ring):
            painter.setPen(pen)
            painter.drawEllipse(QPointF(0, 0), self._radius, self._radius)
            if self._blocked:
                slant = self._radius * 0.7071
                painter.drawLine(QPointF(-slant, slant), QPointF(slant, -slant))


class BoxFrame(pg.GraphicsObject):
    """The region of interest on a slice: a thin dashed frame, with handles while it is edited."""

    def __init__(self) -> None:
        super().__init__()
        self._frame = QRectF()
        self._caption = ""
        self._has_handles = False
        self.setZValue(5)
        self.hide()

    def set_frame(self, frame: QRectF, caption: str, has_handles: bool) -> None:
        """The rectangle on the screen; the caption says which slices it covers."""
        self.prepareGeometryChange()
        self._frame, self._caption, self._has_handles = frame, caption, has_handles
        self.update()

    @property
    def frame(self) -> QRectF:
        """On the screen."""
        return self._frame

    def boundingRect(self) -> QRectF:
        """Frame, handles and caption."""
        text = self._caption_rect() if self._caption else self._frame
        return self._frame.adjusted(-8, -8, 8, 8).united(text.adjusted(-2, -2, 2, 2))

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Light dashes over a dark line."""
        dashed = QPen(_LIGHT, 1.0)
        dashed.setDashPattern([5.0, 4.0])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for pen in (QPen(_DARK, 2.0), dashed):
            painter.setPen(pen)
            painter.drawRect(self._frame)
        if self._has_handles:
            self._paint_handles(painter)
        if self._caption:
            self._paint_caption(painter)

    def _paint_handles(self, painter: QPainter) -> None:
        painter.setPen(QPen(QColor(20, 22, 26), 1.0))
        painter.setBrush(_LIGHT)
        centre = self._frame.center()
        for x in (self._frame.left(), centre.x(), self._frame.right()):
            for y in (self._frame.top(), centre.y(), self._frame.bottom()):
                if QPointF(x, y) != centre:
                    painter.drawRect(QRectF(x - _HANDLE / 2, y - _HANDLE / 2, _HANDLE, _HANDLE))

    def _paint_caption(self, painter: QPainter) -> None:
        rect = self._caption_rect()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(12, 14, 17, 190))
        painter.drawRoundedRect(rect, 3.0, 3.0)
        painter.setPen(_LIGHT)
        painter.setFont(_caption_font())
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._caption)

    def _caption_rect(self) -> QRectF:
        metrics = QFontMetricsF(_caption_font())
        width, height = metrics.horizontalAdvance(self._caption) + 12.0, metrics.height() + 4.0
        return QRectF(self._frame.left(), self._frame.top() - height - 8.0, width, height)


def _caption_font() -> QFont:
    font = QFont()
    font.setPointSizeF(max(8.0, font.pointSizeF() - 1.0))
    return font


class Hatch(pg.GraphicsObject):
    """Stands where a slice is not read yet, or is missing in its series."""

    def __init__(self) -> None:
        super().__init__()
        self._area = QRectF()
        self._text = ""
        self.setZValue(2)
        self.hide()

    def say(self, text: str) -> None:
        """The word in the middle."""
        self._text = text
        self.update()

    @property
    def text(self) -> str:
        """The word in the middle."""
        return self._text

    def set_area(self, area: QRectF) -> None:
        """The rectangle of the slice on the screen."""
        self.prepareGeometryChange()
        self._area = area

    def boundingRect(self) -> QRectF:
        """The slice."""
        return self._area

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Quiet lines, and a word in the middle."""
        painter.fillRect(self._area, QColor(16, 18, 21))
        painter.fillRect(self._area, QBrush(QColor(52, 57, 64), Qt.BrushStyle.BDiagPattern))
        text = QFontMetricsF(painter.font()).boundingRect(self._text).adjusted(-14, -8, 14, 8)
        text.moveCenter(self._area.center())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(16, 18, 21))
        painter.drawRoundedRect(text, 4.0, 4.0)
        painter.setPen(QColor(150, 158, 168))
        painter.drawText(text, Qt.AlignmentFlag.AlignCenter, self._text)
