"""Scores of a model on pictures with known masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import Cancelled, UserError
from engine.evaluation.metrics import authors_dice, authors_iou, dice, hd95, iou
from engine.evaluation.scores import Figures, Scores
from engine.evaluation.squares import square_labels, truth_in_square
from engine.io import open_case, open_truth
from engine.io.kinds import kind_by_name, stem_of
from engine.models.suitability import slicing_axis
from engine.sdseg.segmenter import Segmenter

Labels = NDArray[np.uint8]
Progress = Callable[[int, int], object]
OnError = Callable[["Pair", UserError], object]
IsCancelled = Callable[[], bool]


@dataclass(frozen=True)
class Pair:
    """One picture or volume and its mask."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Comparison:
    """How answers and truths are compared.

    Attributes:
        seed: of the starting noise.
        distances: HD95 too, for which MONAI has to be imported.
        authors: as the authors' script does it: at the network's size, with its own Dice and IoU
            and no distances; else on the scan's own grid.
    """

    seed: int = 0
    distances: bool = False
    authors: bool = False


def read_names(split: Path) -> list[str]:
    """The stems a split file lists, one a line.

    Raises:
        UserError: it can't be read or is empty.
    """
    try:
        lines = split.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"The split file {split.name} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"The split file {split.name} is not a text file.", hint="It lists stems, one a line."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"The split file {split.name} lists no cases.")
    return names


def find_pairs(images: Path, masks: Path, names: list[str] | None, split: str = "") -> list[Pair]:
    """Picture and mask of each name, by stem; without names, of every picture.

    Raises:
        UserError: a folder is missing, or a name has no picture or no mask.
    """
    found: list[dict[str, Path]] = []
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder.name}.", hint="Check the path.")
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and kind_by_name(p)]
        found.append({stem_of(p): p for p in files})
    wanted = names if names is not None else list(found[0])
    for name in wanted:
        for files, folder in zip(found, (images, masks), strict=True):
            if name not in files:
                source = f"{split} names {name}, but {folder.name}" if split else folder.name
                raise UserError(f"{source} has no file {name}.")
    return [Pair(name, found[0][name], found[1][name]) for name in wanted]


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
    compare = _compare_squares if how.authors else _compare_natively
    for number, pair in enumerate(pairs):
        try:
            with naming(pair):
                scan, truth = read_pair(pair)
                found = compare(segmenter, scan, truth, targets, how, is_cancelled)
        except UserError as error:
            if on_error is None:
                raise
            on_error(pair, error)
        else:
            scores.cases[pair.name] = found
            scores.mask_values |= set(np.flatnonzero(np.bincount(truth.reshape(-1))).tolist())
            if how.distances and not how.authors:
                scores.units[pair.name] = "mm" if scan.grid.calibrated else "px"
        if progress:
            progress(number + 1, len(pairs))
    return scores


@contextmanager
def naming(pair: Pair) -> Iterator[None]:
    """Errors inside say which case they are about."""
    try:
        yield
    except UserError as error:
        if pair.image.name in error.message or pair.mask.name in error.message:
            raise
        raise UserError(f"{pair.image.name}: {error.message}", hint=error.hint) from error


def read_pair(pair: Pair) -> tuple[Volume, Labels]:
    """The scan of a pair, and its truth as class ids of the scan's shape.

    Values that are no class id (negative, or beyond 255) become background.

    Raises:
        UserError: a file can't be read, or picture and mask differ in size.
    """
    scan, mask = open_case(pair.image).scan, open_truth(pair.mask)
    if mask.is_colour or mask.grid.shape != scan.grid.shape:
        raise UserError(f"The mask {pair.mask.name} does not have the size of {pair.image.name}.")
    values = mask.real(mask.array).round()
    return scan, np.where((values >= 0) & (values <= 255), values, 0).astype(np.uint8)


def whole_request(segmenter: Segmenter, scan: Volume, seed: int) -> SegmentRequest:
    """Every slice along the model's plane; the answer is class ids."""
    axis = slicing_axis(segmenter.info, scan)
    return SegmentRequest(scan, range(scan.grid.shape[axis]), plane=axis, seed=seed)


def segment_whole(
    segmenter: Segmenter, scan: Volume, seed: int = 0, is_cancelled: IsCancelled | None = None
) -> Labels:
    """Class ids of a whole scan, uint8 ``[k, j, i]``.

    Raises:
        Cancelled: asked to stop.
    """
    request = whole_request(segmenter, scan, seed)
    answer = np.zeros(scan.grid.shape, dtype=np.uint8)
    for proposal in segmenter.segment(request, is_cancelled=is_cancelled):
        where = (slice(None),) * request.axis + (proposal.index,)
        answer[where][proposal.region] = proposal.labels
    return answer


def _compare_natively(
    segmenter: Segmenter,
    scan: Volume,
    truth: Labels,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> dict[str, Figures]:
    answer = segment_whole(segmenter, scan, how.seed, is_cancelled)
    spacing = scan.grid.spacing if scan.grid.calibrated else None
    found: dict[str, Figures] = {}
    for name, in_truth in targets.items():
        if is_cancelled and is_cancelled():
            raise Cancelled
        a, b = target_mask(segmenter, name, answer), in_truth.of(truth)
        distance = hd95(a, b, spacing) if how.distances else None
        found[name] = {"dice": dice(a, b), "iou": iou(a, b), "hd95": distance}
    return found


def _compare_squares(
    segmenter: Segmenter,
    scan: Volume,
    truth: Labels,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> dict[str, Figures]:
    """All slices of a case as one volume at the network's size."""
    request = whole_request(segmenter, scan, how.seed)
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
