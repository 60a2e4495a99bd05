"""Random numbers that depend on seed and step alone, so that a resumed run goes on equal."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """A CPU generator for one step of one stage."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def batch_indices(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """Indices of one batch, int64 [batch]; without repeats where the set is large enough."""
    if batch <= count:
        return torch.randperm(count, generator=generator)[:batch]
    return torch.randint(count, (batch,), generator=generator)
