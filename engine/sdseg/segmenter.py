"""Slow to load, fast to ask: a model that turns slices of a scan into proposals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
from engine.domain.manifest import ModelUse
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import AXIS_PLANE, Volume
from engine.errors import UserError
from engine.models.store import ModelEntry
from engine.models.suitability import needs_box
from engine.sdseg.devices import choose_device, choose_precision, is_out_of_memory
from engine.sdseg.fit_check import FitResult, check_fit
from engine.sdseg.folder import load_model
from engine.sdseg.inference import Answer, Inference, Progress, foreground
from engine.sdseg.preprocess import intensity_range, restore

if TYPE_CHECKING:
    import torch

    from engine.models.schema import ModelInfo
    from engine.sdseg.network import SDSegNetwork


class Segmenter:
    """A loaded model.

    Attributes:
        entry, info: which model.
        inference: its network at work; it knows device, precision, batch and what was done
            otherwise than asked.
        timings: seconds by stage since it was made: load, encode, unet, decode, and total.
    """

    def __init__(self, entry: ModelEntry, device: str = "auto", precision: str = "auto") -> None:
        started = time.perf_counter()
        self.entry = entry
        where = choose_device(device)
        kind, notes = choose_precision(precision, where), []
        loaded = _load_if_it_fits(entry, where)
        if loaded is None and where.type != "cpu":
            where, kind = choose_device("cpu"), "fp32"
            notes = ["the GPU's memory was short: the model went to the CPU"]
            loaded = _load_if_it_fits(entry, where)
        if loaded is None:
            raise UserError(
                f"There is not enough memory for {entry.title}.",
                hint="Close other programs and try again.",
            )
        network, self.info = loaded
        self.inference = Inference(network, self.info, where, kind)
        self.inference.notes += notes
        self.timings = self.inference.timings
        self.timings["load"] = time.perf_counter() - started

    @classmethod
    def load(cls, entry: ModelEntry, device: str = "auto", precision: str = "auto") -> Segmenter:
        """Loads a model.

        Raises:
            UserError: the model's files are damaged, or the device is not there.
        """
        return cls(entry, device, precision)

    def target(self, name: str) -> Target | None:
        """The target of this name; None for "" (class ids).

        Raises:
            UserError: the model has no such target.
        """
        if not name:
            return None
        for target in self.info.targets:
            if target.name == name:
                return Target(target.name, target.class_ids)
        names = ", ".join(t.name for t in self.info.targets)
        raise UserError(f"{self.info.title} does not find '{name}'.", hint=f"It finds: {names}.")

    def use(self, request: SegmentRequest) -> ModelUse:
        """What a manifest says of the last request."""
        return ModelUse(
            name=self.info.name,
            sha256=self.entry.sha256,
            target=request.target,
            seed=request.seed,
            threshold=request.threshold,
            samples=request.samples,
            steps=request.steps,
            device=self.inference.device.type,
            precision=self.inference.precision,
            batch=self.inference.batch,
            plane=request.axis,
            box=(request.box.start, request.box.stop) if request.box else None,
            window=request.window,
            fit=self.info.preprocessing.fit,
            size=self.info.preprocessing.size,
        )

    def needs_box(self, scan: Volume, box: Box | None) -> bool:
        """True if a scan (or box) is much larger than what the model was trained on."""
        return needs_box(self.info, scan, box)

    def fit_distance(
        self, scan: Volume, slices: Sequence[int] | None = None, box: Box | None = None
    ) -> FitResult:
        """Whether the model fits the scan; see `engine.sdseg.fit_check.check_fit`."""
        return check_fit(self.entry, scan, slices, box)

    def segment(
        self,
        request: SegmentRequest,
        progress: Progress | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Proposal]:
        """Answers slice by slice, in order; slices that are not loaded are left out.

        Cut along another axis than the scan's own, a slice crosses those that are not loaded:
        there the answer is empty.

        Args:
            request: what to segment.
            progress: called with (slices done, slices in all).
            is_cancelled: asked before each layer of the network.

        Raises:
            Cancelled: asked to stop.
            UserError: the target is unknown, the slices lie outside the scan or unevenly in the
                way of the plane, or the model was not trained for so many steps.
        """
        target = self.target(request.target)
        for index, answer in self._answers(request, target, progress, is_cancelled):
            yield self._proposal(request, index, answer, target)

    def squares(
        self,
        request: SegmentRequest,
        progress: Progress | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """As `segment`, but the probabilities on the network's own square.

        Returns:
            (slice, float32 [C, size, size]): one map of a binary network, else one a class, the
            background's first.
        """
        target = self.target(request.target)
        for index, answer in self._answers(request, target, progress, is_cancelled):
            yield index, answer.maps

    def _answers(
        self,
        request: SegmentRequest,
        target: Target | None,
        progress: Progress | None,
        is_cancelled: Callable[[], bool] | None,
    ) -> Iterator[tuple[int, Answer]]:
        self._check_steps(request.steps)
        slices = self._slices(request)
        values = intensity_range(request.scan, self.info.preprocessing, request.box, request.window)
        return self.inference.run(request, slices, values, target, progress, is_cancelled)

    def _check_steps(self, steps: int) -> None:
        if steps > 1 and self.info.trained_timesteps == "last":
            raise UserError(
                f"{self.info.title} was trained for a single step.", hint="Leave --steps out."
            )

    def _slices(self, request: SegmentRequest) -> list[int]:
        axis, scan = request.axis, request.scan
        if axis != scan.plane and not scan.is_even:
            raise UserError(
                f"The slices lie unevenly: {AXIS_PLANE[axis]} slices across them can't be "
                "segmented.",
                hint=f"Choose a model that works on {AXIS_PLANE[scan.plane]} slices.",
            )
        span = (request.box or full_box(scan.grid.shape)).range_along(axis)
        if (
            request.slices
            and not 0 <= min(request.slices) <= max(request.slices) < (scan.grid.shape[axis])
        ):
            raise UserError(
                f"The scan has slices 0 to {scan.grid.shape[axis] - 1}, "
                f"not {min(request.slices)} to {max(request.slices)}."
            )
        chosen = [n for n in request.slices if n in span]
        return [n for n in chosen if scan.loaded[n]] if axis == scan.plane else chosen

    def _proposal(
        self, request: SegmentRequest, index: int, answer: Answer, target: Target | None
    ) -> Proposal:
        maps = np.stack([restore(one, answer.placement) for one in answer.maps])
        labels, probability = self._decide(maps, request.threshold, target)
        stability = None if answer.spread is None else restore(answer.spread, answer.placement)
        missing = _not_loaded(request)
        for values in (labels, probability, stability):
            if missing is not None and values is not None:
                values[missing] = 0
        return Proposal(
            index=index,
            plane=request.axis,
            region=request.region,
            labels=labels,
            probability=probability,
            model_sha256=self.entry.sha256,
            seed=request.seed,
            stability=stability,
        )

    def _decide(
        self, maps: NDArray[np.float32], threshold: float | None, target: Target | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels and foreground probability of the maps [C, rows, columns] on the native grid."""
        ids = self.info.class_ids
        probability = foreground(maps, target, ids)
        if len(maps) == 1:
            value = np.uint8(1 if target else ids[0])
            found = probability > (0.5 if threshold is None else threshold)
            return np.where(found, value, np.uint8(0)), probability
        values = np.array((0, *ids), dtype=np.uint8)
        if threshold is None:
            winner = values[maps.argmax(axis=0)]
        else:
            likeliest = values[1:][maps[1:].argmax(axis=0)]
            winner = np.where(1.0 - maps[0] > threshold, likeliest, np.uint8(0))
        if target is None:
            return winner, probability
        return np.isin(winner, list(target.class_ids)).astype(np.uint8), probability


def _load_if_it_fits(
    entry: ModelEntry, device: torch.device
) -> tuple[SDSegNetwork, ModelInfo] | None:
    """The network on a device, or None if memory ran out; the error's tensors are then gone."""
    try:
        return load_model(entry.folder, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _not_loaded(request: SegmentRequest) -> tuple[slice | NDArray[np.intp], ...] | None:
    """The rows or columns of a slice's region that were never measured; None if there are none."""
    scan, axis = request.scan, request.axis
    if axis == scan.plane or scan.loaded.all():
        return None
    span = (request.box or full_box(scan.grid.shape)).slices[scan.plane]
    missing = np.flatnonzero(~scan.loaded[span])
    is_rows = [a for a in range(3) if a != axis].index(scan.plane) == 0
    return (missing,) if is_rows else (slice(None), missing)
