"""The label map over the picture: crisp at every zoom, as cheap as the screen is small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage, QPainter, QTransform
from PySide6.QtWidgets import QGraphicsItem

from engine.domain.labels import LabelList
from engine.imaging.overlay import colour_table, outline_of

_OUTLINE = 2  # screen pixels
_MARGIN = 4  # screen pixels looked at beyond the part that is drawn, so that outlines meet


@dataclass(frozen=True)
class OverlayStyle:
    """How labels are drawn."""

    opacity: float = 0.45
    outline_only: bool = False


class LabelLayer(pg.GraphicsObject):
    """One slice of the label map.

    Nothing is kept for the whole slice: what has to be drawn is sampled from the label map at the
    screen's own resolution. So only the changed rectangle costs time after a stroke, an outline is
    equally thin at every zoom, and memory does not depend on the scan.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemUsesExtendedStyleOption)
        self._values: NDArray[np.uint8] = np.zeros((0, 0), dtype=np.uint8)
        self._style = OverlayStyle()
        self._fill = self._edge = np.zeros(256, dtype=np.uint32)
        self.setZValue(1)

    def show_slice(self, values: NDArray[np.uint8]) -> None:
        """Shows label ids ``[rows, columns]``; the array is looked at again at each repaint."""
        if values.shape != self._values.shape:
            self.prepareGeometryChange()
        self._values = values
        self.update()

    def set_style(self, labels: LabelList, style: OverlayStyle) -> None:
        """Changes colours, opacity or outline."""
        self._style = style
        fill = 0.0 if style.outline_only else style.opacity
        self._fill = premultiplied(colour_table(labels, fill))
        self._edge = premultiplied(colour_table(labels, min(1.0, style.opacity + 0.5)))
        self.update()

    def repaint_part(self, values: NDArray[np.uint8], rows: slice, columns: slice) -> None:
        """Redraws a rectangle of the slice whose labels changed."""
        self._values = values
        rect = QRectF(
            columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
        )
        # The outline of a neighbour changes too; it is a few screen pixels wide.
        scale = self.sceneTransform()
        right, down = _MARGIN / abs(scale.m11()), _MARGIN / abs(scale.m22())
        self.update(rect.adjusted(-right, -down, right, down))

    def boundingRect(self) -> QRectF:
        """The slice, in its own pixels."""
        rows, columns = self._values.shape
        return QRectF(0, 0, columns, rows)

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Draws the exposed part."""
        ratio = painter.device().devicePixelRatioF()
        transform = painter.worldTransform()
        exposed = transform.mapRect(option.exposedRect)
        sample = sample_screen(self._values, transform, exposed, ratio)
        if sample is None:
            return
        values, left, top = sample
        pixels = self._coloured(values, ratio)
        image = QImage(
            pixels.data,
            pixels.shape[1],
            pixels.shape[0],
            pixels.strides[0],
            QImage.Format.Format_ARGB32_Premultiplied,
        )
        image.setDevicePixelRatio(ratio)
        painter.save()
        painter.resetTransform()
        painter.drawImage(QPointF(left / ratio, top / ratio), image)
        painter.restore()

    def _coloured(self, values: NDArray[np.uint8], ratio: float) -> NDArray[np.uint32]:
        pixels = self._fill.take(values)
        edge = outline_of(values)
        for _ in range(round(_OUTLINE * ratio) - 1):
            edge |= outline_of(np.where(edge, np.uint8(0), values))
        pixels[edge] = self._edge[values[edge]]
        return pixels


def premultiplied(table: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """RGBA colours [n, 4] as Qt's 0xAARRGGBB, colours multiplied by alpha."""
    red, green, blue, alpha = table.astype(np.uint32).T
    red, green, blue = ((part * alpha + 127) // 255 for part in (red, green, blue))
    return alpha << 24 | red << 16 | green << 8 | blue


def sample_screen(
    values: NDArray[np.uint8], transform: QTransform, exposed: QRectF, ratio: float
) -> tuple[NDArray[np.uint8], int, int] | None:
    """The label ids under each screen pixel.

    Args:
        values: label ids ``[rows, columns]`` of the slice.
        transform: from (column, row) to the screen; it scales and shifts only.
        exposed: part of the screen to draw.
        ratio: device pixels for each screen pixel.

    Returns:
        (ids ``[height, width]``, left, top) in device pixels, or None if no label is seen there.
    """
    columns, left = _under(
        exposed.left(), exposed.right(), transform.dx(), transform.m11(), values.shape[1], ratio
    )
    rows, top = _under(
        exposed.top(), exposed.bottom(), transform.dy(), transform.m22(), values.shape[0], ratio
    )
    if rows.size == 0 or columns.size == 0:
        return None
    (low_row, high_row), (low, high) = sorted((rows[0], rows[-1])), (columns[0], columns[-1])
    part = values[low_row : high_row + 1, low : high + 1]
    if not part.any():
        return None
    return part.take(rows - low_row, axis=0).take(columns - low, axis=1), left, top


def _under(
    start: float, stop: float, shift: float, step: float, count: int, ratio: float
) -> tuple[NDArray[np.intp], int]:
    """Which of `count` pixels of the slice lies under each device pixel, along one direction.

    Returns:
        (indices, device pixel of the first): those that lie outside of the slice are left out.
    """
    first = int(np.floor(start * ratio)) - _MARGIN
    last = int(np.ceil(stop * ratio)) + _MARGIN
    centres = (np.arange(first, last) + 0.5) / ratio
    indices = np.floor((centres - shift) / step).astype(np.intp)
    inside = np.flatnonzero((indices >= 0) & (indices < count))
    if inside.size == 0:
        return indices[:0], first
    return indices[inside[0] : inside[-1] + 1], first + int(inside[0])
