"""Scores of a segmenter: as the pictures are, as other devices might have made them, and empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from benchmarks.peers.shifts import shifts_for
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.evaluation.metrics import dice
from engine.evaluation.pairs import Labels, Pair, naming
from engine.evaluation.scores import interval
from engine.evaluation.scoring import segment_whole, target_mask
from engine.evaluation.target_free import false_finds

Targets = Mapping[str, Target]
CaseScores = dict[str, dict[str, float]]  # case -> target -> Dice on the case's own grid
IsCancelled = Callable[[], bool]
DIGITS = 5


def score_plain(
    segmenter: Any, pairs: list[Pair], targets: Targets, is_cancelled: IsCancelled | None = None
) -> CaseScores:
    """Dice of each case and target."""
    found: CaseScores = {}
    for pair in pairs:
        with naming(pair):
            scan, truth = pair.read()
            found[pair.name] = _dice_of(segmenter, scan, truth, targets, is_cancelled)
    return found


def score_shifted(
    segmenter: Any, pairs: list[Pair], targets: Targets, is_cancelled: IsCancelled | None = None
) -> dict[str, CaseScores]:
    """Dice under each shift: name of the shift -> case -> target."""
    found: dict[str, CaseScores] = {}
    for pair in pairs:
        with naming(pair):
            scan, truth = pair.read()
            for shift in shifts_for(scan):
                shifted = shift.apply(scan, pair.name)
                scores = _dice_of(segmenter, shifted, truth, targets, is_cancelled)
                found.setdefault(shift.name, {})[pair.name] = scores
    return found


def _dice_of(
    segmenter: Any,
    scan: Volume,
    truth: Labels,
    targets: Targets,
    is_cancelled: IsCancelled | None,
) -> dict[str, float]:
    answer = segment_whole(segmenter, scan, is_cancelled=is_cancelled)
    return {
        name: round(dice(target_mask(segmenter, name, answer), target.of(truth)), DIGITS)
        for name, target in targets.items()
    }


def case_means(scores: CaseScores) -> dict[str, float]:
    """Mean over the targets of each case."""
    return {case: fmean(targets.values()) for case, targets in scores.items()}


def mean_dice(scores: CaseScores) -> float:
    """Mean over targets, then over cases."""
    return round(fmean(case_means(scores).values()), DIGITS)


def summary(scores: CaseScores) -> dict[str, Any]:
    """Means, the mean's 95 % bootstrap interval over cases, and every case."""
    names = next(iter(scores.values()))
    return {
        "dice": mean_dice(scores),
        "interval": interval(list(case_means(scores).values())),
        "targets": {n: round(fmean(case[n] for case in scores.values()), DIGITS) for n in names},
        "cases": scores,
    }


def score_all(
    segmenter: Any,
    pairs: list[Pair],
    targets: Targets,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Plain scores, scores under every shift, and finds where there is no target."""
    plain = score_plain(segmenter, pairs, targets, is_cancelled)
    shifted = score_shifted(segmenter, pairs, targets, is_cancelled)
    values = tuple(sorted({n for t in targets.values() for n in t.class_ids}))
    finds = false_finds(segmenter, pairs, values, is_cancelled)
    shifts = {name: mean_dice(scores) for name, scores in shifted.items()}
    return {
        "test": summary(plain),
        "shifts": shifts,
        "shifted_dice": round(fmean(shifts.values()), DIGITS),
        "shifted_cases": {
            case: round(fmean(case_means(scores)[case] for scores in shifted.values()), DIGITS)
            for case in plain
        },
        "target_free": {"views": finds.views, "found": finds.found, "share": finds.share},
    }
