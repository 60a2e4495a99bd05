"""What is asked for last is what is shown; Esc stops what is on its way; the status line tells."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt

from engine.domain.box import Box
from tests.engine.io.phantoms import Series
from tests.gui.helpers import held, notice, open_path, paint, voxels
from tests.gui.test_loading import long_series, opened

pipes = pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")


def shown_cases(window) -> list[str]:
    """Grows by a name whenever a case is shown."""
    names: list[str] = []
    window.document.case_opened.connect(
        lambda: names.append(window.document.case.name if window.document.case else "")
    )
    return names


@pytest.fixture
def other(tmp_path) -> Path:
    noise = np.random.default_rng(1).integers(0, 900, (3, 20, 30), np.int16)
    return Series(noise).write(tmp_path / "other")


@pytest.fixture
def stuck(tmp_path):
    """A file whose reading hangs until it is let go, and then fails."""
    path = tmp_path / "stuck.nii"
    os.mkfifo(path)

    def let_go() -> None:
        if writers:
            (tmp_path / "bad").write_bytes(b"x" * 400)
            os.replace(tmp_path / "bad", path)  # whoever opens it now does not wait any more
            os.write(writers[0], b"x" * 400)
            os.close(writers.pop())

    writers = [os.open(path, os.O_RDWR)]
    yield path, let_go
    let_go()


def hang(window, qtbot, path) -> None:
    """Asks for the file that hangs, and waits until it is being read."""
    window.commands["case.open"].trigger(path=path)
    qtbot.waitUntil(lambda: path in [item.path for item in window.session.items], timeout=5000)
    qtbot.waitUntil(lambda: window.loader.is_busy)


@pytest.mark.parametrize("wish", ["row", "next", "sample", "project", "file"])
def test_the_newest_wish_wins_over_a_folder_that_is_looked_at(
    window, idle, pictures, other, tmp_path, wish
) -> None:
    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    names = shown_cases(window)
    with held(window.loader):
        window.commands["case.open"].trigger(path=other)
        if wish == "row":
            window.cases_panel.chosen.emit(1)
        elif wish == "next":
            window.commands["case.next"].trigger()
        elif wish == "sample":
            window.commands["case.open_sample"].trigger()
        elif wish == "project":
            window.commands["project.open"].trigger(path=project)
        else:
            window.commands["case.open"].trigger(path=pictures / "picture1.png")
    idle(window)
    expected = {"sample": "Retina (built-in sample)", "project": "picture0"}.get(wish, "picture1")
    assert [name for name in names if name] == [expected]
    assert other not in [item.path for item in window.session.items]


def test_a_folder_wins_over_a_row_that_was_clicked_before(window, idle, pictures, other) -> None:
    open_path(window, idle, pictures)
    names = shown_cases(window)
    with held(window.loader):
        window.cases_panel.chosen.emit(1)
        window.commands["case.open_folder"].trigger(path=other)
    idle(window)
    assert names == ["other"]


def test_a_click_on_the_case_that_is_shown_stops_what_is_on_its_way(
    window, idle, pictures, other
) -> None:
    open_path(window, idle, pictures)
    for act in (
        lambda: window.commands["case.open"].trigger(path=other),
        window.commands["case.next"].trigger,
    ):
        names = shown_cases(window)
        with held(window.loader):
            act()
            window.cases_panel.chosen.emit(0)
        idle(window)
        assert not names and window.document.case.name == "picture0"
        assert window.context.under_way.text == ""


def test_esc_stops_looking_and_opening_and_says_so(window, qtbot, idle, pictures, other) -> None:
    open_path(window, idle, pictures)
    case = window.document.case
    stop = window.commands["case.stop_opening"]
    for act in (
        lambda: window.commands["case.open"].trigger(path=other),
        window.commands["case.next"].trigger,
    ):
        assert not stop.enabled
        with held(window.loader):
            act()
            assert stop.enabled and not window.commands["segment.cancel"].enabled
            qtbot.keyClick(window, Qt.Key.Key_Escape)
            assert window.statusBar().currentMessage() == "Opening was stopped"
            assert not stop.enabled
        idle(window)
        assert window.document.case is case and len(window.session.items) == 3


def test_esc_drops_an_unfinished_shape_first(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    window.view.set_tool("box")
    with held(window.loader):
        window.commands["case.next"].trigger()
        dropped: list[str] = []
        window.canvas.cancel_shape = lambda: not dropped and not dropped.append("shape")
        qtbot.keyClick(window, Qt.Key.Key_Escape)
        assert dropped and window.commands["case.stop_opening"].enabled
        qtbot.keyClick(window, Qt.Key.Key_Escape)
        assert not window.commands["case.stop_opening"].enabled
    idle(window)
    assert window.document.case.name == "picture0"


@pipes
def test_what_was_given_up_says_nothing_when_it_fails_later(
    window, qtbot, idle, pictures, stuck
) -> None:
    path, let_go = stuck
    open_path(window, idle, pictures)
    hang(window, qtbot, path)
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert window.statusBar().currentMessage() == "Opening was stopped"
    let_go()
    idle(window)
    assert notice(window) == "" or "stuck" not in notice(window)
    assert window.document.case.name == "picture0" and window.context.failed_row is None


def test_the_status_line_says_at_once_what_is_being_opened(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    assert window.statusBar().currentMessage() == "picture0 opened"
    with held(window.loader):
        window.commands["case.next"].trigger()
        assert window.statusBar().currentMessage() == "Opening picture1 ..."
        window.commands["case.open"].trigger(path=pictures)
        assert window.statusBar().currentMessage() == "Looking at the files ..."
    idle(window)
    assert window.statusBar().currentMessage() == "picture0 is open"


@pipes
def test_the_status_line_keeps_what_is_being_opened(
    window, qtbot, idle, pictures, stuck, monkeypatch
) -> None:
    monkeypatch.setattr("sdseg_gui.status.MESSAGE_MS", 50)
    path, let_go = stuck
    open_path(window, idle, pictures)
    hang(window, qtbot, path)
    bar = window.statusBar()
    qtbot.waitUntil(lambda: bar.currentMessage() == "Opening stuck.nii ...")
    qtbot.wait(200)
    assert bar.currentMessage() == "Opening stuck.nii ..."
    window.notifier.say("Saved work")
    window.context.under_way.tell("other", "Reading something: 3 of 5")
    assert bar.currentMessage() == "Saved work"  # it has its time to be read
    qtbot.waitUntil(lambda: bar.currentMessage() == "Reading something: 3 of 5")
    window.context.under_way.end("other")
    assert bar.currentMessage() == "Opening stuck.nii ..."
    let_go()
    idle(window)
    assert "stuck.nii" in notice(window)
    qtbot.waitUntil(lambda: bar.currentMessage() == "")


def test_esc_lets_a_series_go_on_that_is_being_read(window, qtbot, idle, tmp_path, other) -> None:
    series, folder = long_series(tmp_path / "s")
    with held(window.reader):
        opened(window, qtbot, folder)
        with held(window.loader):
            window.commands["case.open"].trigger(path=other)
            window.cases_panel.chosen.emit(0)
            window.commands["case.open"].trigger(path=other)
            qtbot.keyClick(window, Qt.Key.Key_Escape)
    idle(window)
    scan = window.document.case.scan
    assert scan.is_complete and np.array_equal(scan.array, series.pixels)
    assert window.context.under_way.text == ""


def test_words_are_read_while_a_series_is_read_too(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    with held(window.reader):
        opened(window, qtbot, folder)
        window.commands["export.mask"].trigger(path=tmp_path / "m.nii.gz")
    qtbot.waitUntil(lambda: not window.reader.is_busy)
    said = window.statusBar().currentMessage()
    assert "still being read" in said or said == "s opened"


def test_a_project_is_saved_while_a_series_is_read(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    project = tmp_path / "work.sdseg.json"
    with held(window.reader):
        opened(window, qtbot, folder)
        there = int(np.flatnonzero(window.document.case.scan.loaded)[-1])
        window.document.set_box(Box((0, 0, 0), (48, 9, 9)))
        paint(window, there)
        assert window.commands["project.save"].enabled and window.session.is_dirty
        window.commands["project.save"].trigger(path=project)
        assert window.context.is_loading and not window.session.is_dirty
        assert window.statusBar().currentMessage() == f"Saved {project.name}"
    idle(window)
    assert not window.session.is_dirty, "reading the rest is no work"
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert voxels(window) == 24 * 24 and window.document.case.scan.is_complete
    assert window.document.case.box == Box((0, 0, 0), (48, 9, 9))
