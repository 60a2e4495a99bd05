"""Dice on val while a run goes on, at the network's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.evaluation.metrics import dice
from engine.sdseg.network import SDSegNetwork
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive, likeliest

EVERY = 4
TEMPERATURES = tuple(round(0.05 * 1.1**n, 4) for n in range(40))  # 0.05 to 2.06


def mean_dice(network: SDSegNetwork, data: SliceDataset, device: torch.device, seed: int) -> float:
    """Mean over cases and classes of the Dice of single-step inference.

    All slices of a case count as one mask.
    """
    found: list[Tensor] = []
    truths: list[Tensor] = []
    for scores, masks in _answers(network, data, device, seed):
        found.append(found_classes(network.from_scores(scores)))
        truths.append(masks.bool())
    answers, cases = torch.cat(found).numpy(), data.cases.numpy()
    known = torch.cat(truths).numpy()
    scores = [
        dice(answers[cases == case, c], known[cases == case, c])
        for case in range(len(data.names))
        for c in range(data.class_count)
    ]
    return sum(scores) / len(scores)


def _answers(
    network: SDSegNetwork, data: SliceDataset, device: torch.device, seed: int, batch: int = 8
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores of single-step inference on the CPU, and masks [B, C, S, S] in {0, 1}."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, 4, data.size // 8, data.size // 8), generator=generator)
    for start in range(0, len(data), batch):
        indices = torch.arange(start, min(start + batch, len(data)))
        pictures, masks = data.batch(indices)
        condition = network.condition(pictures.to(device))
        z0 = network.estimate_z0(noise.expand(len(indices), -1, -1, -1).to(device), condition)
        yield network.scores(z0).float().cpu(), exclusive(masks)


def found_classes(probabilities: Tensor) -> Tensor:
    """Where each class is found: bool [B, C, H, W] of probabilities [B, 1 or C + 1, H, W]."""
    if probabilities.shape[1] == 1:
        return probabilities > 0.5
    winner = probabilities.argmax(dim=1, keepdim=True)
    classes = torch.arange(1, probabilities.shape[1], device=winner.device)
    return winner == classes.view(1, -1, 1, 1)


@torch.inference_mode()
def best_temperature(
    network: SDSegNetwork, data: SliceDataset, device: torch.device, seed: int
) -> float:
    """The temperature of the softmax under which the truths of val are the most likely.

    Every fourth row and column of each slice is looked at.
    """
    kept: list[Tensor] = []
    truths: list[Tensor] = []
    for scores, masks in _answers(network, data, device, seed):
        kept.append(scores[:, :, ::EVERY, ::EVERY])
        truths.append(likeliest(masks[:, :, ::EVERY, ::EVERY]))
    maps, truth = torch.cat(kept), torch.cat(truths)
    losses = {t: float(F.cross_entropy(maps / t, truth)) for t in TEMPERATURES}
    return min(losses, key=lambda t: losses[t])
