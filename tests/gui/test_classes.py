"""Models of several classes in the real window: a label a class, in one step to undo."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PySide6.QtWidgets import QComboBox

from engine.domain.box import slice_box
from engine.domain.label_map import Origin
from engine.domain.requests import SegmentRequest
from engine.models.store import list_models, read_entry
from engine.sdseg.segmenter import Segmenter
from engine.system.paths import user_data_dir
from tests.gui.helpers import notice, open_path, paint, segment, voxels
from tests.tiny_model import save_two_class


@pytest.fixture
def two(window, idle, volume):
    """The window on a volume, with a model of two classes; its answers as class ids."""
    folder = user_data_dir() / "models" / "two"
    save_two_class(folder, name="two", title="Rim and cup")
    window.context.models[:] = list_models()[0]
    open_path(window, idle, volume)
    scan = window.document.case.scan
    found = Segmenter.load(read_entry(folder), "cpu").segment(SegmentRequest(scan, range(12)))
    answers = np.stack([proposal.labels for proposal in found])
    assert set(np.unique(answers)) == {0, 2, 5}
    return answers


def ids(window) -> dict[str, int]:
    return {label.name: label.id for label in window.document.case.labels}


def trigger(window, qtbot, command: str = "segment.slice", **arguments) -> None:
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.commands[command].trigger(model="two", **arguments)


def anyway(window, qtbot, idle) -> None:
    """The key S, and the answer to the question that a model without a fit statistic raises."""
    idle(window)
    window.commands["segment.slice"].trigger()
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.notice_bar.choose("Segment anyway")


def combo(window) -> QComboBox:
    boxes = window.segment_panel.findChildren(QComboBox)
    return next(box for box in boxes if box.accessibleName() == "What to find")


def test_every_class_goes_to_its_own_label_in_one_step(window, qtbot, two) -> None:
    window.commands["label.add"].trigger(name="vessel")
    segment(window, qtbot, "segment.volume", model="two")
    found = ids(window)
    assert found == {"vessel": 1, "rim": 2, "cup": 3}
    array = window.document.label_map.array
    assert np.array_equal(array == found["rim"], two == 2)
    assert np.array_equal(array == found["cup"], two == 5)
    assert window.document.undo_name == "Segment volume" and window.view.active_label == 2
    window.document.undo()
    assert voxels(window) == 0 and ids(window) == {"vessel": 1}


def test_labels_are_found_by_name_and_locked_ones_left_alone(window, qtbot, two) -> None:
    for name in ("Cup", "rim"):
        window.commands["label.add"].trigger(name=name)
    case = window.document.case
    window.document.set_labels(case.labels.changed(1, locked=True), "Lock")
    window.view.set_slice(3)
    segment(window, qtbot, model="two")
    assert ids(window) == {"Cup": 1, "rim": 2}
    assert np.array_equal(case.label_map.slice(3) == 2, two[3] == 2)
    assert not (case.label_map.array == 1).any()


def test_a_hand_set_voxel_is_kept_until_the_user_agrees(window, qtbot, two) -> None:
    window.commands["label.add"].trigger(name="cup")
    window.view.set_slice(4)
    paint(window, 4, ids(window)["cup"])
    segment(window, qtbot, model="two")
    assert (window.document.label_map.slice(4) == ids(window)["cup"]).all()
    assert f"{int((two[4] != 5).sum())} voxels" in notice(window)
    with qtbot.waitSignal(window.document.job_finished, timeout=60_000):
        window.notice_bar.choose("Replace them too")
    array, found = window.document.label_map.slice(4), ids(window)
    assert np.array_equal(array == found["rim"], two[4] == 2)
    assert np.array_equal(array == found["cup"], two[4] == 5) and (array == 0).any()


def test_what_is_no_longer_found_is_taken_back_in_every_class(window, qtbot, two) -> None:
    window.view.set_slice(2)
    segment(window, qtbot, model="two")
    case, found = window.document.case, ids(window)
    stale = two[2] == 0
    box = slice_box(case.scan.grid.shape, 0, 2)
    rows, columns = np.nonzero(stale)
    half = len(rows) // 2
    for name, part in (("rim", slice(0, half)), ("cup", slice(half, None))):
        mask = np.zeros(box.shape, bool)
        mask[0, rows[part], columns[part]] = True
        edit = case.label_map.make_edit(box, mask, found[name], Origin.MODEL)
        window.document.apply(edit, "As an earlier run would have")
    segment(window, qtbot, model="two")
    assert not case.label_map.slice(2)[stale].any()


def test_one_target_can_be_asked_for_by_a_script(window, qtbot, two) -> None:
    trigger(window, qtbot, "segment.volume", target="disc")
    assert ids(window) == {"disc": 1}
    assert np.array_equal(window.document.label_map.array == 1, two > 0)
    assert window.session.model_use.target == "disc"
    window.commands["segment.slice"].trigger(model="two", target="macula")
    assert "does not find 'macula'" in notice(window) and "disc, cup" in notice(window)
    assert window.context.segmentation is None and ids(window) == {"disc": 1}


def test_the_panel_lets_the_user_choose_what_to_find(window, qtbot, two, tmp_path, idle) -> None:
    window.segment_panel.model_chosen.emit("tiny")
    assert combo(window).isHidden()
    window.segment_panel.model_chosen.emit("two")
    box = combo(window)
    assert box.isVisible() and box.currentText() == "All classes"
    assert [box.itemText(n) for n in range(box.count())] == ["All classes", "disc", "cup"]
    anyway(window, qtbot, idle)
    assert set(ids(window)) == {"rim", "cup"} and window.session.model_use.target == ""
    window.document.undo()
    box.setCurrentIndex(1)
    box.activated.emit(1)
    anyway(window, qtbot, idle)
    assert set(ids(window)) == {"disc"} and box.currentText() == "disc"
    window.commands["export.mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    content = json.loads((tmp_path / "mask.manifest.json").read_text())
    assert content["model"]["target"] == "disc" and content["labels"] == {"1": "disc"}
    trigger(window, qtbot, target="")
    assert set(ids(window)) == {"disc", "rim", "cup"}, "a script's wish goes before the panel's"


def test_a_model_of_one_class_still_writes_its_target(window, qtbot, idle, volume) -> None:
    open_path(window, idle, volume)
    segment(window, qtbot)
    assert ids(window) == {"disc": 1} and window.session.model_use.target == "disc"
