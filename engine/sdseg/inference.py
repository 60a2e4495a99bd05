"""Slices through the network: encoded once, sampled, decoded, within the memory there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.domain.requests import SegmentRequest
from engine.domain.targets import Target
from engine.errors import Cancelled, UserError
from engine.models.schema import ModelInfo
from engine.sdseg.condition_cache import ConditionCache, Latent, Setting
from engine.sdseg.devices import (
    Precision,
    autocast,
    free_memory,
    is_out_of_memory,
    repeatable,
)
from engine.sdseg.interruptible import interruptible
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.preprocess import Placement, prepare

Progress = Callable[[int, int], None]
# Passes through U-Net and decoder at once, where samples and classes multiply the slices.
ROWS_AT_ONCE = 8
SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class Answer:
    """What was found for one slice, on the network's square.

    Attributes:
        maps: float32 [C, size, size], mean over the samples: one of a binary network, else one a
            class.
        spread: float32 [size, size], standard deviation of the foreground; None for one sample.
        placement: where the slice lies in the square.
    """

    maps: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    placement: Placement


class Inference:
    """A network at work.

    Attributes:
        network, info: the model.
        device, precision: where and how it computes; the device may fall back to the CPU.
        batch: slices that the last request ran at once; memory may have lowered it.
        timings: seconds by stage since it was made: encode, unet, decode, and total (all of the
            work on slices, preparing included).
        notes: what was done otherwise than asked (a smaller batch, another device).
        latents: the condition latents that are kept.
    """

    def __init__(
        self, network: SDSegNetwork, info: ModelInfo, device: torch.device, precision: Precision
    ) -> None:
        self.network, self.info = network, info
        self.device = device
        self.precision: Precision = precision
        self.batch = self.default_batch
        self.timings = {"encode": 0.0, "unet": 0.0, "decode": 0.0, "total": 0.0}
        self.notes: list[str] = []
        self.latents = ConditionCache()
        self._rows = ROWS_AT_ONCE

    @property
    def default_batch(self) -> int:
        """Slices at once where nobody asks for a number: the model's own, and one on a CPU."""
        return 1 if self.device.type == "cpu" else self.info.default_batch

    def run(
        self,
        request: SegmentRequest,
        slices: Sequence[int],
        values: tuple[float, float],
        target: Target | None,
        progress: Progress | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """Answers slice by slice, in order.

        Args:
            request: what to segment.
            slices: those of its slices that are to be run.
            values: the real values that become -1 and 1.
            target: whose probability the spread is of; None means all classes.
            progress: called with (slices done, slices in all).
            is_cancelled: asked before each layer of the network.

        Raises:
            Cancelled: asked to stop.
            UserError: memory is short even for one slice.
        """
        noise = self.noise(request)
        self._fit_memory(request)
        done = 0
        while done < len(slices):
            if is_cancelled and is_cancelled():
                raise Cancelled
            part = slices[done : done + self.batch]
            with interruptible(self.network, is_cancelled):
                answers = self._if_it_fits(request, part, values, noise, target)
            if answers is None:
                self._make_room()
                continue
            yield from zip(part, answers, strict=True)
            done += len(part)
            if progress:
                progress(done, len(slices))

    def noise(self, request: SegmentRequest) -> Tensor:
        """[samples, 4, h, w] in fp32, drawn once on the CPU for all slices and devices."""
        side = self.info.preprocessing.size // 8
        generator = torch.Generator().manual_seed(request.seed)
        return torch.randn((request.samples, 4, side, side), generator=generator)

    def _if_it_fits(
        self,
        request: SegmentRequest,
        part: Sequence[int],
        values: tuple[float, float],
        noise: Tensor,
        target: Target | None,
    ) -> list[Answer] | None:
        """Answers for some slices, or None if memory ran out; the error's tensors are then gone."""
        try:
            with self._clock("total"), repeatable(self.device), torch.inference_mode():
                conditions, placements = self._conditions(request, part, values)
                return self._sampled(request, conditions, placements, noise, target)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _conditions(
        self, request: SegmentRequest, part: Sequence[int], values: tuple[float, float]
    ) -> tuple[Tensor, list[Placement]]:
        """Condition latents fp32 [batch, C, h, w], padded to a whole batch, from the cache or anew.

        While a series loads nothing is kept: a slice's neighbours may still come.
        """
        scan = request.scan
        setting = Setting(
            request.axis, request.box, values, self.device.type, self.precision, self.batch,
            torch.get_num_threads(),
        )  # fmt: skip
        kept = self.latents.of(scan, setting) if scan.loaded.all() else {}
        fresh = [n for n in part if n not in kept]
        found = {n: kept[n] for n in part if n in kept}
        if fresh:
            found |= self._encode(request, fresh, values)
            for n in fresh:
                self.latents.keep(kept, n, found[n])
        latents = [found[n][0] for n in part]
        latents += [latents[-1]] * (self.batch - len(part))
        return torch.stack(latents), [found[n][1] for n in part]

    def _encode(
        self, request: SegmentRequest, part: Sequence[int], values: tuple[float, float]
    ) -> dict[int, Latent]:
        rules, axis = self.info.preprocessing, request.axis
        region = request.region
        prepared = [prepare(request.scan, n, region, rules, values, axis) for n in part]
        pictures = [picture for picture, _ in prepared]
        pictures += [pictures[-1]] * (self.batch - len(pictures))
        batch = torch.from_numpy(np.stack(pictures)).to(self.device)
        with self._clock("encode"), autocast(self.device, self.precision):
            latents = self.network.condition(batch)
        latents = latents.float().cpu()
        return {n: (latents[k].clone(), prepared[k][1]) for k, n in enumerate(part)}

    def _sampled(
        self,
        request: SegmentRequest,
        conditions: Tensor,
        placements: list[Placement],
        noise: Tensor,
        target: Target | None,
    ) -> list[Answer]:
        """The mean over the noises, and how far they spread."""
        count = self.network.class_count or 1
        together = max(1, self._rows // (count * len(conditions)))
        total, first, second = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for some in noise.split(together):
            maps = self._probabilities(conditions, some, request.steps)
            total = total + maps.sum(dim=1)
            if len(noise) > 1:
                wanted = foreground(maps.movedim(2, 0), target, self.info.class_ids).double()
                first, second = first + wanted.sum(dim=1), second + (wanted**2).sum(dim=1)
        mean = (total / len(noise)).numpy()
        if len(noise) == 1:
            return [Answer(mean[n], None, place) for n, place in enumerate(placements)]
        variance = second / len(noise) - (first / len(noise)) ** 2
        spread = variance.clamp(min=0.0).sqrt().float().numpy()
        return [Answer(mean[n], spread[n], place) for n, place in enumerate(placements)]

    def _probabilities(self, conditions: Tensor, noise: Tensor, steps: int) -> Tensor:
        """[B, S, C, size, size] on the CPU, for B condition latents and S noises."""
        slices, samples = len(conditions), len(noise)
        starts = noise.repeat(slices, 1, 1, 1)
        repeated = conditions.repeat_interleave(samples, dim=0)
        rows = self.network.for_each_class(starts, repeated)
        scores: list[Tensor] = []
        lengths = pass_lengths(slices, len(rows[0]) // slices, self._rows)
        for start, condition, classes in _chunks(rows, lengths, self.device):
            with self._clock("unet"):  # fp32: at T-1 an error in the noise grows 38.7 times
                z0 = self.network.estimate_z0(start, condition, classes, steps)
            with self._clock("decode"), autocast(self.device, self.precision):
                scores.append(self.network.scores(z0).float().cpu())
        maps = self.network.from_scores(torch.cat(scores), self.info.softmax_temperature or 1.0)
        return maps.unflatten(0, (slices, samples))

    def _fit_memory(self, request: SegmentRequest) -> None:
        """Sets the wanted batch, or what free memory holds of it; a system that is short kills."""
        wanted = request.batch or self.default_batch
        free = free_memory(self.device)
        per_slice = self.network.bytes_per_slice(self.info.preprocessing.size)
        most = max(1, int(free * SHARE_OF_MEMORY) // per_slice)
        self.batch = min(wanted, most)
        self._rows = min(max(self.batch, ROWS_AT_ONCE), most)
        passes = self.batch * request.samples * (self.network.class_count or 1)
        if most < wanted:
            self.notes.append(f"memory is short: {most} instead of {wanted} slices at once")
        elif most < min(passes, ROWS_AT_ONCE):
            self.notes.append(f"memory is short: {most} instead of {ROWS_AT_ONCE} passes at once")

    def _make_room(self) -> None:
        """After running out of memory: half the batch, half the passes at once, then the CPU."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.batch > 1:
            half = self.batch // 2
            self.notes.append(f"memory was short: {half} instead of {self.batch} slices at once")
            self.batch, self._rows = half, max(1, self._rows // 2)
        elif self._rows > 1:
            self._rows //= 2
        elif self.device.type == "cpu":
            raise UserError(
                "There is not enough memory to segment one slice.",
                hint="Close other programs and try again.",
            )
        else:
            self.notes.append("the GPU's memory was short: went on with the CPU")
            self.device = torch.device("cpu")
            self.precision = "fp32"
            self.network.to(self.device)
            self._rows = ROWS_AT_ONCE

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


def foreground(maps: Any, target: Target | None, class_ids: tuple[int, ...]) -> Any:
    """Foreground probability of the maps of the classes, or of a binary network.

    Args:
        maps: [C, ...], an array or a tensor.
        target: whose probability is wanted; None means all classes.
        class_ids: of the maps behind the background's.

    Returns:
        [...], of the kind of `maps`.
    """
    if len(maps) == 1:
        return maps[0]
    if target is None:
        return 1.0 - maps[0]
    return maps[[1 + class_ids.index(n) for n in target.class_ids]].sum(0)


def pass_lengths(slices: int, rows: int, most: int) -> list[int]:
    """Rows of each pass through U-Net and decoder, for a batch of slices with `rows` rows each.

    A kernel is chosen by the length of its batch. Rows of every slice go in passes of the same
    lengths, so that the bytes of an answer don't depend on the slice's place among its neighbours.

    Args:
        slices: of the batch.
        rows: samples and classes of each slice.
        most: rows at once.
    """
    if rows > most:
        rest = [rows % most] if rows % most else []
        return ([most] * (rows // most) + rest) * slices
    together = max(n for n in range(1, slices + 1) if slices % n == 0 and n * rows <= most)
    return [together * rows] * (slices // together)


def _chunks(
    rows: tuple[Tensor, Tensor, Tensor | None], lengths: list[int], device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Some rows at a time of noise, condition and class ids, on a device."""
    start, condition, classes = rows
    ids = [None] * len(lengths) if classes is None else classes.split(lengths)
    parts = zip(start.split(lengths), condition.split(lengths), ids, strict=True)
    for noise, latent, some in parts:
        yield noise.to(device), latent.to(device), None if some is None else some.to(device)
