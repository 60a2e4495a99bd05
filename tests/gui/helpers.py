"""What the tests of the real window do again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pytestqt.qtbot import QtBot

from engine.domain.box import Box, slice_box
from engine.domain.label_map import Origin
from sdseg_gui.jobs import JobRunner
from sdseg_gui.tools.brush import BrushTool
from sdseg_gui.window import MainWindow

Idle = Callable[[MainWindow], None]
PATIENCE_MS = 60_000


def open_path(window: MainWindow, idle: Idle, path: Path) -> None:
    window.commands["case.open"].trigger(path=path)
    idle(window)
    assert window.document.case is not None


def segment(
    window: MainWindow, qtbot: QtBot, command: str = "segment.slice", *, model: str = "tiny"
) -> None:
    with qtbot.waitSignal(window.document.job_finished, timeout=PATIENCE_MS):
        window.commands[command].trigger(model=model)


def paint(window: MainWindow, index: int, value: int = 1) -> None:
    case = window.document.case
    assert case is not None
    box = slice_box(case.scan.grid.shape, case.scan.plane, index)
    mask = np.ones(box.shape, bool)
    edit = case.label_map.make_edit(box, mask, value, Origin.HAND, case.labels.locked_ids)
    window.document.apply(edit, "Paint")


def notice(window: MainWindow) -> str:
    current = window.notice_bar.current
    return current.text if current else ""


def voxels(window: MainWindow) -> int:
    label_map = window.document.label_map
    assert label_map is not None
    return int((label_map.array > 0).sum())


def brush(window: MainWindow) -> BrushTool:
    """The canvas's own brush, made the tool in use."""
    window.view.set_tool("brush")
    tool = window.canvas.findChild(BrushTool)
    assert tool is not None
    return tool


@contextmanager
def held(runner: JobRunner) -> Iterator[None]:
    """Holds up a worker: what is asked of it inside is done after the end of the block."""
    gate = threading.Event()
    runner.submit("Waiting", lambda _job: gate.wait(PATIENCE_MS / 1000))
    try:
        yield
    finally:
        gate.set()


def at_first_proposal(window: MainWindow, act: Callable[[], object]) -> None:
    """Does something in the middle of a segmentation: when its first proposal was written."""
    document = window.document

    def once(_box: Box) -> None:
        document.painted.disconnect(once)
        act()

    document.painted.connect(once)
