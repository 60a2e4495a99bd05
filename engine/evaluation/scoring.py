"""Scores of a model on pictures with known masks, on their own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.evaluation.metrics import dice, iou
from engine.io import open_case
from engine.io.kinds import kind_by_name, stem_of
from engine.models.suitability import slicing_axis
from engine.sdseg.segmenter import Segmenter


@dataclass(frozen=True)
class Pair:
    """One picture or volume and its mask."""

    name: str
    image: Path
    mask: Path


@dataclass
class Scores:
    """Dice and IoU of each case and target.

    Attributes:
        cases: one a case: name -> {target -> {"dice", "iou", "hd95"}}; distances are not measured
            yet and stand as None.
    """

    cases: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)

    def mean(self, figure: str) -> float:
        """Mean over a case's targets, then over the cases."""
        rows = [[x[figure] or 0.0 for x in targets.values()] for targets in self.cases.values()]
        return float(np.mean([np.mean(row) for row in rows]))

    def as_json(self) -> dict[str, Any]:
        """As `evaluate --json` writes it."""
        names = next(iter(self.cases.values())).keys()
        per_target = {
            name: {
                figure: float(np.mean([c[name][figure] or 0.0 for c in self.cases.values()]))
                for figure in ("dice", "iou")
            }
            | {"hd95": None}
            for name in names
        }
        mean = {"dice": self.mean("dice"), "iou": self.mean("iou"), "hd95": None}
        cases = [{"case": name, "targets": targets} for name, targets in self.cases.items()]
        return {"mean": mean, "targets": per_target, "cases": cases}


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
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> Scores:
    """Segments every case whole and compares each target's mask with the truth.

    Args:
        segmenter: the model.
        pairs: pictures or volumes and their masks (class ids).
        targets: name of a target of the model -> the mask values that make it up in the truth.
        progress: called with (cases done, cases in all).
        seed: of the starting noise.

    Raises:
        UserError: a file can't be read, or picture and mask differ in size.
    """
    scores = Scores()
    for number, pair in enumerate(pairs):
        scan, mask = open_case(pair.image).scan, open_case(pair.mask).scan
        if mask.is_colour or mask.grid.shape != scan.grid.shape:
            raise UserError(
                f"The mask {pair.mask.name} does not have the size of {pair.image.name}."
            )
        truth = mask.real(mask.array).round().astype(np.uint8)
        scores.cases[pair.name] = {
            name: _score(segment_whole(segmenter, scan, name, seed), target.of(truth))
            for name, target in targets.items()
        }
        if progress:
            progress(number + 1, len(pairs))
    return scores


def segment_whole(
    segmenter: Segmenter, scan: Volume, target: str, seed: int = 0
) -> NDArray[np.bool_]:
    """The target's mask of a whole scan, bool ``[k, j, i]``."""
    axis = slicing_axis(segmenter.info, scan)
    request = SegmentRequest(
        scan, range(scan.grid.shape[axis]), target=target, plane=axis, seed=seed
    )
    answer = np.zeros(scan.grid.shape, dtype=bool)
    for proposal in segmenter.segment(request):
        answer[(slice(None),) * axis + (proposal.index,)][proposal.region] = proposal.labels > 0
    return answer


def _score(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float | None]:
    return {"dice": dice(answer, truth), "iou": iou(answer, truth), "hd95": None}
