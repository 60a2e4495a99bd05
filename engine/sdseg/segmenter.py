"""Slow to load, fast to ask: a model that turns slices of a scan into proposals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.domain.box import Box, full_box
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import Cancelled, UserError
from engine.models.schema import ModelInfo
from engine.models.store import ModelEntry
from engine.models.suitability import mismatch, needs_box, slicing_axis
from engine.sdseg.devices import (
    Precision,
    autocast,
    choose_device,
    choose_precision,
    is_out_of_memory,
    repeatable,
)
from engine.sdseg.fit import cloud_of
from engine.sdseg.folder import load_fit, load_model
from engine.sdseg.preprocess import (
    Placement,
    intensity_range,
    prepare,
    restore,
)

Progress = Callable[[int, int], None]
FIT_SLICES = 5


@dataclass(frozen=True)
class FitResult:
    """Whether a model fits a scan.

    Attributes:
        fits: False means that the user should be warned.
        reason: why not, as half a sentence; "" if it fits.
        distance, threshold: of the pictures' features; None if they were not needed.
    """

    fits: bool
    reason: str = ""
    distance: float | None = None
    threshold: float | None = None


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
        fit = load_fit(entry.folder)
        self._cloud = cloud_of(fit) if fit else None
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

    def _region(scan: Volume, axis: int, box: Box | None) -> tuple[slice, slice]:
    return (box or full_box(scan.grid.shape)).in_slice(axis)


def _spread(span: range, count: int) -> list[int]:
    """A few indices spread over a range, its ends left out where it is long enough."""
    if len(span) <= count:
        return list(span)
    places = np.linspace(0, len(span) - 1, count + 2)[1:-1]
    return [span[round(place)] for place in places]
