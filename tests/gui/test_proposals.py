"""What a proposal changes of a label map, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.domain.box import full_box
from engine.domain.case import Case, new_case
from engine.domain.grid import picture_grid
from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.domain.requests import Proposal
from engine.domain.volume import Volume
from sdseg_gui.actions.proposals import edit_of

DISC, VESSEL = 1, 2


@pytest.fixture
def drawn() -> Case:
    """A picture of 4 x 4; by hand the upper row is disc, the next one vessel."""
    scan = Volume(np.zeros((1, 4, 4), np.uint8), picture_grid(4, 4), modality="picture")
    case = new_case(scan, Path("a.png"))
    case.labels = LabelList().added("disc").added("vessel")
    for row, label in ((0, DISC), (1, VESSEL)):
        mask = np.zeros((1, 4, 4), bool)
        mask[:, row] = True
        edit = case.label_map.make_edit(full_box(mask.shape), mask, label, Origin.HAND)
        assert edit is not None
        case.label_map.apply(edit)
    return case


def proposal(labels: np.ndarray) -> Proposal:
    whole = (slice(0, 4), slice(0, 4))
    return Proposal(0, 0, whole, labels.astype(np.uint8), labels.astype(np.float32), "", 0)


@pytest.mark.parametrize(
    ("locked", "kept"), [((), 8), ((VESSEL,), 4), ((DISC,), 0), ((DISC, VESSEL), 0)]
)
def test_only_what_could_be_replaced_counts_as_kept(drawn, locked, kept) -> None:
    for label in locked:
        drawn.labels = drawn.labels.changed(label, locked=True)
    answer = np.zeros((4, 4))
    answer[1] = 1  # disc where the hand has drawn vessel, and no disc where it has drawn it
    edit, count = edit_of(drawn, proposal(answer), {1: DISC})
    assert edit is None and count == kept
    again, more = edit_of(drawn, proposal(answer), {1: DISC}, over_hand=True)
    assert (0 if again is None else int(again.mask.sum()), more) == (kept, 0)
