"""From a model's proposal to an edit: which label a class gets, and which voxels change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, slice_box
from engine.domain.case import Case
from engine.domain.label_map import Edit, Origin
from engine.domain.labels import LabelList
from engine.domain.requests import Proposal
from engine.models.schema import ModelInfo


def target_of(info: ModelInfo, wanted: str | None) -> str:
    """What is asked of a model: the name of a target, or "" for every class under its own label.

    Args:
        info: of the model.
        wanted: a target, or "" or None where nobody chose one: then a model of a single class is
            asked for its first target, and one of several for all of them.
    """
    if wanted or len(info.classes) > 1:
        return wanted or ""
    return info.targets[0].name


def names_of(info: ModelInfo, target: str) -> dict[int, str]:
    """The name of the label for each value of a proposal; a target alone is answered with 1."""
    return {1: target} if target else {n: info.classes[n] for n in info.class_ids}


def with_labels(labels: LabelList, names: Iterable[str]) -> LabelList:
    """The list with a label of each name, added where it is missing."""
    for name in names:
        if labels.named(name) is None:
            labels = labels.added(name)
    return labels


def edit_of(
    case: Case,
    proposal: Proposal,
    ids: Mapping[int, int],
    *,
    index: int | None = None,
    over_hand: bool = False,
) -> tuple[Edit | None, int]:
    """What a proposal changes: never a locked label, nor what a person set or erased.

    Where the model had put one of its labels before and finds none now, it takes it back.

    Args:
        case: that the proposal is for.
        proposal: of one slice along its own axis.
        ids: value in the proposal -> label id.
        index: writes into this slice of the scan's own plane alone; None writes all.
        over_hand: True replaces what a person set or erased too.

    Returns:
        The edit, and how many voxels differ but were kept only because a person set or erased
        them; those of a locked label stay anyway and do not count.
    """
    whole = _box_of(proposal, case)
    box = whole if index is None else _in_slice(whole, case.scan.plane, index)
    if box.is_empty:
        return None, 0
    found = np.expand_dims(_as_labels(proposal, ids), proposal.plane)[_inside(box, whole)]
    old = case.label_map.array[box.slices]
    concerned = (found > 0) | np.isin(old, list(ids.values()))
    kept = 0
    if not over_hand:
        origins = case.label_map.origins.read_box(box)
        replaceable = ~np.isin([old, found], list(case.labels.locked_ids)).any(axis=0)
        kept = int(((origins == Origin.HAND) & concerned & (old != found) & replaceable).sum())
        concerned &= origins != Origin.HAND
    edit = case.label_map.make_edit(box, concerned, found, Origin.MODEL, case.labels.locked_ids)
    return edit, kept


def _as_labels(proposal: Proposal, ids: Mapping[int, int]) -> NDArray[np.uint8]:
    """A proposal's values as label ids."""
    table = np.zeros(256, dtype=np.uint8)
    for value, label_id in ids.items():
        table[value] = label_id
    return table[proposal.labels]


def _box_of(proposal: Proposal, case: Case) -> Box:
    """The voxels of a proposal's region."""
    whole = slice_box(case.scan.grid.shape, proposal.plane, proposal.index)
    start, stop = list(whole.start), list(whole.stop)
    axes = [axis for axis in range(3) if axis != proposal.plane]
    for axis, part in zip(axes, proposal.region, strict=True):
        start[axis], stop[axis], _ = part.indices(case.scan.grid.shape[axis])
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _in_slice(box: Box, plane: int, index: int) -> Box:
    """The part of a box that lies in one slice."""
    start, stop = list(box.start), list(box.stop)
    start[plane], stop[plane] = max(start[plane], index), min(stop[plane], index + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _inside(part: Box, whole: Box) -> tuple[slice, ...]:
    """Where a part lies, counted from the start of the whole."""
    return tuple(
        slice(a - zero, b - zero)
        for a, b, zero in zip(part.start, part.stop, whole.start, strict=True)
    )
