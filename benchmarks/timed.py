"""The engine's trainer, for a processor time instead of a number of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.budget import Budget
from engine.sdseg.network import SDSegNetwork
from engine.training.checkpoint import read_state
from engine.training.dataset import SliceDataset
from engine.training.options import TrainOptions
from engine.training.team import Team
from engine.training.trainer import Trainer


class TimedTrainer(Trainer):
    """The rate falls as a cosine over the budget, which ends the run.

    Attributes:
        budget: of processor time, over all parts of a resumed run; whoever calls `update` counts.
    """

    def __init__(
        self,
        network: SDSegNetwork,
        data: tuple[SliceDataset, SliceDataset],
        options: TrainOptions,
        budget: Budget,
        remember: dict[str, Any],
    ) -> None:
        super().__init__(network, *data, options, Team("cpu"), remember)
        self.budget = budget

    def _set_rate(self) -> None:
        factor = self.budget.rate_factor(self.step, self.options.optimisation.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def update(self) -> dict[str, float]:
        """One step; returns the losses.

        Raises:
            UserError: a loss or gradient is not a number; the last good checkpoint stays.
        """
        losses = self._update()
        self.step += 1
        return losses

    def save(self) -> None:
        """See `Trainer.save`; with the budget."""
        self.remember |= {"spent": self.budget.spent, "begun": self.budget.begun}
        super().save()

    def restore(self, folder: Path) -> bool:
        """See `Trainer.restore`; with the budget."""
        state = read_state(folder)
        if state is not None:
            self.budget.go_on(state["spent"], state["begun"])
        return super().restore(folder)

    def take_averages(self) -> SDSegNetwork:
        """Puts the averaged weights in place; the training is over."""
        self.ema.swap(self._averaged())
        return self.network.requires_grad_(False).eval()
