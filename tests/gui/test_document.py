"""Document and history: undo gives back every voxel, and memory stays bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.box import Box, full_box, slice_box
from engine.domain.case import Case, new_case
from engine.domain.grid import Grid
from engine.domain.label_map import Edit, Origin
from engine.domain.review import ReviewState
from engine.domain.volume import Volume
from sdseg_gui.document import Document
from sdseg_gui.history import History, Step

SHAPE = (4, 12, 10)


def make_case(shape=SHAPE, plane: int = 0) -> Case:
    scan = Volume(np.zeros(shape, np.int16), Grid(shape, np.diag([-1.0, -1.0, 1.0, 1.0])), plane)
    return new_case(scan, Path("scan.nii.gz"))


def paint(document: Document, box: Box, value: int, origin: Origin = Origin.HAND) -> None:
    mask = np.ones(box.shape, bool)
    case = document.case
    assert case is not None
    edit = case.label_map.make_edit(box, mask, value, origin, case.labels.locked_ids)
    document.apply(edit, f"Paint {value}")


def state(document: Document) -> tuple[bytes, bytes]:
    label_map = document.label_map
    assert label_map is not None
    origins = label_map.origins.read_box(full_box(label_map.shape))
    return label_map.array.tobytes(), origins.tobytes()


boxes = st.tuples(
    *(st.tuples(st.integers(0, n - 1), st.integers(1, n)).map(sorted) for n in SHAPE)
).map(lambda r: Box(tuple(a for a, _ in r), tuple(max(b, a + 1) for a, b in r)))
strokes = st.lists(
    st.tuples(boxes, st.integers(0, 3), st.sampled_from([Origin.HAND, Origin.MODEL])), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(strokes=strokes, plane=st.integers(0, 2))
def test_undo_and_redo_pass_through_the_same_states(strokes, plane) -> None:
    document = Document()
    document.open(make_case(plane=plane))
    states = [state(document)]
    for box, value, origin in strokes:
        before = len(document.history)
        paint(document, box, value, origin)
        if len(document.history) > before:
            states.append(state(document))
    for expected in reversed(states[:-1]):
        document.undo()
        assert state(document) == expected
    assert not document.can_undo
    for expected in states[1:]:
        document.redo()
        assert state(document) == expected
    assert not document.can_redo


def test_many_edits_of_one_step_are_taken_back_together() -> None:
    document = Document()
    document.open(make_case())
    painted: list[Box] = []
    document.painted.connect(painted.append)
    document.begin_step("Segment volume")
    for index in range(4):
        box = slice_box(SHAPE, 0, index)
        assert document.label_map is not None
        document.add(document.label_map.make_edit(box, np.ones(box.shape, bool), 1, Origin.MODEL))
    document.end_step()
    assert len(painted) == 4 and document.undo_name == "Segment volume"
    assert document.case is not None and document.case.review is ReviewState.PROPOSED
    document.undo()
    assert document.label_map is not None and not document.label_map.array.any()
    assert document.case.review is ReviewState.NEW and not document.can_undo


def test_a_step_without_changes_leaves_no_trace() -> None:
    document = Document()
    document.open(make_case())
    document.begin_step("Nothing")
    document.end_step()
    assert not document.can_undo and not document.is_dirty


def test_a_cancelled_step_is_gone() -> None:
    document = Document()
    document.open(make_case())
    paint(document, full_box(SHAPE), 1)
    before = state(document)
    document.begin_step("Paint")
    assert document.label_map is not None
    document.add(
        document.label_map.make_edit(full_box(SHAPE), np.ones(SHAPE, bool), 2, Origin.HAND)
    )
    document.cancel_step()
    assert state(document) == before and document.undo_name == "Paint 1"


def test_labels_and_box_are_undo_steps_too() -> None:
    document = Document()
    case = make_case()
    document.open(case)
    document.set_labels(case.labels.added("Liver"), "Add Liver")
    document.set_box(Box((0, 0, 0), (2, 3, 4)))
    assert document.undo_name == "Set the box"
    document.undo()
    assert case.box is None and [label.name for label in case.labels] == ["Liver"]
    document.undo()
    assert len(case.labels) == 0
    document.redo()
    document.redo()
    assert case.box == Box((0, 0, 0), (2, 3, 4))


def test_an_edit_after_a_proposal_is_a_correction() -> None:
    document = Document()
    case = make_case()
    document.open(case)
    paint(document, slice_box(SHAPE, 0, 1), 1, Origin.MODEL)
    assert case.slice_review == {1: ReviewState.PROPOSED}
    paint(document, slice_box(SHAPE, 0, 1), 0)
    assert case.slice_review == {1: ReviewState.CORRECTED}
    paint(document, slice_box(SHAPE, 0, 1), 1, Origin.MODEL)
    assert case.slice_review[1] is ReviewState.CORRECTED


def test_dirty_follows_the_saved_state_through_undo() -> None:
    document = Document()
    document.open(make_case())
    paint(document, full_box(SHAPE), 1)
    document.mark_saved()
    assert not document.is_dirty
    document.undo()
    assert document.is_dirty
    document.redo()
    assert not document.is_dirty
    document.undo()
    paint(document, full_box(SHAPE), 2)
    assert document.is_dirty
    document.undo()
    assert document.is_dirty  # the saved state can't be reached any more


def big_edit(count: int) -> Edit:
    values = np.zeros(count, np.uint8)
    box = Box((0, 0, 0), (1, 1, count))
    return Edit(box, np.packbits(np.ones(count, bool)), values, values, 1, Origin.HAND)


def test_memory_is_capped_but_one_large_step_is_kept() -> None:
    history = History(max_steps=200, max_bytes=10_000)
    for _ in range(30):
        history.push(Step("Paint", [big_edit(1000)]))
    assert history.nbytes <= 10_000 and len(history) >= 3
    history.push(Step("Huge", [big_edit(50_000)]))
    assert len(history) == 1 and history.undo_name == "Huge"


def test_two_hundred_steps_are_kept() -> None:
    history = History()
    for number in range(250):
        history.push(Step(str(number), [big_edit(8)]))
    assert len(history) == 200
    count = 0
    while history.pop_undo():
        count += 1
    assert count == 200


@pytest.mark.parametrize("locked_id", [1, 2])
def test_a_locked_label_keeps_its_voxels_and_gains_none(locked_id: int) -> None:
    document = Document()
    case = make_case()
    case.labels = case.labels.added("a").added("b")
    document.open(case)
    paint(document, slice_box(SHAPE, 0, 0), 1)
    document.set_labels(case.labels.changed(locked_id, locked=True), "Lock")
    paint(document, full_box(SHAPE), 2)
    array = case.label_map.array
    assert (array[0] == 1).all()
    assert (array[1:] == (2 if locked_id == 1 else 0)).all()
