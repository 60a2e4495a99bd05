"""Scores of a model on pictures with known masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import full_box
from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import Cancelled, UserError
from engine.evaluation.metrics import authors_dice, authors_iou, dice, hd95, iou
from engine.evaluation.pairs import Labels, Pair, naming
from engine.evaluation.scores import Figures, Scores
from engine.evaluation.squares import square_labels, truth_in_square
from engine.models.suitability import slicing_axis
from engine.sdseg.segmenter import Segmenter

Progress = Callable[[int, int], object]
OnError = Callable[[Pair, UserError], object]
IsCancelled = Callable[[], bool]


@dataclass(frozen=True)
class Comparison:
    """How answers and truths are compared.

    Attributes:
        seed: of the starting noise.
        distances: HD95 too, for which MONAI has to be imported.
        authors: as the authors' script does it: at the network's size, with its own Dice and IoU
            and no distances; else on the scan's own grid.
        samples, steps: of each answer, as `SegmentRequest` has them.
    """

    seed: int = 0
    samples: int = 1
    steps: int = 1
    distances: bool = False
    authors: bool = False

    def of(self, request: SegmentRequest) -> SegmentRequest:
        """The request, with this many samples and steps."""
        return replace(request, samples=self.samples, steps=self.steps)


def score_model(
    segmenter: Segmenter,
    pairs: list[Pair],
    targets: dict[str, Target],
    progress: Progress | None = None,
    comparison: Comparison | None = None,
    is_cancelled: IsCancelled | None = None,
    on_error: OnError | None = None,
) -> Scores:
    """Segments every case whole, once, and compares each target's mask with the truth.

    Args:
        segmenter: the model.
        pairs: pictures or volumes and their masks (class ids).
        targets: name of a target of the model -> the mask values that make it up in the truth.
        progress: called with (cases done, cases in all).
        comparison: how; None means Dice and IoU on the scans' own grids, with seed 0.
        is_cancelled: asked before each batch of slices.
        on_error: told of a case that can't be scored, which is then left out; None raises instead.

    Raises:
        Cancelled: asked to stop.
        UserError: a file can't be read, or picture and mask differ in size.
    """
    how = comparison or Comparison()
    scores = Scores(definition="authors" if how.authors else "native")
    for number, pair in enumerate(pairs):
        try:
            with naming(pair):
                _score_case(scores, segmenter, pair, targets, how, is_cancelled)
        except UserError as error:
            if on_error is None:
                raise
            on_error(pair, error)
        if progress:
            progress(number + 1, len(pairs))
    return scores


def _score_case(
    scores: Scores,
    segmenter: Segmenter,
    pair: Pair,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> None:
    """Adds a case to the scores, or nothing of it where it fails."""
    compare = _compare_squares if how.authors else _compare_natively
    scan, truth = pair.read(scores.remarks.append)
    scores.cases[pair.name] = compare(segmenter, pair, scan, truth, targets, how, is_cancelled)
    scores.mask_values |= set(np.flatnonzero(np.bincount(truth.reshape(-1))).tolist())
    if how.distances and not how.authors:
        scores.units[pair.name] = "mm" if scan.grid.calibrated else "px"


def whole_request(segmenter: Segmenter, scan: Volume, seed: int) -> SegmentRequest:
    """Every slice along the model's plane; the answer is class ids."""
    axis = slicing_axis(segmenter.info, scan)
    return SegmentRequest(scan, range(scan.grid.shape[axis]), plane=axis, seed=seed)


def requests_of(
    segmenter: Segmenter, pair: Pair, scan: Volume, seed: int = 0
) -> Iterator[SegmentRequest]:
    """What a pair's mask tells about, along the model's plane; the answers are class ids."""
    axis = slicing_axis(segmenter.info, scan)
    indices = pair.indices(scan, axis)
    breaks = [n for n, (a, b) in enumerate(pairwise(indices), 1) if b != a + 1]
    for first, last in pairwise([0, *breaks, len(indices)]):
        if last > first:
            run = range(indices[first], indices[last - 1] + 1)
            yield SegmentRequest(scan, run, box=pair.box, plane=axis, seed=seed)


