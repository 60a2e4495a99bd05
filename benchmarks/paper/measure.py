"""What is measured on a finished row: Dice over steps, speed, stability, condition latents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.errors import Cancelled
from engine.evaluation.lpips import Lpips
from engine.evaluation.metrics import dice
from engine.evaluation.pairs import Pair
from engine.evaluation.scores import interval, mean_of
from engine.evaluation.scoring import score_model, whole_request
from engine.evaluation.stability import measure_stability
from engine.models.schema import ModelInfo, TargetEntry
from engine.models.store import ModelEntry
from engine.sdseg.inference import Inference, Progress
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.segmenter import Segmenter
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.dataset import SliceDataset
from engine.training.options import TrainOptions
from engine.training.validation import found_classes

CPU = torch.device("cpu")
IsCancelled = Callable[[], bool]


class RowSegmenter(Segmenter):
    """The product's segmenter around a network in memory, always with the same steps and samples.

    Attributes:
        steps, samples: of every answer.
    """

    def __init__(
        self, network: SDSegNetwork, info: ModelInfo, steps: int = 1, samples: int = 1
    ) -> None:
        self.info, self.steps, self.samples = info, steps, samples
        self.entry = ModelEntry(Path(info.name), info, "", False, info.title)
        self.inference = Inference(network, info, CPU, "fp32")
        self.timings = self.inference.timings

    def segment(
        self,
        request: SegmentRequest,
        progress: Progress | None = None,
        is_cancelled: IsCancelled | None = None,
    ) -> Iterator[Proposal]:
        """See `Segmenter.segment`."""
        return super().segment(self._asked(request), progress, is_cancelled)

    def squares(
        self,
        request: SegmentRequest,
        progress: Progress | None = None,
        is_cancelled: IsCancelled | None = None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """See `Segmenter.squares`."""
        return super().squares(self._asked(request), progress, is_cancelled)

    def _asked(self, request: SegmentRequest) -> SegmentRequest:
        return replace(request, steps=self.steps, samples=self.samples)


def describe(network: SDSegNetwork, options: TrainOptions) -> ModelInfo:
    """What a segmenter has to know of a row's network."""
    target = options.targets[0]
    share = options.objective.last_share
    return ModelInfo(
        name=options.identity.name,
        title=options.identity.name,
        preset="compact",
        classes=options.classes,
        targets=(TargetEntry(name=target.name, class_ids=target.class_ids),),
        preprocessing=options.preprocessing,
        trained_timesteps="mixed" if share else "uniform",
        prediction_type=network.prediction_type,
        vision_encoder=(
            "trunk" if isinstance(network.vision_encoder, TrunkVisionEncoder) else "published"
        ),
        scale_factor=network.scale_factor,
    )


def dice_over_steps(
    network: SDSegNetwork,
    info: ModelInfo,
    pairs: list[Pair],
    target: Target,
    steps: tuple[int, ...],
    is_cancelled: IsCancelled,
) -> dict[str, dict[str, Any]]:
    """Dice and IoU on the pictures' own grid for each number of DDIM steps."""
    found: dict[str, dict[str, Any]] = {}
    for count in steps:
        segmenter = RowSegmenter(network, info, count)
        scores = score_model(segmenter, pairs, {target.name: target}, is_cancelled=is_cancelled)
        rows = [case[target.name]["dice"] for case in scores.cases.values()]
        found[str(count)] = {
            "dice": scores.mean("dice"), "iou": scores.mean("iou"), "interval": interval(rows),
        }  # fmt: skip
    return found


