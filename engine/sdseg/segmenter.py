"""Slow to load, fast to ask: a model that turns slices of a scan into proposals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.domain.box import Box, full_box
from engine.domain.manifest import ModelUse
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import Cancelled, UserError
from engine.models.store import ModelEntry
from engine.models.suitability import needs_box
from engine.sdseg.devices import (
    Precision,
    autocast,
    choose_device,
    choose_precision,
    is_out_of_memory,
    repeatable,
)
from engine.sdseg.fit_check import FitResult, check_fit
from engine.sdseg.folder import load_model
from engine.sdseg.preprocess import (
    Placement,
    intensity_range,
    prepare,
    restore,
)

Progress = Callable[[int, int], None]
# Maps [C, size, size] on the network's square (one of a binary network, else one a class), and
# where the slice lies in it.
Answer = tuple[NDArray[np.float32], Placement]


class Segmenter:
    """A loaded model.

    Attributes:
        entry: which model.
        device, precision: where and how it computes; the device may fall back to the CPU.
        timings: seconds by stage since it was made: load, encode, unet, decode, and total (all
            of the work on slices, preparing and resampling included).
        batch: slices that the last request ran at once; memory may have lowered it.
        notes: what was done otherwise than asked (a smaller batch, another device).
    """

    def __init__(self, entry: ModelEntry, device: str = "auto", precision: str = "auto") -> None:
        started = time.perf_counter()
        self.entry = entry
        self.device = choose_device(device)
        self.precision: Precision = choose_precision(precision, self.device)
        self.network, self.info = load_model(entry.folder, self.device)
        self.timings = {"encode": 0.0, "unet": 0.0, "decode": 0.0, "total": 0.0}
        self.batch = self.default_batch
        self.timings["load"] = time.perf_counter() - started
        self.notes: list[str] = []

    @classmethod
    def load(cls, entry: ModelEntry, device: str = "auto", precision: str = "auto") -> Segmenter:
        """Loads a model.

        Raises:
            UserError: the model's files are damaged, or the device is not there.
        """
        return cls(entry, device, precision)

    @property
    def default_batch(self) -> int:
        """Slices at once where nobody asks for a number: the model's own, and one on a CPU."""
        return 1 if self.device.type == "cpu" else self.info.default_batch

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
            device=self.device.type,
            precision=self.precision,
            batch=self.batch,
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

        Args:
            request: what to segment.
            progress: called with (slices done, slices in all).
            is_cancelled: asked before each batch.

        Raises:
            Cancelled: asked to stop.
            UserError: the target is unknown, the slices lie outside the scan, or the model was
                not trained for so many steps.
        """
        target = self.target(request.target)
        self._check_steps(request.steps)
        slices = self._slices(request)
        values = intensity_range(request.scan, self.info.preprocessing, request.box, request.window)
        noise = self._noise(request)
        self.batch = request.batch or self.default_batch
        done = 0
        while done < len(slices):
            if is_cancelled and is_cancelled():
                raise Cancelled
            part = slices[done : done + self.batch]
            answers = self._batch_if_it_fits(request, part, values, noise)
            if answers is None:
                self.batch = self._make_room(self.batch)
                continue
            for index, probability in zip(part, answers, strict=True):
                yield self._proposal(request, index, probability, target)
            done += len(part)
            if progress:
                progress(done, len(slices))

    def _check_steps(self, steps: int) -> None:
        if steps > 1 and self.info.trained_timesteps == "last":
            raise UserError(
                f"{self.info.title} was trained for a single step.", hint="Leave --steps out."
            )

    def _slices(self, request: SegmentRequest) -> list[int]:
        axis, scan = request.axis, request.scan
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

    def _noise(self, request: SegmentRequest) -> Tensor:
        """Drawn once, in fp32, from the CPU generator, for every slice and device alike."""
        side = self.info.preprocessing.size // 8
        generator = torch.Generator().manual_seed(request.seed)
        return torch.randn((request.samples, 4, side, side), generator=generator)

    def _batch_if_it_fits(
        self, request: SegmentRequest, part: list[int], values: tuple[float, float], noise: Tensor
    ) -> list[Answer] | None:
        """As `_batch`, or None if memory ran out; by then the error's tensors are gone."""
        try:
            with self._clock("total"), repeatable(self.device):
                return self._batch(request, part, values, noise, self.batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    @torch.inference_mode()
    def _batch(
        self,
        request: SegmentRequest,
        part: list[int],
        values: tuple[float, float],
        noise: Tensor,
        size: int,
    ) -> list[Answer]:
        """Probabilities on the network's square for each slice; padded to a whole batch."""
        rules, axis = self.info.preprocessing, request.axis
        region = _region(request.scan, axis, request.box)
        prepared = [prepare(request.scan, n, region, rules, values, axis) for n in part]
        pictures = [picture for picture, _ in prepared]
        pictures += [pictures[-1]] * (size - len(pictures))
        batch = torch.from_numpy(np.stack(pictures)).to(self.device)
        with self._clock("encode"), autocast(self.device, self.precision):
            condition = self.network.condition(batch)
        condition = condition.float()
        total = torch.zeros(())
        temperature = self.info.softmax_temperature or 1.0
        for sample in noise:
            same = sample.expand(size, -1, -1, -1).to(self.device)
            start, conditions, classes = self.network.for_each_class(same, condition)
            with self._clock("unet"):  # fp32: at T-1 an error in the noise grows 38.7 times
                z0 = self.network.estimate_z0(start, conditions, classes, request.steps)
            with self._clock("decode"), autocast(self.device, self.precision):
                total = total + self.network.probabilities(z0, temperature).float().cpu()
        mean = (total / len(noise)).numpy()
        return [(mean[n], placement) for n, (_, placement) in enumerate(prepared)]

    def _proposal(
        self,
        request: SegmentRequest,
        index: int,
        answer: Answer,
        target: Target | None,
    ) -> Proposal:
        maps = np.stack([restore(one, answer[1]) for one in answer[0]])
        labels, probability = self._decide(maps, request.threshold, target)
        return Proposal(
            index=index,
            plane=request.axis,
            region=_region(request.scan, request.axis, request.box),
            labels=labels,
            probability=probability,
            model_sha256=self.entry.sha256,
            seed=request.seed,
        )

    def _decide(
        self, maps: NDArray[np.float32], threshold: float | None, target: Target | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels and foreground probability of the maps [C, rows, columns] on the native grid."""
        if len(maps) == 1:
            value = np.uint8(1 if target else min(self.info.classes))
            found = maps[0] > (0.5 if threshold is None else threshold)
            return np.where(found, value, np.uint8(0)), maps[0]
        if threshold is None:
            winner = maps.argmax(axis=0).astype(np.uint8)
        else:
            likeliest = maps[1:].argmax(axis=0).astype(np.uint8) + np.uint8(1)
            winner = np.where(1.0 - maps[0] > threshold, likeliest, np.uint8(0))
        if target is None:
            return winner, 1.0 - maps[0]
        wanted = list(target.class_ids)
        return np.isin(winner, wanted).astype(np.uint8), maps[wanted].sum(axis=0)

    def _make_room(self, size: int) -> int:
        """After running out of memory: half the batch, then the CPU."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size > 1:
            self.notes.append(f"memory was short: {size // 2} instead of {size} slices at once")
            return size // 2
        if self.device.type == "cpu":
            raise UserError(
                "There is not enough memory to segment one slice.",
                hint="Close other programs and try again.",
            )
        self.notes.append("the GPU's memory was short: went on with the CPU")
        self.device = torch.device("cpu")
        self.precision = "fp32"
        self.network.to(self.device)
        return size

    def _clock(self, stage: str) -> _Clock:
        return _Clock(self.timings, stage, self.device)


class _Clock:
    """Adds the time inside a `with` to a stage; waits for the GPU, which works behind."""

    def __init__(self, timings: dict[str, float], stage: str, device: torch.device) -> None:
        self.timings, self.stage, self.device = timings, stage, device

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.timings[self.stage] += time.perf_counter() - self._started


def _region(scan: Volume, axis: int, box: Box | None) -> tuple[slice, slice]:
    return (box or full_box(scan.grid.shape)).in_slice(axis)
