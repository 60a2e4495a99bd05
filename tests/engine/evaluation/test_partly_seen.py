"""Where a mask tells nothing, nothing is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.evaluation.pairs import Pair
from engine.evaluation.scoring import requests_of, score_model, segment_whole
from engine.evaluation.stability import measure_stability
from engine.evaluation.target_free import false_finds
from engine.sdseg.segmenter import Segmenter
from tests.tiny_model import mr_scan, picture_scan, save_tiny

DISC = Target("disc", (1,))
SEEN, BOX = (1, 2, 4), Box((0, 6, 8), (6, 30, 40))


@dataclass(frozen=True, kw_only=True)
class InMemory(Pair):
    """A case without files."""

    scan: Volume
    truth: NDArray[np.uint8]

    def open(self) -> Volume:
        return self.scan

    def read(self, tell: object = None) -> tuple[Volume, NDArray[np.uint8]]:
        return self.scan, self.truth


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter.load(save_tiny(tmp_path_factory.mktemp("models") / "tiny", 2), "cpu")


def case(scan: Volume, truth: NDArray[np.uint8], **where) -> InMemory:
    return InMemory("x", Path("x"), Path("x"), **where, scan=scan, truth=truth)


def dice_of(segmenter: Segmenter, pair: Pair) -> float | None:
    return score_model(segmenter, [pair], {"disc": DISC}).cases["x"]["disc"]["dice"]


def test_slices_come_in_runs_inside_the_box(segmenter: Segmenter) -> None:
    scan = mr_scan()
    pair = case(scan, np.zeros(scan.grid.shape, np.uint8), slices=SEEN)
    asked = [(r.slices, r.box) for r in requests_of(segmenter, pair, scan)]
    assert asked == [(range(1, 3), None), (range(4, 5), None)]
    boxed = replace(pair, box=Box((2, 6, 8), (6, 30, 40)))
    assert [r.slices for r in requests_of(segmenter, boxed, scan)] == [range(2, 3), range(4, 5)]
    nothing = replace(pair, slices=(0,), box=Box((2, 6, 8), (6, 30, 40)))
    assert not list(requests_of(segmenter, nothing, scan))


def test_whole_cases_are_asked_in_one_go(segmenter: Segmenter) -> None:
    scan = mr_scan()
    (request,) = requests_of(segmenter, case(scan, np.zeros(scan.grid.shape, np.uint8)), scan, 5)
    assert (request.slices, request.box, request.seed) == (range(6), None, 5)


@pytest.mark.parametrize("box", [None, BOX])
def test_what_was_not_looked_at_changes_no_score(segmenter: Segmenter, box: Box | None) -> None:
    scan = mr_scan()
    inside = np.zeros(scan.grid.shape, bool)
    inside[list(SEEN)] = True
    if box is not None:
        within = np.zeros_like(inside)
        within[box.slices] = True
        inside &= within
    answer = np.zeros(scan.grid.shape, np.uint8)
    for proposal in segmenter.segment(SegmentRequest(scan, range(6), box=box)):
        answer[proposal.index][proposal.region] = proposal.labels
    assert 0 < answer[inside].mean() < 1
    garbage = np.where(inside, answer, 1 - answer)
    assert dice_of(segmenter, case(scan, garbage, slices=SEEN, box=box)) == 1.0
    assert dice_of(segmenter, case(scan, 1 - garbage, slices=SEEN, box=box)) == 0.0


def test_target_free_views_are_slices_that_were_looked_at(segmenter: Segmenter) -> None:
    scan = mr_scan()
    truth = np.zeros(scan.grid.shape, np.uint8)
    truth[2, 20, 20] = truth[4, 0, 0] = 1
    assert false_finds(segmenter, [case(scan, truth)], (1,)).views == 4
    assert false_finds(segmenter, [case(scan, truth, slices=SEEN)], (1,)).views == 1
    # the voxel of slice 4 lies outside the box
    assert false_finds(segmenter, [case(scan, truth, slices=SEEN, box=BOX)], (1,)).views == 2


def test_a_picture_is_target_free_inside_its_box_or_not_looked_at(segmenter: Segmenter) -> None:
    scan = picture_scan()
    truth = np.zeros(scan.grid.shape, np.uint8)
    truth[0, :5, :5] = 1
    box = Box((0, 10, 10), (1, 50, 70))
    assert false_finds(segmenter, [case(scan, truth, box=box)], (1,)).views == 1
    assert false_finds(segmenter, [case(scan, truth, box=full_box(truth.shape))], (1,)).views == 0


def test_stability_compares_the_slices_that_were_looked_at(segmenter: Segmenter) -> None:
    scan = mr_scan()
    pair = case(scan, np.zeros(scan.grid.shape, np.uint8))
    assert measure_stability(segmenter, [pair], 2)["pairs"] == 6
    assert measure_stability(segmenter, [replace(pair, slices=SEEN)], 2)["pairs"] == 3


def test_a_whole_case_scores_as_before(segmenter: Segmenter) -> None:
    scan = mr_scan()
    assert dice_of(segmenter, case(scan, segment_whole(segmenter, scan))) == 1.0