def measure_speed(
    network: SDSegNetwork,
    info: ModelInfo,
    pairs: list[Pair],
    target: Target,
    many: tuple[int, int],
    is_cancelled: IsCancelled,
) -> dict[str, Any]:
    """Seconds a slice of processor time, and Dice, for one step, ten, and many x many.

    Each slice is answered in every way before the next one comes, so that what else the computer
    does meets all alike. Of each way the median counts.

    Returns:
        {"slices": n, "threads": n, "ways": {"1x1": {"seconds", "per_second", "dice"}, ...}}.
    """
    ways = ((1, 1), (10, 1), many)
    seconds: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    scores: dict[tuple[int, int], list[float | None]] = {way: [] for way in ways}
    _answer(RowSegmenter(network, info), pairs[0], target)  # the first one pays for warming up
    for pair in pairs:
        for way in ways:
            if is_cancelled():
                raise Cancelled
            # A segmenter of its own: latents that another way has kept would make it faster.
            taken, score = _answer(RowSegmenter(network, info, *way), pair, target)
            seconds[way].append(taken)
            scores[way].append(score)
    found = {
        f"{steps}x{samples}": {
            "seconds": median(seconds[steps, samples]),
            "per_second": 1.0 / median(seconds[steps, samples]),
            "dice": mean_of(scores[steps, samples]),
        }
        for steps, samples in ways
    }
    return {"slices": len(pairs), "threads": torch.get_num_threads(), "ways": found}


def _answer(segmenter: RowSegmenter, pair: Pair, target: Target) -> tuple[float, float]:
    """Seconds of processor time from picture to mask, and the mask's Dice."""
    scan, truth = pair.read()
    request = whole_request(segmenter, scan, 0)
    started = time.process_time()
    answers = [proposal.labels for proposal in segmenter.segment(request)]
    taken = time.process_time() - started
    return taken, dice(np.stack(answers) > 0, target.of(truth))


def stability(
    network: SDSegNetwork,
    info: ModelInfo,
    pairs: list[Pair],
    runs: int,
    lpips: Lpips | None,
    is_cancelled: IsCancelled,
) -> dict[str, Any]:
    """The protocol of table 5; LPIPS is None without its weights."""
    segmenter = RowSegmenter(network, info)
    return measure_stability(segmenter, pairs, runs, lpips=lpips, is_cancelled=is_cancelled)


@torch.inference_mode()
def latent_content(network: SDSegNetwork, pictures: Tensor, masks: Tensor) -> dict[str, float]:
    """How much of a picture, and of its mask, a linear map reads off the condition latent.

    For each picture the channels of its latent and a constant are fitted to the grey picture and
    to the mask, both averaged to the latent's cells. The share of variance explained (R²) is
    averaged over the pictures; 1 is all of it.

    Args:
        network: its vision encoder is asked.
        pictures: [N, 3, S, S] in [-1, 1].
        masks: [N, 1, S, S] in 0..1.
    """
    network.vision_encoder.eval()
    found: dict[str, list[float]] = {"picture": [], "mask": []}
    for picture, mask in zip(pictures, masks, strict=True):
        latent = network.condition(picture[None])[0].flatten(1).double()
        columns = torch.cat([latent, torch.ones(1, latent.shape[1], dtype=torch.float64)]).T
        side = round(latent.shape[1] ** 0.5)
        for name, wanted in (("picture", picture.mean(dim=0)), ("mask", mask[0])):
            cells = F.adaptive_avg_pool2d(wanted[None].double(), side).reshape(-1, 1)
            fitted = columns @ torch.linalg.lstsq(columns, cells, driver="gelsd").solution
            spread = (cells - cells.mean()).square().sum()
            if spread > 0:
                found[name].append(float(1.0 - (cells - fitted).square().sum() / spread))
    return {name: float(np.mean(values)) for name, values in found.items()}


@torch.inference_mode()
def dice_along(network: SDSegNetwork, data: SliceDataset, steps: int) -> list[float]:
    """Dice of the estimate after each step of one reverse process, at the network's size."""
    sums = np.zeros(steps)
    side = data.size // 8
    noise = torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(0))
    for index in range(len(data)):
        picture, mask = data.batch(torch.tensor([index]))
        truth = mask[0, 0].numpy() > 0.5
        condition = network.condition(picture)
        for step, z0 in enumerate(network.estimates(noise, condition, steps=steps)):
            found = found_classes(network.from_scores(network.scores(z0)))
            sums[step] += dice(found[0, 0].numpy(), truth)
    return [float(x) for x in sums / len(data)]
