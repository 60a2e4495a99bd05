"""The one lazy door to torch: what the window asks the engine, always on a worker thread."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine.domain.box import Box
from engine.domain.manifest import ModelUse
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.volume import Volume
from engine.models.schema import ModelInfo
from engine.models.store import ModelEntry

if TYPE_CHECKING:
    from engine.sdseg.segmenter import FitResult, Segmenter
    from engine.training.plan import Plan


@dataclass(frozen=True)
class ModelChoice:
    """Which model suits a case.

    Attributes:
        name: of the best one that fits, or "".
        results: what was found for each model that was asked, by name.
    """

    name: str
    results: dict[str, FitResult] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentSummary:
    """What a finished segmentation reports."""

    slices: int
    seconds: float
    model_use: ModelUse
    notes: tuple[str, ...] = ()


class EngineDoor:
    """Keeps loaded models; its methods run in the engine's worker thread only.

    Except `plan_finetuning`, which needs neither them nor torch and runs in the training's.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Segmenter] = {}
        self._measured: tuple[Volume, Box | None, list[str], ModelChoice] | None = None

    def load(self, entry: ModelEntry) -> Segmenter:
        """The loaded model; the first call imports torch (about two seconds).

        Raises:
            UserError: the model is damaged.
        """
        _import_engine()
        from engine.sdseg.segmenter import Segmenter

        if entry.sha256 not in self._loaded:
            self._loaded[entry.sha256] = Segmenter.load(entry)
        return self._loaded[entry.sha256]

    def choose(
        self,
        scan: Volume,
        box: Box | None,
        entries: Sequence[ModelEntry],
        is_cancelled: Callable[[], bool],
    ) -> ModelChoice:
        """The model that fits a scan best, measured; what was measured last is not measured again.

        Raises:
            Cancelled: asked to stop.
            UserError: a model is damaged.
        """
        names = [entry.sha256 for entry in entries]
        if self._measured is not None and scan.loaded.all():
            known_scan, known_box, known_names, choice = self._measured
            if known_scan is scan and (known_box, known_names) == (box, names):
                return choice
        _import_engine()
        from engine.errors import Cancelled
        from engine.sdseg.choose import choose_model

        def load(entry: ModelEntry) -> Segmenter:
            if is_cancelled():
                raise Cancelled
            return self.load(entry)

        chosen, results = choose_model(scan, box, entries, load)
        choice = ModelChoice(chosen.info.name if chosen else "", results)
        self._measured = (scan, box, names, choice)
        return choice

    def check_fit(self, scan: Volume, box: Box | None, entry: ModelEntry) -> FitResult:
        """Whether one model fits a scan."""
        _import_engine()
        from engine.sdseg.fit_check import check_fit

        return check_fit(entry, scan, box=box)

    def segment(
        self,
        request: SegmentRequest,
        entry: ModelEntry,
        on_proposal: Callable[[Proposal], None],
        progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> SegmentSummary:
        """Segments slice by slice.

        Raises:
            Cancelled: asked to stop.
            UserError: the model is damaged or the request can't be met.
        """
        import time

        segmenter = self.load(entry)
        started = time.perf_counter()
        count = 0
        segmenter.inference.notes.clear()
        for proposal in segmenter.segment(request, progress, is_cancelled):
            on_proposal(proposal)
            count += 1
        seconds = time.perf_counter() - started
        return SegmentSummary(
            count, seconds, segmenter.use(request), tuple(segmenter.inference.notes)
        )

    @staticmethod
    def plan_finetuning(project: Path, info: ModelInfo) -> Plan:
        """Whom a model would learn from, and check itself with.

        Raises:
            UserError: the project can't be read, or has not enough to learn from.
        """
        from engine.training.plan import plan

        return plan(project, info)


@cache
def _import_engine() -> None:
    """Imports torch and takes its objects, which stay for good, out of every later collection.

    A full collection runs in the GUI thread, and would look at hundreds of thousands of them.
    """
    import engine.sdseg.segmenter  # noqa: F401

    gc.freeze()
