"""About, and the cheat sheet of keys."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine import __version__
from engine.domain.manifest import RESEARCH_USE
from sdseg_gui.commands import COMMANDS, MENUS
from sdseg_gui.theme import icon

MOUSE = (
    ("Wheel", "Slice (zoom on a single picture)"),
    ("Ctrl and wheel", "Zoom about the pointer"),
    ("Middle drag, or Space and drag", "Move the picture"),
    ("Right drag, or W and drag", "Window and level"),
    ("Shift and wheel", "Brush size"),
    ("Hold Ctrl while painting", "Erase"),
    ("Drag a file into the window", "Open it"),
)


class AboutDialog(QDialog):
    """Version, licence, research use only."""

    def __init__(self, device: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About SDSeg Studio")
        picture = QLabel()
        picture.setPixmap(icon("app").pixmap(QSize(40, 40)))
        title = QLabel(f"<b style='font-size:17px'>SDSeg Studio</b><br>Version {__version__}")
        head = QHBoxLayout()
        head.addWidget(picture)
        head.addWidget(title, 1)
        notice = QLabel(RESEARCH_USE)
        notice.setObjectName("Warning")
        text = QLabel(
            "From a picture or a CT/MR volume to a mask, with SDSeg: latent diffusion in a single "
            "reverse step (MICCAI 2024).<br><br>"
            f"Computes on: {device}<br>"
            "Apache License 2.0. Qt is used under the LGPL; see THIRD_PARTY_NOTICES.md.<br>"
            "Nothing is sent over the network."
        )
        text.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 20, 22, 16)
        column.setSpacing(14)
        column.addLayout(head)
        column.addWidget(notice)
        column.addWidget(text)
        column.addWidget(buttons)
        self.setFixedWidth(440)


class KeysDialog(QDialog):
    """All keys at a glance, made from the command table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys and mouse")
        inside = QWidget()
        columns = QHBoxLayout(inside)
        columns.setSpacing(36)
        groups = [(m.replace("&", ""), _keys_of(m)) for m in MENUS] + [("Mouse", MOUSE)]
        halves = (groups[:2], groups[2:4], groups[4:])
        for half in halves:
            column = QVBoxLayout()
            for name, rows in half:
                column.addWidget(_heading(name))
                column.addLayout(_table(rows))
                column.addSpacing(12)
            column.addStretch(1)
            columns.addLayout(column)
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(area)
        layout.addWidget(buttons)
        self.resize(1120, 640)


def _keys_of(menu: str) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for command in COMMANDS:
        if command.menu == menu and command.keys:
            keys = "   ".join(
                QKeySequence(k).toString(QKeySequence.SequenceFormat.NativeText)
                for k in command.keys
            )
            rows.append((keys, command.plain_title))
    return tuple(rows)


def _heading(text: str) -> QLabel:
    label = QLabel(text.upper())
    label.setObjectName("Heading")
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    return label


def _table(rows: tuple[tuple[str, str], ...]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(14)
    grid.setVerticalSpacing(3)
    for row, (keys, meaning) in enumerate(rows):
        left = QLabel(f"<b>{keys}</b>")
        left.setAlignment(Qt.AlignmentFlag.AlignRight)
        grid.addWidget(left, row, 0)
        grid.addWidget(QLabel(meaning), row, 1)
    grid.setColumnStretch(1, 1)
    return grid
