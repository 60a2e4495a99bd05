"""The real window: open, segment, correct, undo, keep, export."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QCloseEvent, QDropEvent
from PySide6.QtWidgets import QLineEdit

from engine.domain.box import Box
from engine.domain.label_map import Origin
from engine.system.paths import user_data_dir
from sdseg_gui.actions import projects
from sdseg_gui.dialogs.unsaved import Answer
from tests.gui.conftest import discard
from tests.gui.helpers import notice, open_path, paint, segment


def test_at_first_start_a_bar_says_research_use_only_and_nothing_blocks(window) -> None:
    assert "Research use only" in notice(window) and window.isVisible()
    assert not window.commands["segment.slice"].enabled
    assert not window.commands["segment.cancel"].enabled
    window.notice_bar.choose("Close")
    assert window.settings.notice_seen and notice(window) == ""


def test_a_folder_of_pictures_becomes_a_list_with_next_and_previous(
    window, qtbot, idle, pictures
) -> None:
    open_path(window, idle, pictures)
    assert [item.name for item in window.session.items] == ["picture0", "picture1", "picture2"]
    assert window.document.case.name == "picture0"
    assert not window.commands["case.previous"].enabled
    qtbot.keyClick(window, Qt.Key.Key_D)
    idle(window)
    assert window.document.case.name == "picture1"
    qtbot.keyClick(window, Qt.Key.Key_A)
    idle(window)
    assert window.document.case.name == "picture0"


def test_segment_slice_is_one_step_that_undo_takes_back(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    segment(window, qtbot)
    case = window.document.case
    assert [label.name for label in case.labels] == ["disc"]
    assert case.label_map.array.any() and window.document.undo_name == "Segment slice"
    assert set(np.unique(case.label_map.origins.read(0))) <= {Origin.NONE, Origin.MODEL}
    assert case.review == "proposed"
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not case.label_map.array.any() and len(case.labels) == 0
    assert not window.document.can_undo
    qtbot.keyClick(window, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert case.label_map.array.any() and len(case.labels) == 1


def test_commands_are_disabled_exactly_while_a_segmentation_runs(
    window, qtbot, idle, volume
) -> None:
    open_path(window, idle, volume)
    slice_command, cancel = window.commands["segment.slice"], window.commands["segment.cancel"]
    assert slice_command.enabled and not cancel.enabled
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.commands["segment.volume"].trigger(model="tiny")
        assert not slice_command.enabled and not window.commands["segment.volume"].enabled
        assert cancel.enabled and cancel.action.isEnabled() and window.is_busy
    idle(window)
    assert slice_command.enabled and not cancel.enabled and not window.is_busy


def test_segment_volume_fills_every_slice_as_one_step(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    painted: list[Box] = []
    window.document.painted.connect(painted.append)
    segment(window, qtbot, "segment.volume")
    assert len(painted) == 12 and len(window.document.history) == 1
    window.document.undo()
    assert not window.document.label_map.array.any()


def test_cancel_keeps_what_was_found_as_one_step(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)

    def stop_early(_box: Box) -> None:
        window.commands["segment.cancel"].trigger()

    window.document.painted.connect(stop_early)
    segment(window, qtbot, "segment.volume")
    window.document.painted.disconnect(stop_early)
    found = window.document.label_map.array.any(axis=(1, 2)).sum()
    assert 1 <= found < 12 and len(window.document.history) == 1
    window.document.undo()
    assert not window.document.label_map.array.any()


def test_only_the_box_is_segmented(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    window.document.set_box(Box((2, 5, 6), (5, 25, 26)))
    segment(window, qtbot, "segment.volume")
    outside = window.document.label_map.array.copy()
    outside[2:5, 5:25, 6:26] = 0
    assert window.document.label_map.array.any() and not outside.any()


def test_what_a_person_set_or_erased_is_kept_unless_they_choose(
    window, qtbot, idle, pictures
) -> None:
    open_path(window, idle, pictures)
    segment(window, qtbot)
    proposed = window.document.label_map.array.copy()
    paint(window, 0, value=0)
    assert not window.document.label_map.array.any()
    segment(window, qtbot)
    assert not window.document.label_map.array.any()
    assert "by hand were kept" in notice(window)
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.notice_bar.choose("Replace them too")
    assert np.array_equal(window.document.label_map.array, proposed)


def test_a_locked_label_is_never_written(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    labels = window.document.case.labels.added("disc").changed(1, locked=True)
    window.document.set_labels(labels, "Add disc")
    segment(window, qtbot)
    assert not window.document.label_map.array.any()


def test_without_a_fitting_model_nothing_happens_but_a_word(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    assert "No installed model" in notice(window) and window.context.chosen_model == ""
    window.commands["segment.slice"].trigger()
    idle(window)
    assert not window.document.can_undo and "No installed model" in notice(window)
    window.notice_bar.choose("Draw by hand")
    assert window.view.tool == "brush"


def test_an_unknown_model_is_named(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    window.commands["segment.slice"].trigger(model="nothing")
    assert "nothing" in notice(window)


def test_a_damaged_model_is_one_sentence(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    (user_data_dir() / "models/tiny/unet/config.json").write_text("{}")
    segment(window, qtbot)
    assert "config.json" in notice(window) and not window.document.label_map.array.any()
    assert window.commands["segment.slice"].enabled


def test_slices_follow_keys_and_the_window_follows_presets(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    start = window.view.slice_index
    qtbot.keyClick(window, Qt.Key.Key_Down)
    assert window.view.slice_index == start + 1
    qtbot.keyClick(window, Qt.Key.Key_Home)
    assert window.view.slice_index == 0
    window.commands["view.window_preset.liver"].trigger()
    assert window.view.window == (90.0, 150.0)


def test_letters_typed_into_a_label_s_name_are_no_commands(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger()
    field = window.labels_panel.findChild(QLineEdit)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "bed")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert window.document.case.labels.labels[0].name == "bed"
    assert window.view.tool == "pan"


def test_a_damaged_file_keeps_the_open_case(window, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    window.commands["case.open"].trigger(path=bad)
    idle(window)
    assert "bad.png" in notice(window) and window.document.case.name == "picture0"


def test_a_dropped_file_is_opened(window, idle, volume) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(volume))])
    copy = Qt.DropAction.CopyAction
    event = QDropEvent(
        QPointF(10, 10), copy, data, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    idle(window)
    assert window.document.case.scan.slice_count == 12


def test_export_and_open_again_for_correction(window, qtbot, idle, volume, tmp_path) -> None:
    open_path(window, idle, volume)
    segment(window, qtbot, "segment.volume")
    made = window.document.label_map.array.copy()
    target = tmp_path / "mask.nii.gz"
    window.commands["export.mask"].trigger(path=target)
    idle(window)
    written, source = nibabel.load(target), nibabel.load(volume)
    assert written.shape == source.shape and np.array_equal(written.affine, source.affine)
    assert int(np.asarray(written.dataobj).sum()) == int(made.sum())
    manifest = json.loads((tmp_path / "mask.manifest.json").read_text())
    assert manifest["model"]["name"] == "tiny" and "Research use only" in manifest["notice"]
    window.commands["case.open"].trigger(path=volume, discard=True)
    idle(window)
    assert not window.document.label_map.array.any()
    window.commands["case.open_mask"].trigger(path=target)
    idle(window)
    assert np.array_equal(window.document.label_map.array, made)
    assert window.document.case.labels.labels[0].name == "disc" and window.document.is_dirty


def test_a_picture_s_mask_is_a_png_with_an_overlay(window, qtbot, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    segment(window, qtbot)
    window.commands["export.mask"].trigger(path=tmp_path / "out.png", overlay=True)
    idle(window)
    values = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(values, window.document.label_map.array[0])
    assert (tmp_path / "out.overlay.png").exists()


def test_a_failed_export_keeps_everything(window, qtbot, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    segment(window, qtbot)
    (tmp_path / "file").write_text("in the way")
    window.commands["export.mask"].trigger(path=tmp_path / "file" / "out.png")
    idle(window)
    assert notice(window) and window.document.is_dirty


def test_changing_the_case_keeps_its_edits_and_a_project_keeps_all(
    window, qtbot, idle, pictures, tmp_path
) -> None:
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger(name="lesion")
    paint(window, 0)
    window.document.set_box(Box((0, 1, 2), (1, 30, 40)))
    window.commands["case.next"].trigger()
    idle(window)
    assert not window.document.label_map.array.any() and window.session.is_dirty
    window.commands["case.previous"].trigger()
    idle(window)
    assert window.document.label_map.array.all()
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    assert not window.session.is_dirty
    window.commands["project.open"].trigger(path=project, discard=True)
    idle(window)
    case = window.document.case
    assert len(window.session.items) == 3 and case.name == "picture0"
    assert case.label_map.array.all() and case.labels.labels[0].name == "lesion"
    assert case.label_map.origins.touched == [0] and case.box == Box((0, 1, 2), (1, 30, 40))
    assert case.review == "corrected" and not window.session.is_dirty


def test_a_damaged_case_that_was_never_opened_does_not_stop_saving(
    window, idle, pictures, tmp_path
) -> None:
    (pictures / "picture1.png").write_bytes(b"not a picture")
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger()
    paint(window, 0)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    assert not window.session.is_dirty
    window.commands["project.open"].trigger(path=project, discard=True)
    idle(window)
    window.commands["case.next"].trigger()
    idle(window)
    assert "picture1.png" in notice(window) and window.document.case.name == "picture0"
    assert window.document.label_map.array.all()


def test_a_failed_save_stays_dirty_and_keeps_the_window(
    window, idle, pictures, tmp_path, monkeypatch
) -> None:
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger()
    paint(window, 0)
    (tmp_path / "file").write_text("in the way")
    bad = tmp_path / "file" / "work.sdseg.json"
    window.commands["project.save"].trigger(path=bad)
    assert notice(window) and window.session.is_dirty
    window.session.project_path = bad
    monkeypatch.setattr(projects, "ask_save", lambda _parent: Answer.SAVE)
    event = QCloseEvent()
    window.closeEvent(event)
    assert not event.isAccepted() and window.isVisible()
    assert window.document.label_map.array.any()


@pytest.mark.parametrize(("answer", "closes"), [(Answer.CANCEL, False), (Answer.DISCARD, True)])
def test_closing_asks_about_unsaved_work(
    window, idle, pictures, monkeypatch, answer, closes
) -> None:
    open_path(window, idle, pictures)
    window.commands["label.add"].trigger()
    paint(window, 0)
    monkeypatch.setattr(projects, "ask_save", lambda _parent: answer)
    assert window.close() is closes
    assert window.isVisible() is not closes


def test_a_second_window_gets_the_project_read_only(
    window, qtbot, idle, pictures, tmp_path
) -> None:
    from sdseg_gui.app import create_window

    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    second = create_window()
    qtbot.addWidget(second, before_close_func=discard)
    second.commands["project.open"].trigger(path=project)
    idle(second)
    assert second.session.read_only and "read-only" in second.windowTitle()
    assert any("another window" in text for text in second.notice_bar.texts)
    second.commands["project.save"].trigger()
    assert "read-only" in notice(second)


def test_the_window_closes_in_the_middle_of_a_segmentation(qtbot, idle, tiny_model, volume) -> None:
    from sdseg_gui.app import create_window

    for _ in range(3):
        window = create_window()
        qtbot.addWidget(window, before_close_func=discard)
        open_path(window, idle, volume)
        window.commands["segment.volume"].trigger(model="tiny")
        assert window.shutdown(discard=True)
        assert not window.isVisible()


def test_the_source_is_never_written(window, qtbot, idle, volume) -> None:
    before = volume.read_bytes()
    open_path(window, idle, volume)
    segment(window, qtbot)
    window.commands["export.mask"].trigger(path=volume)
    idle(window)
    assert volume.read_bytes() == before and "never overwritten" in notice(window)


def test_the_open_project_opens_again_and_stays_writable(window, idle, pictures, tmp_path) -> None:
    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    for _ in range(2):
        window.commands["project.open"].trigger(path=project, discard=True)
        idle(window)
        assert not window.session.read_only
    window.commands["label.add"].trigger()
    paint(window, 0)
    window.commands["project.save"].trigger()
    assert not window.session.is_dirty


def test_a_failed_save_under_another_name_keeps_the_project(
    window, qtbot, idle, pictures, tmp_path
) -> None:
    from sdseg_gui.app import create_window

    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    (tmp_path / "file").write_text("in the way")
    window.commands["project.save"].trigger(path=tmp_path / "file" / "other.sdseg.json")
    assert window.session.project_path == project and "another window" not in notice(window)
    second = create_window()
    qtbot.addWidget(second, before_close_func=discard)
    second.commands["project.open"].trigger(path=project)
    idle(second)
    assert second.session.read_only, "the first window's lock is still held"
