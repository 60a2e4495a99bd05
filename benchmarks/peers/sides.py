"""What trains: SDSeg through the engine's own trainer, and its peers in a loop of the same kind.

Every side does one step at a time, keeps its state in a folder, and ends as a function from
pictures to probabilities. Pictures, augmentation, order, batch, optimiser, clipping, averages of
weights and precision are the recipe's for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from benchmarks.budget import Budget
from benchmarks.peers.networks import make_network, outputs_of, parts_of
from benchmarks.timed import TimedTrainer
from engine.errors import UserError
from engine.training.augment import augment
from engine.training.checkpoint import (
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from engine.training.dataset import SliceDataset
from engine.training.ema import Ema
from engine.training.gradients import adamw, clip_gradients
from engine.training.losses import mask_loss
from engine.training.options import TrainOptions
from engine.training.randomness import batch_indices, place_generators, step_generator
from engine.training.run import prepare_latents
from engine.training.start import make_start
from engine.training.validation import best_temperature

Maps = Callable[[Tensor], Tensor]  # pictures [B, 3, S, S] -> probabilities [B, 1 or C + 1, S, S]
Say = Callable[[str], None]
NOISE_SEED = 0  # of SDSeg's answers, as in `evaluate`
STATISTICS_BATCHES = 25  # that BatchNorm's statistics are measured on for averaged weights


class Side(Protocol):
    """One network and its training."""

    @property
    def step(self) -> int:
        """Number of finished updates."""
        ...

    def update(self) -> float:
        """One step; returns the loss."""
        ...

    def save(self) -> None:
        """Writes what is needed to go on, the budget included."""
        ...

    def finish(self) -> Maps:
        """Puts the averaged weights in place."""
        ...

    @property
    def parameters(self) -> int:
        """How many an answer needs."""
        ...


def begin(
    side: str,
    rate: float | None,
    options: TrainOptions,
    data: tuple[SliceDataset, SliceDataset],
    budget: Budget,
    say: Say,
) -> Side:
    """A side at step 0, or where a stopped run left it.

    Args:
        side: "sdseg" or a peer's name.
        rate: of a peer.
        options: of the recipe; its run folder keeps the state.
        data: train and val.
        budget: set to what was spent, where a run goes on; SDSeg's autoencoder is paid from it.
        say: told what happens.
    """
    torch.manual_seed(options.seed)
    if side == "sdseg":
        return _begin_sdseg(options, data, budget, say)
    assert rate is not None
    return Peer(side, rate, options, data[0], budget)


def _begin_sdseg(
    options: TrainOptions, data: tuple[SliceDataset, SliceDataset], budget: Budget, say: Say
) -> Sdseg:
    found = load_checkpoint(options.run_folder)
    start = make_start(options, found[1].get("start", {}) if found else None, say)
    if found is None:
        with budget.counting():
            prepare_latents(start, data[0], options, torch.device("cpu"), say)
    trainer = TimedTrainer(start.network, data, options, budget, {"start": start.remembered()})
    if found is None:
        budget.begin_schedule()
        trainer.save()  # the autoencoder need not be trained again
    else:
        trainer.restore(options.run_folder)
    return Sdseg(trainer)


class Sdseg:
    """SDSeg under its recipe.

    Attributes:
        step: number of finished updates.
    """

    def __init__(self, trainer: TimedTrainer) -> None:
        self.trainer = trainer
        self.save = trainer.save

    @property
    def step(self) -> int:
        return self.trainer.step

    def update(self) -> float:
        """One step; returns the loss."""
        return self.trainer.update()["loss"]

    @property
    def parameters(self) -> int:
        """Of all three parts."""
        return sum(p.numel() for p in self.trainer.network.parameters())

    def finish(self) -> Maps:
        """Averaged weights; the starting noise is that of `evaluate`, the same for all pictures."""
        trainer, network = self.trainer, self.trainer.take_averages()
        temperature = 1.0
        if network.channel_classes > 1:
            temperature = best_temperature(
                network, trainer.val_data, trainer.device, trainer.options.seed
            )
        side = trainer.train_data.size // 8
        noise = torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(NOISE_SEED))

        def maps(pictures: Tensor) -> Tensor:
            condition = network.condition(pictures)
            z0 = network.estimate_z0(noise.expand(len(pictures), -1, -1, -1), condition)
            return network.probabilities(z0, temperature)

        return maps


class Peer:
    """An ordinary segmentation network.

    Attributes:
        step: number of finished updates.
    """

    def __init__(
        self, side: str, rate: float, options: TrainOptions, data: SliceDataset, budget: Budget
    ) -> None:
        self.options, self.data, self.budget = options, data, budget
        self.classes = data.class_count
        self.network: nn.Module = make_network(side, 1 if self.classes == 1 else self.classes + 1)
        rules = options.optimisation
        fresh, trunk = parts_of(self.network)
        parts = [(fresh, rate), (trunk, rate * rules.trunk_factor)]
        groups = [{"params": p, "lr": r, "initial_lr": r} for p, r in parts if p]
        self.optimiser = adamw(groups, rate, rules.weight_decay)
        self.ema = Ema(self.network.named_parameters(), rules.ema_decay)
        self.step = 0
        self._restore()

    def update(self) -> float:
        """One step; returns the loss.

        Raises:
            UserError: a gradient became not a number; the step is not taken.
        """
        rules = self.options.optimisation
        factor = self.budget.rate_factor(self.step, rules.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        pictures, masks = self._batch(self.step)
        loss = self._loss(self.network.train(), pictures, masks)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not clip_gradients(self.network.parameters(), rules.clip):
            raise UserError(f"A gradient is not a number at step {self.step}.")
        self.optimiser.step()
        self.ema.update(self.network.named_parameters())
        self.step += 1
        return loss.item()

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The cases that SDSeg's trainer would see at a step, changed by the same rules.

        Where the recipe keeps a number of fixed positions a picture, these are others.
        """
        batch, seed = self.options.optimisation.batch, self.options.seed
        order = step_generator(seed, "order", step)
        pictures, masks = self.data.batch(batch_indices(len(self.data), batch, order))
        draws = place_generators(seed, "train", step, range(batch))
        return augment(pictures, masks, self.options.augmentation, draws)

    def _loss(self, network: nn.Module, pictures: Tensor, masks: Tensor) -> Tensor:
        """Cross-entropy + Dice; of DynUNet's coarser outputs with halved weights, as nnU-Net."""
        with torch.autocast(
            "cpu", torch.bfloat16, enabled=self.options.optimisation.precision == "bf16"
        ):
            outputs = outputs_of(network(pictures))
        weights = [0.5**n for n in range(len(outputs))]
        losses = [w * mask_loss(x.float(), masks) for w, x in zip(weights, outputs, strict=True)]
        return torch.stack(losses).sum() / sum(weights)

    @property
    def parameters(self) -> int:
        """Of the network."""
        return sum(p.numel() for p in self.network.parameters())

    def save(self) -> None:
        """Weights with buffers, averages, moments, step and budget."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.averages.items()}
        tensors |= optimiser_tensors(self.optimiser)
        save_checkpoint(
            self.options.run_folder,
            tensors,
            {
                "step": self.step, "ema_updates": self.ema.updates,
                "spent": self.budget.spent, "begun": self.budget.begun,
            },
        )  # fmt: skip

    def _restore(self) -> None:
        found = load_checkpoint(self.options.run_folder)
        if found is None:
            return
        tensors, state = found

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(under("network."))
        self.ema.averages, self.ema.updates = under("ema."), state["ema_updates"]
        restore_optimiser(self.optimiser, tensors)
        self.step = state["step"]
        self.budget.go_on(state["spent"], state["begun"])

    def finish(self) -> Maps:
        """Averaged weights, and BatchNorm's statistics measured anew: it kept the last weights'.

        The trunk's statistics are fixed and stay. The budget does not pay for it.
        """
        self.ema.swap(self.network.named_parameters())
        later = range(self.step, self.step + STATISTICS_BATCHES)
        update_bn((self._batch(step)[0] for step in later), self.network)
        network = self.network.eval()

        def maps(pictures: Tensor) -> Tensor:
            logits = network(pictures).float()
            return logits.sigmoid() if self.classes == 1 else logits.softmax(dim=1)

        return maps
