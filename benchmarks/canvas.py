"""Measures what a person feels on the canvas: a stroke segment, a slice change, a window drag.

    python -m benchmarks.canvas [--json FILE]

Each figure is one event and the repaint that follows it, in milliseconds: the median of processor
time, which other work on the machine does not change, then median, 95th percentile and largest of
the time that passed. It works without a display (QT_QPA_PLATFORM=offscreen).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication

from engine.domain.box import slice_box
from engine.domain.case import new_case
from engine.domain.grid import Grid
from engine.domain.label_map import Origin
from engine.domain.volume import Volume
from sdseg_gui.canvas.slice_canvas import SliceCanvas
from sdseg_gui.document import Document
from sdseg_gui.view_state import ViewState

SIZE = (1600, 1100)
TURNS = 150


def scan_of(shape: tuple[int, int, int], dtype: type, plane: int) -> Volume:
    values = np.random.default_rng(0).integers(0, 2000, shape[1:]).astype(dtype)
    array = np.broadcast_to(values, shape).copy()
    return Volume(array, Grid(shape, np.diag([-0.8, -0.8, 1.0, 1.0])), plane=plane, modality="CT")


class Bench:
    def __init__(self, scan: Volume) -> None:
        self.document, self.view = Document(), ViewState()
        self.canvas = SliceCanvas(self.document, self.view)
        self.canvas.resize(*SIZE)
        self.canvas.show()
        case = new_case(scan, Path("case.nii"))
        self.view.reset_for(case)
        self.document.open(case)
        self._fill(case)
        QApplication.processEvents()

    def _fill(self, case) -> None:
        """A third of the shown slice is labelled, so that the overlay has work to do."""
        index, plane = self.view.slice_index, case.scan.plane
        mask = np.zeros(case.scan.slice_shape, dtype=bool)
        mask[: mask.shape[0] // 3] = True
        whole = slice_box(case.scan.grid.shape, plane, index)
        edit = case.label_map.make_edit(whole, np.expand_dims(mask, plane), 2, Origin.MODEL)
        self.document.apply(edit, "Fill")

    def mouse(self, kind: QEvent.Type, place: tuple[float, float], button: Qt.MouseButton) -> None:
        at = self.canvas.scene_view.look().to_screen(*place)
        event = QMouseEvent(kind, at, at, button, button, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self.canvas.scene_view.viewport(), event)

    def measured(self, step: Callable[[int], None]) -> dict[str, float]:
        took, busy = [], []
        for turn in range(TURNS):
            start, begun = time.perf_counter(), time.process_time()
            step(turn)
            QApplication.processEvents()
            took.append(1000 * (time.perf_counter() - start))
            busy.append(1000 * (time.process_time() - begun))
        return {
            "cpu_ms": round(float(np.median(busy)), 2),
            "median_ms": round(float(np.median(took)), 2),
            "p95_ms": round(float(np.percentile(took, 95)), 2),
            "max_ms": round(max(took), 2),
        }

    def stroke(self, diameter: float) -> dict[str, float]:
        self.view.set_tool("brush")
        self.view.set_brush_diameter(diameter)
        rows, columns = self.document.case.scan.slice_shape
        middle = QPointF(rows / 2, columns / 2)

        def place(turn: int) -> tuple[float, float]:
            reach, angle = 0.1 + 0.3 * turn / TURNS, turn * 0.25
            return (
                middle.x() + rows * reach * np.sin(angle),
                middle.y() + columns * reach * np.cos(angle),
            )

        self.mouse(QEvent.Type.MouseButtonPress, place(0), Qt.MouseButton.LeftButton)
        figures = self.measured(
            lambda turn: self.mouse(QEvent.Type.MouseMove, place(turn), Qt.MouseButton.LeftButton)
        )
        start = time.perf_counter()
        self.mouse(QEvent.Type.MouseButtonRelease, place(TURNS), Qt.MouseButton.LeftButton)
        QApplication.processEvents()
        return {**figures, "release_ms": round(1000 * (time.perf_counter() - start), 2)}

    def slices(self) -> dict[str, float]:
        first, count = self.view.slice_index, self.view.slice_count
        return self.measured(lambda turn: self.view.set_slice((first + turn) % count))

    def window(self) -> dict[str, float]:
        return self.measured(lambda turn: self.view.set_window(1000.0 + turn, 800.0 + 3 * turn))

    def zoom(self) -> dict[str, float]:
        def step(turn: int) -> None:
            self.canvas.scene_view.look().zoom(1.02 if turn % 100 < 50 else 1 / 1.02)
            self.canvas.scene_view.apply_camera()

        return self.measured(step)


def measure() -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    cases = {
        "picture 2000x2000": scan_of((1, 2000, 2000), np.uint16, 0),
        "volume 500x512x512 axial": scan_of((500, 512, 512), np.int16, 0),
        "volume 512x512x500 sagittal": scan_of((512, 512, 500), np.int16, 2),
    }
    for name, scan in cases.items():
        bench = Bench(scan)
        longest = max(n * s for n, s in zip(scan.slice_shape, scan.slice_spacing, strict=True))
        figures[f"{name}: stroke, small brush"] = bench.stroke(longest / 100)
        figures[f"{name}: stroke, large brush"] = bench.stroke(longest / 10)
        figures[f"{name}: window drag"] = bench.window()
        figures[f"{name}: zoom"] = bench.zoom()
        if scan.slice_count > 1:
            bench.canvas.fit()
            figures[f"{name}: slice change"] = bench.slices()
        bench.canvas.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    app = QApplication.instance() or QApplication([])
    figures = measure()
    for name, values in figures.items():
        print(f"{name:52}", "  ".join(f"{key} {value:7.2f}" for key, value in values.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    del app


if __name__ == "__main__":
    main()
