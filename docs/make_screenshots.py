"""Makes the pictures of the window that the documentation shows.

    python docs/make_screenshots.py [FOLDER]

Drives the real window on the built-in cases with the built-in models. Without a display Qt's
"offscreen" platform is used. The volume needs the optional package nilearn; without it, its picture
is left as it is.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ["SDSEG_HOME"] = tempfile.mkdtemp()  # no settings of the person who runs this
if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.name == "nt"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication  # noqa: E402

from engine.domain.box import slice_box  # noqa: E402
from engine.domain.label_map import Origin  # noqa: E402
from engine.errors import UserError  # noqa: E402
from engine.io.samples import sample_volume_path  # noqa: E402
from sdseg_gui.app import create_window  # noqa: E402
from sdseg_gui.window import MainWindow  # noqa: E402

SIZE = (1360, 820)
PATIENCE_S = 300.0


def wait(done: Callable[[], bool], least_s: float = 0.4) -> None:
    """Lets the window work until it is done, and has drawn itself."""
    started = time.monotonic()
    while time.monotonic() - started < least_s or not done():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() - started > PATIENCE_S:
            raise SystemExit("the window did not come to rest")


def idle(window: MainWindow) -> None:
    wait(lambda: not window.is_busy)


def shoot(window: MainWindow, path: Path) -> None:
    idle(window)
    if not window.grab().save(str(path)):
        raise SystemExit(f"{path} can't be written")
    print(path)


def picture(window: MainWindow, folder: Path) -> None:
    window.commands["case.open_sample"].trigger()
    idle(window)
    window.commands["segment.slice"].trigger()
    shoot(window, folder / "window-picture.png")


def volume(window: MainWindow, folder: Path) -> None:
    window.commands["case.open_sample_volume"].trigger()
    idle(window)
    window.commands["segment.volume"].trigger()
    idle(window)
    case = window.document.case
    assert case is not None
    sizes = case.label_map.array.sum(axis=(1, 2))
    window.view.set_slice(int(np.argmax(sizes)))
    shoot(window, folder / "window-volume.png")


def correct(window: MainWindow, folder: Path) -> None:
    """A stroke of the brush beside the proposal, seen close."""
    window.commands["case.open_sample"].trigger()
    idle(window)
    window.commands["segment.slice"].trigger()
    idle(window)
    case = window.document.case
    assert case is not None
    rows, columns = np.nonzero(case.label_map.array[0])
    top, right = int(rows.min()), int(columns.max())
    window.commands["tool.brush"].trigger()
    window.commands["view.outline"].trigger()
    box = slice_box(case.scan.grid.shape, case.scan.plane, 0)
    grid_rows, grid_columns = np.ogrid[: box.shape[1], : box.shape[2]]
    stroke = np.zeros(box.shape, bool)
    for step in range(40):
        row, column = top + 40 + 2 * step, right - 12 + step // 4
        stroke[0] |= (grid_rows - row) ** 2 + (grid_columns - column) ** 2 <= 15**2
    edit = case.label_map.make_edit(box, stroke, 1, Origin.HAND, case.labels.locked_ids)
    window.document.apply(edit, "Brush")
    scene = window.canvas.scene_view
    place = scene.look().to_screen(float(rows.mean()), float(columns.mean()))
    scene.look().zoom(4.0, place)
    middle, at = scene.rect().center(), scene.look().to_screen(rows.mean(), columns.mean())
    scene.look().pan(middle.x() - at.x(), middle.y() - at.y())
    scene.apply_camera()
    shoot(window, folder / "window-correct.png")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images"
    folder.mkdir(parents=True, exist_ok=True)
    QApplication([])
    window = create_window()
    window.resize(*SIZE)
    window.notice_bar.choose("Close")
    picture(window, folder)
    try:
        sample_volume_path()
        volume(window, folder)
    except UserError as error:
        print(f"left out: {error.message}")
    correct(window, folder)
    window.shutdown(discard=True)


if __name__ == "__main__":
    main()
