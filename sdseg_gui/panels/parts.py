"""Small pieces that the panels share."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget


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
