"""The list of cases: masks that are dropped are no rows, rows can be removed, what they tell."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QListWidget

from engine.io.kinds import OPENED
from sdseg_gui.actions.cases import FILTER
from tests.engine.io.phantoms import Series, distinct, plain, sha256_of
from tests.gui.helpers import held, notice, open_path, paint, voxels
from tests.gui.test_loading import long_series, opened
from tests.gui.test_projects import drop, names


def write_seg(window, idle, series, path):
    """A DICOM SEG of a series, all of its third slice, as the window exports it."""
    open_path(window, idle, series)
    window.commands["label.add"].trigger(name="Liver")
    paint(window, 2)
    window.commands["export.mask"].trigger(path=path)
    idle(window)
    window.commands["case.remove"].trigger(discard=True)
    idle(window)
    assert path.is_file() and not window.session.items
    path.with_name(f"{path.stem}.manifest.json").unlink()
    return path


@pytest.fixture
def series(tmp_path):
    return plain(6).write(tmp_path / "s")


def test_the_dialog_offers_whatever_opens() -> None:
    assert all(f"*{ending}" in FILTER for ending in OPENED)
    assert "*.gif" in FILTER and "*.hdr.gz" in FILTER


def test_a_segmentation_that_is_dropped_is_a_mask_of_its_open_series(
    window, idle, series, tmp_path
) -> None:
    seg = write_seg(window, idle, series, tmp_path / "seg.dcm")
    before = sha256_of(tmp_path)
    open_path(window, idle, series)
    drop(window, seg)
    idle(window)
    assert names(window) == ["s"] and voxels(window) == 5 * 6
    assert [label.name for label in window.document.case.labels] == ["Liver"]
    drop(window, seg)  # there is a mask now: it is not replaced without a word
    idle(window)
    assert "would be replaced" in notice(window)
    paint(window, 4)
    window.notice_bar.choose("Open seg.dcm")
    idle(window)
    assert voxels(window) == 5 * 6 and sha256_of(tmp_path) == before
    window.commands["edit.undo"].trigger()
    assert voxels(window) == 2 * 5 * 6


def test_a_segmentation_of_something_else_is_refused_and_is_no_row(
    window, idle, series, tmp_path
) -> None:
    seg = write_seg(window, idle, series, tmp_path / "seg.dcm")
    drop(window, seg)
    idle(window)
    assert not window.session.items and "seg.dcm" in notice(window)
    assert "opens as its mask" in notice(window)
    other = Series(distinct((4, 5, 6))).write(tmp_path / "other")
    open_path(window, idle, other)
    drop(window, seg)
    idle(window)
    assert names(window) == ["other"] and "seg.dcm" in notice(window) and voxels(window) == 0


def test_a_mask_waits_for_a_series_that_is_still_read(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    seg = write_seg(window, idle, folder, tmp_path / "seg.dcm")
    with held(window.reader):
        opened(window, qtbot, folder)
        drop(window, seg)
        qtbot.waitUntil(lambda: not window.loader.is_busy)
        assert "still being read" in notice(window)
        window.notice_bar.choose("Open seg.dcm")
        assert "still being read" in notice(window) and names(window) == ["s"]
    idle(window)
    window.notice_bar.choose("Open seg.dcm")
    idle(window)
    assert voxels(window) == 24 * 24


def test_a_picture_named_as_the_mask_of_the_open_one_is_opened_as_that(
    window, idle, tmp_path
) -> None:
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    drawn = np.zeros((9, 12), np.uint8)
    drawn[2:5] = 1
    Image.fromarray(drawn).save(tmp_path / "eye_mask.png")
    open_path(window, idle, tmp_path / "eye.png")
    drop(window, tmp_path / "eye_mask.png")
    idle(window)
    assert names(window) == ["eye"] and voxels(window) == 36
    drop(window, tmp_path / "eye.png")
    idle(window)
    assert voxels(window) == 36, "the case itself is no mask"
    Image.fromarray(drawn).save(tmp_path / "ear.png")
    drop(window, tmp_path / "eye_mask.png", tmp_path / "ear.png")
    idle(window)
    assert names(window) == ["eye", "ear"] and any(
        "eye_mask.png" in text for text in window.notice_bar.texts
    )


def test_a_row_is_removed_and_its_neighbour_shown(window, idle, pictures) -> None:
    before = sha256_of(pictures)
    open_path(window, idle, pictures)
    window.commands["case.next"].trigger()
    idle(window)
    window.commands["case.remove"].trigger()
    idle(window)
    assert names(window) == ["picture0", "picture2"]
    assert window.document.case.name == "picture2" and window.session.current == 1
    window.commands["case.remove"].trigger(row=0)
    assert names(window) == ["picture2"] and window.session.current == 0
    assert window.document.case.name == "picture2" and not window.session.is_dirty
    window.commands["case.remove"].trigger()
    idle(window)
    assert window.document.case is None and window.view.slice_count == 0
    assert not window.commands["case.remove"].enabled and sha256_of(pictures) == before


def test_work_is_asked_about_before_its_row_goes(window, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger(name="Cup")
    paint(window, 0)
    window.commands["case.next"].trigger()
    idle(window)
    for row in (0, 1):
        window.commands["case.remove"].trigger(row=row)
    assert names(window) == ["picture0", "picture2"] and "picture0" in notice(window)
    assert "not saved" in notice(window)
    idle(window)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["case.remove"].trigger(row=0)
    assert "project" in notice(window) and names(window) == ["picture0", "picture2"]
    window.notice_bar.choose("Remove it")
    idle(window)
    assert names(window) == ["picture2"] and window.session.is_dirty
    assert window.document.case.name == "picture2"
    window.commands["project.open"].trigger(path=project, discard=True)
    idle(window)
    assert names(window) == ["picture0", "picture2"], "the project on the disk has it still"


def test_the_question_about_a_row_goes_with_the_list(window, idle, pictures, volume) -> None:
    open_path(window, idle, pictures)
    paint(window, 0)
    window.commands["case.remove"].trigger(row=0)
    assert "has work" in notice(window)
    window.commands["case.open"].trigger(path=volume, discard=True)
    idle(window)
    assert not any("has work" in text for text in window.notice_bar.texts)


def test_a_row_keeps_its_state_when_others_are_added(window, idle, pictures, volume) -> None:
    open_path(window, idle, pictures)
    paint(window, 0)
    open_path(window, idle, volume)
    rows = window.cases_panel.findChild(QListWidget)
    assert rows.item(0).text() == "picture0\ncorrected"


def test_a_row_that_does_not_open_can_be_removed(window, idle, pictures) -> None:
    (pictures / "picture1.png").write_bytes(b"no picture")
    open_path(window, idle, pictures)
    window.commands["case.next"].trigger()
    idle(window)
    window.commands["case.remove"].trigger()
    idle(window)
    assert names(window) == ["picture0", "picture2"] and window.context.failed_row is None
    assert window.document.case.name == "picture0"
    assert not any("picture1" in text for text in window.notice_bar.texts), "it is not there"


def test_delete_again_removes_the_row_below_and_not_the_open_one(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    rows = window.cases_panel.findChild(QListWidget)
    rows.setCurrentRow(1)
    rows.actions()[0].trigger()
    assert names(window) == ["picture0", "picture2"] and rows.currentRow() == 1
    rows.actions()[0].trigger()
    assert names(window) == ["picture0"] and window.document.case.name == "picture0"


def test_a_row_that_did_not_open_is_forgotten_with_its_list(window, idle, pictures) -> None:
    project = pictures / "work.sdseg.json"
    (pictures / "picture1.png").write_bytes(b"no picture")
    open_path(window, idle, pictures)
    window.commands["project.save"].trigger(path=project)
    window.commands["case.next"].trigger()
    idle(window)
    assert window.context.failed_row == 1
    with held(window.loader):
        window.commands["project.open"].trigger(path=project, discard=True)
        window.commands["case.stop_opening"].trigger()
        assert window.context.failed_row is None and not window.commands["case.remove"].enabled
    idle(window)


def test_delete_removes_a_row_while_the_list_has_the_keyboard(
    window, qtbot, idle, pictures
) -> None:
    open_path(window, idle, pictures)
    rows = window.cases_panel.findChild(QListWidget)
    action = rows.actions()[0]
    assert action.text() == "Remove from the list"
    assert rows.contextMenuPolicy() is Qt.ContextMenuPolicy.ActionsContextMenu
    window.activateWindow()
    window.canvas.setFocus()
    qtbot.keyClick(window.canvas, Qt.Key.Key_Delete)
    assert len(names(window)) == 3
    rows.setFocus()
    rows.setCurrentRow(2)
    qtbot.keyClick(rows, Qt.Key.Key_Delete)
    assert names(window) == ["picture0", "picture1"]
    rows.setCurrentRow(1)
    action.trigger()
    assert names(window) == ["picture0"] and window.document.case.name == "picture0"


def test_the_neighbour_that_is_shown_is_not_what_was_asked_for_later(
    window, idle, pictures
) -> None:
    open_path(window, idle, pictures)
    with held(window.loader):
        window.cases_panel.chosen.emit(2)
        window.commands["case.remove"].trigger(row=0)
    idle(window)
    assert window.document.case.name == "picture2" and window.session.current == 1


def test_a_row_that_is_removed_while_it_is_opened_is_not_shown(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    with held(window.loader):
        window.cases_panel.chosen.emit(2)
        window.commands["case.remove"].trigger(row=2)
    idle(window)
    assert window.document.case.name == "picture0" and names(window) == ["picture0", "picture1"]
