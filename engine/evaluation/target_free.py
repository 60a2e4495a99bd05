"""How often a model finds something where there is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, box_of_mask, full_box
from engine.domain.requests import SegmentRequest
from engine.domain.volume import Volume
from engine.evaluation.pairs import Pair, naming
from engine.models.suitability import slicing_axis
from engine.sdseg.segmenter import Segmenter

MOST_FOREGROUND = 0.001  # of a view's pixels: more counts as a false find
MARGIN = 0.02  # of a picture's side, kept between the target and a view
LEAST_SIDE = 0.3  # of a picture's side: smaller views are no pictures any more


@dataclass(frozen=True)
class FalseFinds:
    """Views without the target, and in how many of them the model found some.

    Attributes:
        views: pictures without the target, views beside it, and slices of volumes without it.
        found: those with more than 0.1 % of their pixels marked.
    """

    views: int
    found: int

    @property
    def share(self) -> float | None:
        """found / views, or None without any view."""
        return self.found / self.views if self.views else None


def false_finds(
    segmenter: Segmenter,
    pairs: list[Pair],
    values: tuple[int, ...],
    is_cancelled: Callable[[], bool] | None = None,
) -> FalseFinds:
    """Segments what holds no target.

    Of a picture without it the whole; of others the largest rectangle beside the target, if that is
    at least 0.3 of the picture wide and high; of a volume each slice without it.

    Args:
        segmenter: the model.
        pairs: pictures or volumes and their masks (class ids).
        values: mask values that are target.
        is_cancelled: asked while the network works.

    Raises:
        Cancelled: asked to stop.
        UserError: a file can't be read, or picture and mask differ in size.
    """
    views = found = 0
    for pair in pairs:
        with naming(pair):
            scan, truth = pair.read()
            for request in _requests(segmenter, pair, scan, np.isin(truth, values)):
                for proposal in segmenter.segment(request, is_cancelled=is_cancelled):
                    views += 1
                    found += bool((proposal.labels > 0).mean() > MOST_FOREGROUND)
    return FalseFinds(views, found)


def _requests(
    segmenter: Segmenter, pair: Pair, scan: Volume, target: NDArray[np.bool_]
) -> Iterator[SegmentRequest]:
    axis = slicing_axis(segmenter.info, scan)
    if scan.is_picture and pair.box is None:
        box = largest_empty(target)
        if box is not None:
            yield SegmentRequest(scan, range(1), box=box, plane=axis)
        return
    region = (pair.box or full_box(scan.grid.shape)).in_slice(axis)
    for index in pair.indices(scan, axis):
        if not target[(slice(None),) * axis + (index,)][region].any():
            yield SegmentRequest(scan, range(index, index + 1), box=pair.box, plane=axis)


def largest_empty(target: NDArray[np.bool_]) -> Box | None:
    """The largest of the four rectangles beside a picture's target; None if all are small.

    Args:
        target: [1, rows, columns]; without any target the whole picture is taken.
    """
    rows, columns = target.shape[1:]
    there = box_of_mask(target)
    if there is None:
        return Box((0, 0, 0), (1, rows, columns))
    up, down = round(MARGIN * rows), round(MARGIN * columns)
    top, bottom = there.start[1] - up, there.stop[1] + up
    left, right = there.start[2] - down, there.stop[2] + down
    beside = [
        Box((0, 0, 0), (1, top, columns)),
        Box((0, bottom, 0), (1, rows, columns)),
        Box((0, 0, 0), (1, rows, left)),
        Box((0, 0, right), (1, rows, columns)),
    ]
    large = [
        box for box in beside
        if box.shape[1] >= LEAST_SIDE * rows and box.shape[2] >= LEAST_SIDE * columns
    ]  # fmt: skip
    return max(large, key=lambda box: box.shape[1] * box.shape[2], default=None)
