"""Calm, dark and dense, like a reading room: colours, style sheet, icons."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from engine.system.resources import resource_path

GROUND = "#101215"
PANEL = "#181b1f"
RAISED = "#22262b"
LINE = "#2e333a"
TEXT = "#d5dae1"
FAINT = "#8b949e"
ACCENT = "#40c8eb"
WARNING = "#e8b04a"
ERROR = "#ef7d72"
ICON_SIZES = (20, 40)
POINT_SIZE = 9.5


def apply_theme(application: QApplication) -> None:
    """Sets style, palette and style sheet of the whole program."""
    application.setStyle("Fusion")
    font = application.font()
    font.setPointSizeF(POINT_SIZE)  # in points: the canvas makes its own sizes from it
    application.setFont(font)
    roles = QPalette.ColorRole
    palette = QPalette()
    for role, colour in {
        roles.Window: PANEL,
        roles.WindowText: TEXT,
        roles.Base: GROUND,
        roles.AlternateBase: PANEL,
        roles.Text: TEXT,
        roles.Button: RAISED,
        roles.ButtonText: TEXT,
        roles.BrightText: "#ffffff",
        roles.Highlight: "#1f5668",
        roles.HighlightedText: "#ffffff",
        roles.ToolTipBase: RAISED,
        roles.ToolTipText: TEXT,
        roles.PlaceholderText: FAINT,
        roles.Link: ACCENT,
    }.items():
        palette.setColor(role, QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor("#5a626b"))
    application.setPalette(palette)
    application.setStyleSheet(_style_sheet())


def _style_sheet() -> str:
    text = resource_path("themes", "dark.qss").read_text(encoding="utf-8")
    names = ("GROUND", "PANEL", "RAISED", "LINE", "TEXT", "FAINT", "ACCENT", "WARNING", "ERROR")
    for name in names:
        text = text.replace(f"@{name}", globals()[name])
    return text.replace("@ICONS", resource_path("icons").as_posix())


def icon(name: str) -> QIcon:
    """A line icon from resources/icons in the text's colour, dimmed where it is disabled."""
    found = QIcon()
    for mode, state, colour in (
        (QIcon.Mode.Normal, QIcon.State.Off, TEXT),
        (QIcon.Mode.Normal, QIcon.State.On, ACCENT),
        (QIcon.Mode.Active, QIcon.State.On, ACCENT),
        (QIcon.Mode.Disabled, QIcon.State.Off, "#4c535b"),
        (QIcon.Mode.Disabled, QIcon.State.On, "#4c535b"),
    ):
        for size in ICON_SIZES:
            found.addPixmap(_drawn(name, colour, size), mode, state)
    return found


def _drawn(name: str, colour: str, size: int) -> QPixmap:
    source = resource_path("icons", f"{name}.svg").read_text(encoding="utf-8")
    renderer = QSvgRenderer(QByteArray(source.replace("currentColor", colour).encode()))
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap


def swatch(colour: tuple[int, int, int], size: int = 14) -> QIcon:
    """A rounded square of a label's colour."""
    pixmap = QPixmap(size * 2, size * 2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(*colour))
    painter.drawRoundedRect(QRectF(1, 1, size * 2 - 2, size * 2 - 2), 6, 6)
    painter.end()
    return QIcon(pixmap)
