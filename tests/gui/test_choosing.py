"""Which model is used: what was measured of the box, and what the user chose."""

from __future__ import annotations

import json

import pytest

from engine.domain.box import Box
from engine.system.resources import resource_path
from tests.gui.helpers import held, open_path, voxels

GREY, COLOUR = "chest-xray-lungs", "polyp"  # built in; the pictures here are grey


def test_a_box_that_was_dragged_is_measured_anew(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    before = window.context.choice
    assert before.results[GREY].distance
    window.document.set_box(Box((0, 10, 10), (1, 40, 50)))
    assert window.context.choice is None and window.is_busy
    idle(window)
    measured = window.context.choice.results[GREY].distance
    assert measured != before.results[GREY].distance
    window.document.undo()
    idle(window)
    assert window.context.choice.results[GREY].distance == before.results[GREY].distance


def test_a_choice_made_during_the_measurement_stays(window, qtbot, idle, pictures) -> None:
    open_path(window, idle, pictures)
    with held(window.engine):
        window.commands["case.next"].trigger()
        qtbot.waitUntil(lambda: window.document.case.name == "picture1")
        window.segment_panel.model_chosen.emit(COLOUR)
    idle(window)
    assert window.context.chosen_model == COLOUR and window.context.choice.results
    window.document.set_box(Box((0, 10, 10), (1, 40, 50)))
    idle(window)
    assert window.context.chosen_model == COLOUR


def test_no_model_is_a_choice_too(window, idle, pictures) -> None:
    open_path(window, idle, pictures)
    window.segment_panel.model_chosen.emit(GREY)
    window.segment_panel.model_chosen.emit("")
    window.document.set_box(Box((0, 10, 10), (1, 40, 50)))
    idle(window)
    assert window.context.chosen_model == ""


@pytest.mark.parametrize(("model", "elsewhere"), [(GREY, GREY), (COLOUR, "")])
def test_a_choice_is_kept_with_the_project_and_used_where_it_can_be(
    window, idle, pictures, tmp_path, model, elsewhere
) -> None:
    open_path(window, idle, pictures)
    window.segment_panel.model_chosen.emit(model)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert window.context.chosen_model == model and not window.session.is_dirty
    window.commands["case.next"].trigger()
    idle(window)
    assert window.context.chosen_model == elsewhere
    window.commands["case.previous"].trigger()
    idle(window)
    assert window.context.chosen_model == model


def test_a_model_that_is_no_longer_installed_is_not_missed(
    window, idle, pictures, tmp_path
) -> None:
    open_path(window, idle, pictures)
    window.segment_panel.model_chosen.emit("tiny")
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.context.models[:] = [entry for entry in window.context.models if entry.name != "tiny"]
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert window.context.chosen_model == "" and json.loads(project.read_text())["model"] == "tiny"


def test_a_key_pressed_too_soon_waits_for_the_model_that_fits(window, qtbot, idle) -> None:
    with held(window.engine):
        window.commands["case.open"].trigger(path=resource_path("cases", "retina.jpg"))
        qtbot.waitUntil(lambda: window.document.case is not None)
        window.context.chosen_model = COLOUR  # what stands first before anything is measured
        window.commands["segment.slice"].trigger()
        assert window.context.segmentation is not None
    idle(window)
    assert [label.name for label in window.document.case.labels] == [
        "optic disc rim", "optic cup",
    ]  # fmt: skip
    assert voxels(window) > 1000


def test_where_nothing_fits_a_key_pressed_too_soon_leaves_nothing_behind(
    window, qtbot, idle, pictures
) -> None:
    with held(window.engine):
        window.commands["case.open"].trigger(path=pictures)
        qtbot.waitUntil(lambda: window.document.case is not None)
        window.context.chosen_model = GREY
        window.commands["segment.slice"].trigger()
    idle(window)
    assert list(window.document.case.labels) == [] and not window.document.is_dirty
    assert voxels(window) == 0
