"""Figures of a set of cases: means, bootstrap intervals, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Figures = dict[str, float | None]
Definition = Literal["native", "authors"]
FIGURES = ("dice", "iou", "hd95")
RESAMPLES, RESAMPLES_AT_ONCE = 10_000, 100
SEED = 0


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of what is defined; None if nothing is."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def interval(values: Sequence[float | None]) -> list[float] | None:
    """95 % bootstrap interval (percentile method) of the mean over cases.

    Args:
        values: one a case; None where the figure is undefined. Cases are drawn with it, and the
            mean of a draw goes over what is defined in it.

    Returns:
        [low, high], the same at every call; None for fewer than two defined values.
    """
    cases = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if np.isfinite(cases).sum() < 2:
        return None
    random = np.random.default_rng(SEED)
    means = [
        _means(cases[random.integers(0, len(cases), (RESAMPLES_AT_ONCE, len(cases)))])
        for _ in range(RESAMPLES // RESAMPLES_AT_ONCE)
    ]
    low, high = np.nanpercentile(np.concatenate(means), (2.5, 97.5))
    return [float(low), float(high)]


def _means(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row without its NaN; NaN for a row that has nothing else."""
    defined = np.isfinite(draws)
    with np.errstate(invalid="ignore"):
        return np.where(defined, draws, 0.0).sum(axis=1) / defined.sum(axis=1)


@dataclass
class Scores:
    """Dice, IoU and HD95 of each case and target.

    Attributes:
        cases: one a case: name -> {target -> {"dice", "iou", "hd95"}}; a distance is None where
            it is undefined or was not measured.
        units: case -> unit of its distances ("mm" or "px"); empty if none were measured.
        definition: how masks were compared.
        mask_values: the values that occur in the truths.
        remarks: what was odd about their files.
    """

    cases: dict[str, dict[str, Figures]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    definition: Definition = "native"
    mask_values: set[int] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str | None:
        """The unit of all distances; None if they were not measured or the cases' differ."""
        found = set(self.units.values())
        return found.pop() if len(found) == 1 else None

    @property
    def targets(self) -> list[str]:
        """Names of the targets that were scored."""
        return list(next(iter(self.cases.values()), {}))

    def mean(self, figure: str) -> float | None:
        """Mean over a case's targets, then over the cases; None if it is nowhere defined."""
        return mean_of([row[figure] for row in self._case_means()])

    def as_json(self) -> dict[str, Any]:
        """As `evaluate --json` writes it."""
        per_target = {
            name: self._summary([targets[name] for targets in self.cases.values()])
            for name in self.targets
        }
        mean = self._summary(self._case_means())
        if self.units:
            mean["hd95_undefined"] = sum(row["hd95_undefined"] for row in per_target.values())
        return {
            "mean": mean,
            "targets": per_target,
            "cases": [self._case_json(name) for name in self.cases],
            "definition": self.definition,
            "unit": self.unit,
        }

    def _case_means(self) -> list[Figures]:
        return [
            {figure: mean_of([x[figure] for x in targets.values()]) for figure in FIGURES}
            for targets in self.cases.values()
        ]

    def _summary(self, rows: list[Figures]) -> dict[str, Any]:
        columns = {figure: [row[figure] for row in rows] for figure in FIGURES}
        undefined = sum(value is None for value in columns["hd95"]) if self.units else None
        if self.unit is None:  # millimetres and pixels have no common mean
            columns["hd95"] = []
        return {
            **{figure: mean_of(values) for figure, values in columns.items()},
            "hd95_undefined": undefined,
            "interval": {figure: interval(values) for figure, values in columns.items()},
        }

    def _case_json(self, name: str) -> dict[str, Any]:
        return {"case": name, "unit": self.units.get(name), "targets": self.cases[name]}
