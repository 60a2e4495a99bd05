"""Scores on cases as training reads them: where a person has looked, inside the box."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import slice_box
from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.evaluation.metrics import dice
from engine.evaluation.scoring import target_mask
from engine.models.suitability import slicing_axis
from engine.sdseg.segmenter import Segmenter
from engine.training.sources import CaseSource, LoadedCase


def mean_case_dice(
    segmenter: Segmenter, sources: Sequence[CaseSource], is_cancelled: Callable[[], bool]
) -> float:
    """Mean Dice over targets, then cases, on each scan's own grid.

    Args:
        segmenter: the model.
        sources: cases whose truth holds the model's class ids.
        is_cancelled: asked while the network works.

    Raises:
        Cancelled: asked to stop.
        UserError: a case can't be read.
    """
    rows = [_case_dice(segmenter, source.load(), is_cancelled) for source in sources]
    return float(np.mean(rows))


def _case_dice(segmenter: Segmenter, case: LoadedCase, is_cancelled: Callable[[], bool]) -> float:
    scan, axis = case.scan, slicing_axis(segmenter.info, case.scan)
    answers: list[NDArray[np.uint8]] = []
    truths: list[NDArray[np.uint8]] = []
    for slices in _runs(case, axis):
        request = SegmentRequest(scan, slices, box=case.box, plane=axis)
        for proposal in segmenter.segment(request, is_cancelled=is_cancelled):
            place = slice_box(scan.grid.shape, axis, proposal.index).slices
            answers.append(proposal.labels.ravel())
            truths.append(case.truth[place].squeeze(axis)[proposal.region].ravel())
    answer, truth = np.concatenate(answers), np.concatenate(truths)
    figures = [
        dice(target_mask(segmenter, t.name, answer), Target(t.name, t.class_ids).of(truth))
        for t in segmenter.info.targets
    ]
    return float(np.mean(figures))


def _runs(case: LoadedCase, axis: int) -> list[range]:
    """The slices to look at, neighbours together."""
    if case.slices is None or axis != case.scan.plane:
        return [range(case.scan.grid.shape[axis])]
    runs: list[range] = []
    for index in sorted(case.slices):
        if runs and runs[-1].stop == index:
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs
