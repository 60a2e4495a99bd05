"""What the canvas shows while no case is open."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen

_LINE = QColor(92, 101, 112)
_HEAD = QColor(206, 212, 220)
_TEXT = QColor(138, 147, 158)


def paint_placeholder(painter: QPainter, area: QRectF, font: QFont, open_key: str) -> None:
    """A quiet hint in the middle of `area`.

    Args:
        painter: in screen pixels.
        area: of the canvas.
        font: of the window.
        open_key: the key that opens a picture, as text; may be empty.
    """
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    centre = area.center()
    _paint_frame(painter, QRectF(centre.x() - 44, centre.y() - 112, 88, 88))
    head = QFont(font)
    head.setPointSizeF(font.pointSizeF() + 5)
    key = f"   {open_key}" if open_key else ""
    lines = (
        (head, _HEAD, 20.0, "Open a picture or a volume"),
        (font, _TEXT, 10.0, f"File › Open{key}"),
        (font, _TEXT, 4.0, "or drop a file or a folder here"),
        (font, _TEXT, 4.0, "or begin with a built-in case from the File menu"),
    )
    y = centre.y() - 24
    for face, colour, gap, text in lines:
        height = QFontMetricsF(face).height()
        painter.setFont(face)
        painter.setPen(colour)
        rect = QRectF(area.left(), y + gap, area.width(), height)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
        y += gap + height
    painter.restore()


def _paint_frame(painter: QPainter, frame: QRectF) -> None:
    """A dashed frame with a slice in it: a round body and the outline of an organ."""
    dashed = QPen(_LINE, 1.6)
    dashed.setDashPattern([4.0, 3.0])
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(dashed)
    painter.drawRoundedRect(frame, 10.0, 10.0)
    painter.setPen(QPen(_LINE, 1.6))
    centre = frame.center()
    painter.drawEllipse(centre, 27.0, 21.0)
    organ = QPainterPath(centre + QPointF(-15, 2))
    organ.cubicTo(centre + QPointF(-16, -13), centre + QPointF(2, -14), centre + QPointF(3, -5))
    organ.cubicTo(centre + QPointF(4, 3), centre + QPointF(-12, 14), centre + QPointF(-15, 2))
    painter.setPen(QPen(QColor(64, 200, 235, 210), 1.6))
    painter.setBrush(QColor(64, 200, 235, 50))
    painter.drawPath(organ)
