"""No work is lost: while a case loads, a stroke is painted or a segmentation runs."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PySide6.QtCore import Qt

from sdseg_gui.actions import projects
from sdseg_gui.actions.cases import show_case
from sdseg_gui.dialogs.unsaved import Answer
from sdseg_gui.tools.base import Pointer
from tests.gui.helpers import (
    at_first_proposal,
    brush,
    held,
    notice,
    open_path,
    paint,
    segment,
    voxels,
)


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Grows when the window asks about unsaved work; the answer is to stay."""
    questions: list[str] = []

    def ask(_parent: object) -> Answer:
        questions.append("save?")
        return Answer.CANCEL

    monkeypatch.setattr(projects, "ask_save", ask)
    return questions


def test_what_is_painted_while_the_next_case_loads_is_kept(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    with held(window.loader):
        window.commands["case.next"].trigger()
        assert window.document.case.name == "picture0"
        paint(window, 0)
    idle(window)
    assert window.document.case.name == "picture1" and window.session.is_dirty
    window.commands["case.previous"].trigger()
    idle(window)
    assert voxels(window) == 60 * 80


def test_the_case_that_is_shown_is_not_read_again(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    paint(window, 0)
    case = window.document.case
    with held(window.loader):
        window.commands["case.next"].trigger()
        window.cases_panel.chosen.emit(0)
    idle(window)
    assert window.document.case is case and window.document.can_undo


def test_a_stroke_is_kept_when_the_case_is_left_in_its_middle(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    tool = brush(window)
    tool.press(Pointer(20, 20))
    painted = voxels(window)
    assert painted and window.session.is_dirty and window.document.can_undo
    window.commands["case.next"].trigger()
    idle(window)
    tool.move(Pointer(40, 40))  # the button is still down; it paints nothing in the new case
    tool.release(Pointer(40, 40))
    assert voxels(window) == 0
    window.commands["case.previous"].trigger()
    idle(window)
    assert voxels(window) == painted


def test_closing_in_the_middle_of_a_segmentation_asks(window, qtbot, idle, volume, asked) -> None:
    open_path(window, idle, volume)
    at_first_proposal(window, window.close)
    segment(window, qtbot, "segment.volume")
    assert asked and window.isVisible()


def test_closing_in_the_middle_of_a_stroke_asks(window, idle, pictures, asked) -> None:
    open_path(window, idle, pictures)
    brush(window).press(Pointer(20, 20))
    assert not window.close() and asked and len(window.document.history) == 1


def test_what_is_saved_during_a_segmentation_is_a_state_of_the_history(
    window, qtbot, idle, volume, tmp_path
) -> None:
    open_path(window, idle, volume)
    path = tmp_path / "work.sdseg.json"
    at_first_proposal(window, lambda: window.commands["project.save"].trigger(path=path))
    segment(window, qtbot, "segment.volume")
    saved = json.loads(path.read_text())["cases"][0]["label_map"]
    assert len(saved) == 1 and window.session.is_dirty
    window.document.undo()  # what came after saving
    assert window.document.label_map.array.any(axis=(1, 2)).sum() == 1
    assert not window.session.is_dirty
    window.document.undo()
    assert voxels(window) == 0 and window.session.is_dirty


def test_a_stroke_goes_on_after_saving_in_its_middle(window, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    tool = brush(window)
    tool.press(Pointer(20, 20))
    saved = voxels(window)
    window.commands["project.save"].trigger(path=tmp_path / "work.sdseg.json")
    assert not window.session.is_dirty
    tool.move(Pointer(20, 50))
    tool.release(Pointer(20, 50))
    assert voxels(window) > saved and window.session.is_dirty
    window.document.undo()
    assert voxels(window) == saved and not window.session.is_dirty


def test_undo_stops_a_running_segmentation(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    at_first_proposal(
        window, lambda: qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    )
    segment(window, qtbot, "segment.volume")
    assert voxels(window) == 0 and len(window.document.case.labels) == 0
    assert not window.document.can_undo
    window.commands["label.add"].trigger(name="Tumour")
    assert voxels(window) == 0


def test_a_label_that_went_missing_is_added_again(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)

    def another_in_its_place() -> None:
        labels = window.document.case.labels
        window.document.set_labels(labels.removed(1).added("Tumour"), "Change")

    at_first_proposal(window, another_in_its_place)
    segment(window, qtbot, "segment.volume")
    case = window.document.case
    assert [label.name for label in case.labels] == ["Tumour", "disc"]
    found = [set(np.unique(case.label_map.slice(n))) - {0} for n in range(12)]
    assert found[0] == {1} and all(values <= {2} for values in found[1:]) and {2} in found


def test_the_end_of_a_segmentation_leaves_a_stroke_alone(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    window.commands["label.add"].trigger(name="by hand")
    window.view.set_slice(0)
    tool = brush(window)
    with held(window.engine):
        window.commands["segment.volume"].trigger(model="tiny")
        window.view.set_active_label(1)
        tool.press(Pointer(5, 5))
    qtbot.waitUntil(lambda: not window.engine.is_busy, timeout=60_000)
    qtbot.wait(20)
    step = window.document.step
    assert (
        window.context.segmentation is not None and not (window.document.label_map.array == 2).any()
    )
    tool.move(Pointer(5, 25))
    assert window.document.step is step and window.document.label_map.array[0, 5, 20] == 1
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        tool.release(Pointer(5, 25))
    assert window.context.segmentation is None and (window.document.label_map.array == 2).any()
    names = []
    while window.document.can_undo:
        names.append(window.document.undo_name)
        window.document.undo()
    assert names == ["Segment volume", "Paint", "Segment volume", "Add by hand"]


def test_leaving_the_case_ends_its_segmentation(window, qtbot, idle, volume, pictures) -> None:
    open_path(window, idle, pictures)
    open_path(window, idle, volume)
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.commands["segment.volume"].trigger(model="tiny")
        window.commands["case.previous"].trigger()
    idle(window)
    assert window.document.case.name == "picture2" and voxels(window) == 0
    assert window.commands["segment.slice"].enabled and "fault" not in notice(window)


def test_a_case_that_is_left_is_packed_by_the_loader(window, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    paint(window, 0)
    item, path = window.session.items[0], tmp_path / "work.sdseg.json"
    seen: list[bool] = []
    window.session.current_changed.connect(lambda _row: seen.append(item.entry is None))
    window.commands["case.next"].trigger()
    idle(window)
    assert seen == [True], "it was not packed while the next case was shown"
    assert item.entry is not None and item.left is None and window.session.is_dirty
    window.commands["case.previous"].trigger()
    idle(window)
    assert voxels(window) == 60 * 80
    # Saving before the loader has come to it, and going back at once, lose nothing either.
    paint(window, 0, value=0)
    save, back = window.commands["project.save"], window.commands["case.previous"]

    def at_once(_row: int) -> None:
        window.session.current_changed.disconnect(at_once)
        save.trigger(path=path)
        back.trigger()

    window.session.current_changed.connect(at_once)
    window.commands["case.next"].trigger()
    idle(window)
    assert window.document.case.name == "picture0" and voxels(window) == 0
    assert json.loads(path.read_text())["cases"][0]["label_map"] == {}
    assert window.document.label_map.origins.touched == [0] and not window.session.is_dirty


def test_a_listed_name_that_is_no_text_is_refused_and_costs_no_work(
    window, idle, pictures, tmp_path
) -> None:
    odd = pictures / os.fsdecode(b"caf\xe9.png")
    try:
        odd.write_bytes((pictures / "picture0.png").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this disk takes no such name")
    open_path(window, idle, pictures / "picture0.png")
    paint(window, 0)
    before = voxels(window)
    window.commands["case.open"].trigger(path=pictures)
    idle(window)
    show_case(window.context, [item.path for item in window.session.items].index(odd))
    idle(window)
    assert "can't be read" in notice(window)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    assert project.is_file() and not window.session.is_dirty
    window.commands["project.open"].trigger(path=project)
    idle(window)
    painted = next(n for n, item in enumerate(window.session.items) if item.entry.label_map)
    show_case(window.context, painted)
    idle(window)
    assert voxels(window) == before > 0
