"""Words and letters over the picture, readable on bright and on dark."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPixmap

from engine.imaging.orientation import EdgeLetters

_TEXT = QColor(232, 235, 240)
_FAINT = QColor(188, 195, 204)
_HALO = QColor(0, 0, 0, 165)
_AROUND = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]
_PAD = 3.0  # room for the halo
_MARGIN = 12.0
_WIDEST = 0.44  # part of the width that a corner may take


@dataclass(frozen=True)
class Words:
    """Everything that is written over a slice; empty parts are left out."""

    title: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    window: tuple[str, ...] = ()
    zoom: str = ""
    letters: EdgeLetters | None = None
    bar: tuple[float, str] | None = None  # (length in screen pixels, caption)


@dataclass
class Annotations:
    """Paints `Words`; each piece is a picture that is made once and reused until it changes."""

    words: Words = field(default_factory=Words)
    _made: dict[tuple[object, ...], QPixmap] = field(default_factory=dict)
    _used: set[tuple[object, ...]] = field(default_factory=set)

    def paint(self, painter: QPainter, area: QRectF, font: QFont) -> None:
        """Draws everything into `area` of the screen."""
        self._used.clear()
        words, inner = self.words, area.adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        top, bottom = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignBottom
        self._block(painter, inner, font, words.title, left | top)
        self._block(painter, inner, font, words.place, right | top)
        self._block(painter, inner, font, words.window, left | bottom)
        low = (words.zoom,) if words.zoom else ()
        height = self._block(painter, inner, font, low, right | bottom)
        if words.bar is not None:
            self._bar(painter, inner.adjusted(0, 0, 0, -height - 8.0), font, words.bar)
        if words.letters is not None:
            self._letters(painter, inner, font, words.letters)
        self._made = {key: self._made[key] for key in self._used}

    def _block(
        self,
        painter: QPainter,
        area: QRectF,
        font: QFont,
        lines: tuple[str, ...],
        align: Qt.AlignmentFlag,
    ) -> float:
        """Draws some lines into a corner; returns their height."""
        if not lines:
            return 0.0
        metrics = QFontMetricsF(font)
        elide, widest = Qt.TextElideMode.ElideMiddle, area.width() * _WIDEST
        short = tuple(metrics.elidedText(line, elide, widest) for line in lines)
        picture = self._picture(painter, short, font, align, _TEXT)
        size = picture.deviceIndependentSize()
        painter.drawPixmap(_aligned(size, area, align), picture)
        return size.height() - 2 * _PAD

    def _letters(self, painter: QPainter, area: QRectF, font: QFont, edge: EdgeLetters) -> None:
        bold = QFont(font)
        bold.setBold(True)
        bold.setPointSizeF(font.pointSizeF() + 2.5)
        middle, centre = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
        for text, align in (
            (edge.top, centre | Qt.AlignmentFlag.AlignTop),
            (edge.bottom, centre | Qt.AlignmentFlag.AlignBottom),
            (edge.left, middle | Qt.AlignmentFlag.AlignLeft),
            (edge.right, middle | Qt.AlignmentFlag.AlignRight),
        ):
            picture = self._picture(painter, (text,), bold, align, _FAINT)
            painter.drawPixmap(_aligned(picture.deviceIndependentSize(), area, align), picture)

    def _bar(self, painter: QPainter, area: QRectF, font: QFont, bar: tuple[float, str]) -> None:
        length, caption = round(bar[0]), bar[1]
        right, bottom = round(area.right()), round(area.bottom())
        for colour, grow in ((_HALO, 1.0), (_TEXT, 0.0)):
            for x, y, width, height in (
                (right - length, bottom - 2, length, 2),
                (right - length, bottom - 7, 2, 7),
                (right - 2, bottom - 7, 2, 7),
            ):
                rect = QRectF(x, y, width, height)
                painter.fillRect(rect.adjusted(-grow, -grow, grow, grow), colour)
        align = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
        self._block(painter, area.adjusted(0, 0, 0, -9.0), font, (caption,), align)

    def _picture(
        self,
        painter: QPainter,
        lines: tuple[str, ...],
        font: QFont,
        align: Qt.AlignmentFlag,
        colour: QColor,
    ) -> QPixmap:
        ratio = painter.device().devicePixelRatioF()
        key = (lines, font.toString(), align, colour.rgba(), ratio)
        self._used.add(key)
        if key not in self._made:
            self._made[key] = _haloed(lines, font, align, colour, ratio)
        return self._made[key]


def _aligned(size: QSizeF, area: QRectF, align: Qt.AlignmentFlag) -> QPointF:
    """Where the picture's corner lies; the halo hangs over."""
    area = area.adjusted(-_PAD, -_PAD, _PAD, _PAD)
    x, y = area.center().x() - size.width() / 2, area.center().y() - size.height() / 2
    if align & Qt.AlignmentFlag.AlignLeft:
        x = area.left()
    if align & Qt.AlignmentFlag.AlignRight:
        x = area.right() - size.width()
    if align & Qt.AlignmentFlag.AlignTop:
        y = area.top()
    if align & Qt.AlignmentFlag.AlignBottom:
        y = area.bottom() - size.height()
    return QPointF(round(x), round(y))


def _haloed(
    lines: tuple[str, ...], font: QFont, align: Qt.AlignmentFlag, colour: QColor, ratio: float
) -> QPixmap:
    """Text with a dark rim, on nothing."""
    metrics = QFontMetricsF(font)
    width = max(metrics.horizontalAdvance(line) for line in lines) + 2 * _PAD + 2
    height = metrics.lineSpacing() * len(lines) + 2 * _PAD
    picture = QPixmap(round(width * ratio), round(height * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setFont(font)
    side = align & Qt.AlignmentFlag.AlignHorizontal_Mask
    for number, line in enumerate(lines):
        top = _PAD + number * metrics.lineSpacing()
        rect = QRectF(_PAD, top, width - 2 * _PAD, metrics.lineSpacing())
        painter.setPen(_HALO)
        for x, y in _AROUND:
            painter.drawText(rect.translated(x, y), side, line)
        painter.setPen(colour if number == 0 else _FAINT)
        painter.drawText(rect, side, line)
    painter.end()
    return picture
