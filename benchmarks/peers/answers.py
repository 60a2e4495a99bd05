"""A network behind the same door as a shipped model's `Segmenter`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.sides import Maps
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.errors import Cancelled
from engine.sdseg.preprocess import intensity_range, prepare, restore
from engine.training.options import TrainOptions

BATCH = 4


class PeerSegmenter:
    """Answers requests as `engine.sdseg.segmenter.Segmenter` does, with any network.

    Pictures are prepared, probabilities brought back to the scan's grid, and classes chosen by the
    engine's own rules, so that `engine.evaluation` scores it like a model.

    Attributes:
        info: what `engine.evaluation` asks of a model's description.
    """

    def __init__(self, maps: Maps, options: TrainOptions) -> None:
        self.maps = maps
        self.targets = {t.name: Target(t.name, t.class_ids) for t in options.targets}
        self.info: Any = SimpleNamespace(
            preprocessing=options.preprocessing,
            plane=options.plane,
            class_ids=tuple(sorted(options.classes)),
            class_coding="binary" if len(options.groups) == 1 else "channels",
        )

    def target(self, name: str) -> Target:
        """The target of this name."""
        return self.targets[name]

    def segment(
        self, request: SegmentRequest, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[Proposal]:
        """Class ids, slice by slice.

        Raises:
            Cancelled: asked to stop.
        """
        rules = self.info.preprocessing
        values = intensity_range(request.scan, rules, request.box, request.window)
        slices = list(request.slices)
        for first in range(0, len(slices), BATCH):
            if is_cancelled and is_cancelled():
                raise Cancelled
            part = slices[first : first + BATCH]
            prepared = [
                prepare(request.scan, n, request.region, rules, values, request.axis) for n in part
            ]
            with torch.inference_mode():
                pictures = torch.from_numpy(np.stack([picture for picture, _ in prepared]))
                found = self.maps(pictures).float()
            for n, maps, (_, placement) in zip(part, found, prepared, strict=True):
                native = np.stack([restore(one, placement) for one in maps])
                yield self._proposal(request, n, native)

    def _proposal(self, request: SegmentRequest, index: int, maps: NDArray[np.float32]) -> Proposal:
        if len(maps) == 1:
            labels = np.where(maps[0] > 0.5, np.uint8(self.info.class_ids[0]), np.uint8(0))
            probability = maps[0]
        else:
            labels = np.array((0, *self.info.class_ids), dtype=np.uint8)[maps.argmax(axis=0)]
            probability = 1.0 - maps[0]
        return Proposal(index, request.axis, request.region, labels, probability, "", request.seed)
