"""A real canvas on a real document, and a hand that moves the mouse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engine.domain.case import Case, new_case
from engine.domain.grid import Grid
from engine.domain.volume import Volume
from sdseg_gui.canvas.slice_canvas import SliceCanvas
from sdseg_gui.document import Document
from sdseg_gui.view_state import ViewState

Button = Qt.MouseButton
Modifier = Qt.KeyboardModifier
NO_KEY = Modifier.NoModifier


@dataclass
class Bench:
    """An open case with everything around it; positions are (row, column) of the slice."""

    document: Document
    view: ViewState
    canvas: SliceCanvas
    case: Case

    @property
    def labels(self) -> np.ndarray:
        return self.case.label_map.array

    def screen(self, place: tuple[float, float]) -> QPointF:
        return self.canvas.scene_view.look().to_screen(*place)

    def press(self, place, button=Button.LeftButton, keys=NO_KEY) -> None:
        self._mouse(QEvent.Type.MouseButtonPress, place, button, button, keys)

    def move(self, place, keys=NO_KEY) -> None:
        self._mouse(QEvent.Type.MouseMove, place, Button.NoButton, Button.LeftButton, keys)

    def release(self, place, button=Button.LeftButton, keys=NO_KEY) -> None:
        self._mouse(QEvent.Type.MouseButtonRelease, place, button, Button.NoButton, keys)

    def drag(self, *places, button=Button.LeftButton, keys=NO_KEY) -> None:
        self.press(places[0], button, keys)
        for place in places[1:]:
            self.move(place, keys)
        self.release(places[-1], button, keys)

    def wheel(self, notches: float, place=(1.0, 1.0), keys=NO_KEY) -> None:
        viewport, at = self.canvas.scene_view.viewport(), self.screen(place)
        event = QWheelEvent(
            at,
            QPointF(viewport.mapToGlobal(at.toPoint())),
            QPoint(),
            QPoint(0, round(120 * notches)),
            Button.NoButton,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(viewport, event)

    def key(self, key: Qt.Key, *, down: bool = True) -> None:
        kind = QEvent.Type.KeyPress if down else QEvent.Type.KeyRelease
        QApplication.sendEvent(self.canvas.scene_view, QKeyEvent(kind, key, NO_KEY))

    def _mouse(self, kind, place, button, buttons, keys) -> None:
        viewport, at = self.canvas.scene_view.viewport(), self.screen(place)
        to_global = QPointF(viewport.mapToGlobal(QPoint(0, 0))) + at
        QApplication.sendEvent(viewport, QMouseEvent(kind, at, to_global, button, buttons, keys))


def make_scan(
    shape: tuple[int, int, int] = (5, 40, 50),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    plane: int = 0,
    dtype: type = np.int16,
    **fields,
) -> Volume:
    """A scan of ramps; spacing as (k, j, i)."""
    values = np.arange(int(np.prod(shape))).reshape(shape) % 997
    k, j, i = spacing
    grid = Grid(shape, np.diag([-i, -j, k, 1.0]))
    return Volume(values.astype(dtype), grid, plane=plane, modality="CT", unit="HU", **fields)


@pytest.fixture
def open_case(qtbot: QtBot) -> Callable[..., Bench]:
    """Opens a scan on a canvas of 640 x 480 screen pixels."""

    def opened(
        scan: Volume | None = None, size: tuple[int, int] = (640, 480), **fields: Any
    ) -> Bench:
        document, view = Document(), ViewState()
        canvas = SliceCanvas(document, view)
        qtbot.addWidget(canvas)
        canvas.resize(*size)
        canvas.show()
        case = new_case(scan if scan is not None else make_scan(**fields), Path("chest.nii.gz"))
        view.reset_for(case)
        document.open(case)
        view.set_tool("brush")
        view.set_brush_diameter(10.0)
        qtbot.waitExposed(canvas)
        return Bench(document, view, canvas, case)

    return opened
