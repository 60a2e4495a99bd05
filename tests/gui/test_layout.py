"""Nothing of the panels is cut off, whatever stands in them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QPushButton

from tests.gui.helpers import open_path


def test_the_panels_are_as_wide_as_their_widest_row(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    side = window.side

    def all_of_it_is_seen() -> None:
        assert side.widget().minimumSizeHint().width() <= side.viewport().width()

    dock = window.findChild(QDockWidget, "side")
    button = next(b for b in window.segment_panel.findChildren(QPushButton) if b.text())
    button.setText(f"{button.text()} of this case and of all others that are like it")
    qtbot.waitUntil(lambda: side.widget().minimumSizeHint().width() > 400)
    window.resizeDocks([dock], [100], Qt.Orientation.Horizontal)  # as small as it may be
    qtbot.waitUntil(all_of_it_is_seen)
