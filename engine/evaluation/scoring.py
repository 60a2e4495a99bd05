"""Scores of a model on pictures with known masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
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
    """One picture or volume and its mask.

    Attributes:
        name: the stem.
        image, mask: the files.
        slices: those of the scan's own plane that the mask tells about; None means all.
        box: the region that it tells about, or None for the whole.
    """

    name: str
    image: Path
    mask: Path
    slices: tuple[int, ...] | None = None
    box: Box | None = None

    def open(self) -> Volume:
        """The scan alone.

        Raises:
            UserError: it can't be read.
        """
        return open_case(self.image).scan

    def read(self) -> tuple[Volume, Labels]:
        """The scan, and its truth as class ids of the scan's shape.

        Values that are no class id (negative, or beyond 255) become background.

        Raises:
            UserError: a file can't be read, or picture and mask differ in size.
        """
        scan, mask = self.open(), open_truth(self.mask)
        if mask.is_colour or mask.grid.shape != scan.grid.shape:
            raise UserError(
                f"The mask {self.mask.name} does not have the size of {self.image.name}."
            )
        values = mask.real(mask.array).round()
        return scan, np.where((values >= 0) & (values <= 255), values, 0).astype(np.uint8)

    def indices(self, scan: Volume, axis: int) -> list[int]:
        """Slices along an axis that the mask tells about."""
        inside = (self.box or full_box(scan.grid.shape)).range_along(axis)
        chosen = None if self.slices is None or axis != scan.plane else {*self.slices}
        return [n for n in inside if chosen is None or n in chosen]


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
        UserError: a folder is missing, or a name has no picture or no mask, or two.
    """
    found: list[dict[str, list[Path]]] = []
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder.name}.", hint="Check the path.")
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and kind_by_name(p)]
        found.append(_by_stem(files))
    wanted = names if names is not None else [stem_of(p) for v in found[0].values() for p in v]
    for name in wanted:
        for files, folder in zip(found, (images, masks), strict=True):
            _check_file(files.get(name.casefold(), []), folder, name, split)
    chosen = ((name, *(files[name.casefold()][0] for files in found)) for name in wanted)
    return [Pair(name, image, mask) for name, image, mask in chosen]


def _by_stem(files: list[Path]) -> dict[str, list[Path]]:
    """Files by their stem in small letters, since some disks do not tell them apart."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(stem_of(file).casefold(), []).append(file)
    return found


def _check_file(files: list[Path], folder: Path, name: str, split: str) -> None:
    """There is exactly one file of a name, capital letters included."""
    if len(files) > 1:
        raise UserError(
            f"{folder.name} has {files[0].name} and {files[1].name}; it is not clear which of "
            f"them {name} is.",
            hint="Rename or remove one of them; the ending does not count.",
        )
    if not files or stem_of(files[0]) != name:
        source = f"{split} names {name}, but {folder.name}" if split else folder.name
        hint = f"There is {files[0].name}: capital letters count." if files else ""
        raise UserError(f"{source} has no file {name}.", hint=hint)


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
                scan, truth = pair.read()
                found = compare(segmenter, pair, scan, truth, targets, how, is_cancelled)
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
    answer = _answers(segmenter, requests_of(segmenter, pair, scan, how.seed), scan, is_cancelled)
    truth = _told(pair, scan, truth, slicing_axis(segmenter.info, scan))
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
    pair: Pair,
    scan: Volume,
    truth: Labels,
    targets: dict[str, Target],
    how: Comparison,
    is_cancelled: IsCancelled | None,
) -> dict[str, Figures]:
    """All slices of a case as one volume at the network's size; whole slices only."""
    del pair
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
