"""Small pieces that the panels share."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget


class TallColumn(QScrollArea):
    """A column that scrolls up and down, and is never narrower than what stands in it.

    Args:
        widget: what it holds.
        width: at least so many pixels.
    """

    def __init__(self, widget: QWidget, width: int) -> None:
        super().__init__()
        self._width = width
        self.setWidget(widget)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """As wide as the widest row and the scroll bar."""
        inner, bar = self.widget(), self.verticalScrollBar().sizeHint().width()
        content = inner.minimumSizeHint().width() + bar if inner is not None else 0
        return QSize(max(self._width, content), super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A row has become wider or narrower: so may the column."""
        if event.type() is QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def heading(text: str) -> QLabel:
    """A small heading."""
    label = QLabel(text.upper())
    label.setObjectName("Heading")
    return label


def faint(text: str = "") -> QLabel:
    """A line of lesser importance."""
    label = QLabel(text)
    label.setObjectName("Faint")
    label.setWordWrap(True)
    return label


def set_warning(label: QLabel, warns: bool) -> None:
    """Turns a faint line into a warning, or back."""
    label.setObjectName("Warning" if warns else "Faint")
    label.style().unpolish(label)
    label.style().polish(label)


def column(parent: QWidget) -> QVBoxLayout:
    """The layout of a panel."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(14, 10, 14, 10)
    layout.setSpacing(8)
    return layout
