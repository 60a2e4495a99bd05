"""Nothing of the panels is cut off, whatever stands in them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QLabel, QPushButton

from sdseg_gui.notify import Choice
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


def test_a_notice_is_shown_with_all_of_its_words(window, qtbot) -> None:
    window.resize(1280, 800)
    text = (
        "patient7_seg.nii.gz lies on another grid (128 x 128 x 30 voxels of 1.6 x 1.6 x 4 mm) than "
    )
    window.notifier.show(
        text + "patient7 (256 x 256 x 60 voxels of 0.8 x 0.8 x 2 mm).",
        "warning",
        (Choice("Resample it by the nearest voxel", lambda: None),),
    )
    qtbot.wait(50)
    labels = window.notice_bar.findChildren(QLabel)
    assert labels and all(x.height() >= x.heightForWidth(x.width()) for x in labels)