def segment_whole(
    segmenter: Segmenter, scan: Volume, seed: int = 0, is_cancelled: IsCancelled | None = None
) -> Labels:
    """Class ids of a whole scan, uint8 ``[k, j, i]``.

    Raises:
        Cancelled: asked to stop.
    """
    return _answers(segmenter, [whole_request(segmenter, scan, seed)], scan, is_cancelled)


def _answers(
    segmenter: Segmenter,
    requests: Iterable[SegmentRequest],
    scan: Volume,
    is_cancelled: IsCancelled | None,
) -> Labels:
    """Class ids, uint8 ``[k, j, i]``; 0 where nothing was asked."""
    answer = np.zeros(scan.grid.shape, dtype=np.uint8)
    for request in requests:
        for proposal in segmenter.segment(request, is_cancelled=is_cancelled):
            where = (slice(None),) * request.axis + (proposal.index,)
            answer[where][proposal.region] = proposal.labels
    return answer


def _told(pair: Pair, scan: Volume, truth: Labels, axis: int) -> Labels:
    """The truth where the pair's mask tells about it, else 0."""
    if pair.slices is None and pair.box is None:
        return truth
    box, known = pair.box or full_box(scan.grid.shape), np.zeros_like(truth)
    for index in pair.indices(scan, axis):
        where = (slice(None),) * axis + (index,)
        known[where][box.in_slice(axis)] = truth[where][box.in_slice(axis)]
    return known


def _compare_natively(
    segmenter: Segmenter,
    pair: Pair,
    scan: Volume,
    truth: Labels,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> dict[str, Figures]:
    requests = (how.of(r) for r in requests_of(segmenter, pair, scan, how.seed))
    answer = _answers(segmenter, requests, scan, is_cancelled)
    truth = _told(pair, scan, truth, slicing_axis(segmenter.info, scan))
    spacing = scan.grid.spacing if scan.grid.calibrated else None
    found: dict[str, Figures] = {}
    for name, in_truth in targets.items():
        if is_cancelled and is_cancelled():
            raise Cancelled
        a, b = target_mask(segmenter, name, answer), in_truth.of(truth)
        # Between slices that lie unevenly no one spacing tells a distance.
        distance = hd95(a, b, spacing) if how.distances and scan.is_even else None
        found[name] = {"dice": dice(a, b), "iou": iou(a, b), "hd95": distance}
    return found


def _compare_squares(
    segmenter: Segmenter,
    pair: Pair,
    scan: Volume,
    truth: Labels,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> dict[str, Figures]:
    """All slices of a case as one volume at the network's size; whole slices only."""
    del pair
    request = how.of(whole_request(segmenter, scan, how.seed))
    axis, rules = request.axis, segmenter.info.preprocessing
    answers: list[Labels] = []
    truths: list[Labels] = []
    for index, maps in segmenter.squares(request, is_cancelled=is_cancelled):
        answers.append(square_labels(maps, segmenter.info))
        there = truth[(slice(None),) * axis + (index,)]
        truths.append(truth_in_square(there, scan, axis, rules))
    answer, whole_truth = np.stack(answers), np.stack(truths)
    found: dict[str, Figures] = {}
    for name, in_truth in targets.items():
        a, b = target_mask(segmenter, name, answer), in_truth.of(whole_truth)
        found[name] = {"dice": authors_dice(a, b), "iou": authors_iou(a, b), "hd95": None}
    return found


def target_mask(segmenter: Segmenter, name: str, classes: Labels) -> NDArray[np.bool_]:
    """Where a target of the model is in its answer of class ids.

    A binary model finds one thing, whatever ids its target has in the truths it was trained on.

    Raises:
        UserError: the model has no such target.
    """
    target = segmenter.target(name)
    if target is None or segmenter.info.class_coding == "binary":
        return classes > 0
    return target.of(classes)
