"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ema:
    """Averages of the trained parameters; decay min(cap, (1 + n) / (10 + n)) as the authors'.

    Attributes:
        updates: n, the number of updates so far.
        averages: parameter name -> average.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], cap: float) -> None:
        self.cap = cap
        self.updates = 0
        self.averages: dict[str, Tensor] = {n: p.detach().clone() for n, p in parameters}

    @torch.no_grad()
    def update(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Moves every average towards its parameter."""
        self.updates += 1
        decay = min(self.cap, (1 + self.updates) / (10 + self.updates))
        for name, parameter in parameters:
            if name in self.averages:
                self.averages[name].lerp_(parameter.detach(), 1.0 - decay)

    @torch.no_grad()
    def swap(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Exchanges averages and parameters; a second call exchanges them back."""
        for name, parameter in parameters:
            if name in self.averages:
                kept = parameter.detach().clone()
                parameter.copy_(self.averages[name])
                self.averages[name].copy_(kept)
