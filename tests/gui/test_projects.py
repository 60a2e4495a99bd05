"""Projects in the real window: what belongs to them, and when they have to be saved."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from sdseg_gui.window import MainWindow
from tests.gui.helpers import notice, open_path, segment


def drop(window: MainWindow, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy = Qt.DropAction.CopyAction
    buttons, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(10, 10), copy, data, buttons, keys))


def names(window: MainWindow) -> list[str]:
    return [item.name for item in window.session.items]


def test_all_dropped_files_are_listed_in_their_order(window, idle, pictures, volume) -> None:
    drop(window, pictures / "picture2.png", volume, pictures / "picture0.png")
    idle(window)
    assert names(window) == ["picture2", "brain", "picture0"]
    assert window.document.case.name == "picture2"


def test_a_dropped_path_that_is_none_does_not_stop_the_others(
    window, idle, pictures, tmp_path
) -> None:
    drop(window, pictures / "picture2.png", tmp_path / "gone.png", pictures / "picture0.png")
    idle(window)
    assert names(window) == ["picture2", "picture0"]
    assert "gone.png" in notice(window) or any("gone.png" in t for t in window.notice_bar.texts)


def test_a_dropped_project_is_opened(window, idle, pictures, volume, tmp_path) -> None:
    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    drop(window, volume, project)
    idle(window)
    assert window.session.project_path == project and len(window.session.items) == 3


def test_another_case_or_model_has_to_be_saved_with_the_project(
    window, idle, pictures, volume, tmp_path
) -> None:
    open_path(window, idle, pictures)
    assert not window.session.is_dirty, "pictures that were only looked at are nothing to save"
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["case.open"].trigger(path=pictures)
    idle(window)
    assert not window.session.is_dirty, "they were all there"
    window.commands["case.open"].trigger(path=volume)
    idle(window)
    assert window.session.is_dirty and window.isWindowModified()
    window.commands["project.save"].trigger()
    assert not window.session.is_dirty
    window.segment_panel.model_chosen.emit("polyp")
    assert window.session.is_dirty
    window.commands["project.open"].trigger(path=project, discard=True)
    idle(window)
    assert not window.session.is_dirty


def test_the_manifest_names_the_model_after_the_project_was_opened_again(
    window, qtbot, idle, volume, tmp_path
) -> None:
    open_path(window, idle, volume)
    segment(window, qtbot)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["project.open"].trigger(path=project)
    idle(window)
    window.commands["export.mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    use = json.loads((tmp_path / "mask.manifest.json").read_text())["model"]
    assert use["name"] == "tiny" and len(use["sha256"]) == 64 and use["target"] == "disc"


def test_a_project_of_before_models_were_kept_still_opens(
    window, qtbot, idle, volume, tmp_path
) -> None:
    open_path(window, idle, volume)
    segment(window, qtbot)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    content = json.loads(project.read_text())
    for entry in content["cases"]:
        del entry["model"], entry["model_use"]
    project.write_text(json.dumps(content))
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert window.session.model_use is None and window.document.label_map.array.any()


def test_the_frozen_validation_split_outlives_work_and_saving(
    window, idle, qtbot, pictures, tmp_path
) -> None:
    open_path(window, idle, pictures)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    content = json.loads(project.read_text())
    content["cases"][0]["validation"] = True
    project.write_text(json.dumps(content))
    window.commands["project.open"].trigger(path=project)
    idle(window)
    segment(window, qtbot)
    window.commands["project.save"].trigger(path=project)
    saved = json.loads(project.read_text())["cases"]
    assert [case["validation"] for case in saved] == [True, False, False]
    assert saved[0]["label_map"], "the case was worked on"
