"""Random numbers that depend on seed, step and place in the batch alone.

So a resumed run goes on equal, and several processes that share a batch draw what one would.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def step_generator(seed: int, stage: str, step: int, place: int | None = None) -> torch.Generator:
    """A CPU generator for one step of one stage, or for one place in that step's batch."""
    words = f"{seed}/{stage}/{step}" + ("" if place is None else f"/{place}")
    digest = hashlib.sha256(words.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def place_generators(
    seed: int, stage: str, step: int, places: Iterable[int]
) -> list[torch.Generator]:
    """A generator for each of some places in the batch of one step."""
    return [step_generator(seed, stage, step, place) for place in places]


def batch_indices(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """Indices of one batch, int64 [batch]; without repeats where the set is large enough."""
    if batch <= count:
        return torch.randperm(count, generator=generator)[:batch]
    return torch.randint(count, (batch,), generator=generator)


def normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers [B, *shape], each row from its own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])


class Draw:
    """Random numbers for each picture of a batch, from a generator a picture.

    Attributes:
        generators: on the CPU; equal state gives equal numbers, whatever the neighbours are.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)

    def between(self, low: float, high: float) -> Tensor:
        """Uniform, float32 [B]."""
        drawn = torch.stack([torch.rand((), generator=g) for g in self.generators])
        return drawn * (high - low) + low

    def around_one(self, factor: float) -> Tensor:
        """Between 1/factor and factor, uniform in the logarithm."""
        width = math.log(factor)
        return torch.exp(self.between(-width, width))

    def order(self, count: int) -> Tensor:
        """The numbers below `count` in any order, int64 [B, count]."""
        return torch.stack([torch.randperm(count, generator=g) for g in self.generators])

    def sign(self) -> Tensor:
        """-1 or 1."""
        return torch.where(self.between(0.0, 1.0) < 0.5, -1.0, 1.0)
