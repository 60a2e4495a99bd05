"""The training loop of SDSeg."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import Cancelled, UserError
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.augment import augment
from engine.training.checkpoint import (
    clear_drafts,
    load_checkpoint,
    note_failure,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from engine.training.curves import EVERY, Curves
from engine.training.dataset import SliceDataset
from engine.training.ema import Ema
from engine.training.gradients import adamw, clip_gradients
from engine.training.latents import MaskLatents
from engine.training.objective import Losses, diffused
from engine.training.options import TrainOptions
from engine.training.randomness import batch_indices, normal, place_generators, step_generator
from engine.training.team import Team
from engine.training.validation import mean_dice


@dataclass(frozen=True)
class Progress:
    """What a run reports after each step."""

    step: int
    steps: int
    losses: dict[str, float]
    val_dice: float | None


class Trainer:
    """Trains vision encoder and U-Net; the autoencoder stays as it is.

    Attributes:
        step: number of finished updates.
        cpu_seconds: processor time of earlier parts of a resumed run.
        remember: facts of the run that every checkpoint carries in its JSON.
    """

    def __init__(
        self,
        network: SDSegNetwork,
        train: SliceDataset,
        val: SliceDataset,
        options: TrainOptions,
        team: Team,
        remember: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.remember = dict(remember or {})
        self.train_data = train
        self.val_data = val
        self.options = options
        self.team = team
        self.device = team.device
        rules = options.optimisation
        self.losses = Losses(
            network, options.objective, train.class_count, train.size, rules.precision
        ).to(self.device)
        if rules.freeze_encoder:
            encoder = network.vision_encoder
            part = encoder.trunk if isinstance(encoder, TrunkVisionEncoder) else encoder
            part.requires_grad_(False)
        self.optimiser = self._make_optimiser()
        self.module = team.wrap(self.losses)
        self.latents = MaskLatents(
            network, train, options.augmentation, options.seed, rules.latent_variants,
            rules.precision, self.device,
        )  # fmt: skip
        self.ema = Ema(self._averaged(), rules.ema_decay)
        self.curves = Curves(options.run_folder, options.tensorboard)
        self.step = 0
        self._saved: int | None = None  # step of the last checkpoint
        self.cpu_seconds = 0.0
        self._started = time.process_time()
        self._deadline = math.inf
        self._is_late = False

    @property
    def cpu_minutes(self) -> float:
        """Processor time of the whole run, earlier parts and other processes included, in minutes.

        The other processes are taken to be as busy as this one.
        """
        here = time.process_time() - self._started
        return (self.cpu_seconds + here * self.team.size) / 60.0

    def _averaged(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.network.unet.named_parameters(prefix="unet")
        if self.options.optimisation.ema_all:
            yield from self.network.vision_encoder.named_parameters(prefix="vision_encoder")

    def _make_optimiser(self) -> torch.optim.AdamW:
        rules, encoder = self.options.optimisation, self.network.vision_encoder
        trunk = encoder.trunk if isinstance(encoder, TrunkVisionEncoder) else None
        inside = {id(p) for p in trunk.parameters()} if trunk else set[int]()
        head = self.losses.pyramid_head
        parts: list[tuple[list[nn.Parameter], float]] = [
            ([*self.network.unet.parameters(), *(head.parameters() if head else ())], 1.0),
            ([p for p in encoder.parameters() if id(p) not in inside], rules.encoder_factor),
            (list(trunk.parameters()) if trunk else [], rules.trunk_factor),
        ]
        groups: list[dict[str, Any]] = []
        for parameters, factor in parts:
            learning = [p for p in parameters if p.requires_grad]
            if learning:
                rate = rules.learning_rate * factor
                groups.append({"params": learning, "lr": rate, "initial_lr": rate})
        return adamw(groups, rules.learning_rate, rules.weight_decay)

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Trains to the last step or minute, then puts the averaged weights in place.

        Raises:
            Cancelled: asked to stop; a checkpoint was written.
            UserError: the loss became NaN, and the last good checkpoint stays; or the run's folder
                can't be written.
        """
        rules = self.options.optimisation
        with self.team.together():
            if self.team.is_first:
                clear_drafts(self.options.run_folder)
                self.curves.begin(self.step)
        self._deadline = time.monotonic() + 60.0 * (rules.minutes or math.inf)
        while self.step < rules.steps and not self._is_late:
            if self.team.any(bool(is_cancelled and is_cancelled())):
                with self.team.together():
                    self.save()
                raise Cancelled
            losses = self._update()
            self.step += 1
            val_dice = self._after_step(losses)
            if progress:
                progress(Progress(self.step, rules.steps, losses, val_dice))
        with self.team.together():
            self.save()
            self.curves.end()
        self.ema.swap(self._averaged())
        self.network.requires_grad_(False).eval()

    def _has_passed(self) -> bool:
        """True once the minutes of the run have passed, in any of its processes."""
        timed = self.options.optimisation.minutes > 0
        return timed and self.team.any(time.monotonic() >= self._deadline)

    def _after_step(self, losses: dict[str, float]) -> float | None:
        """Validates and writes where it is due; the other processes wait for the first."""
        options = self.options
        self._is_late = self._has_passed()
        last = self.step == options.optimisation.steps or self._is_late
        validates = last or self.step % options.val_every == 0
        val_dice = None
        if validates or self.step % EVERY == 0:
            with self.team.together():
                if self.team.is_first:
                    val_dice = self.validate() if validates else None
                    self.curves.add(self.step, self.cpu_minutes, losses, val_dice)
        return val_dice

    def _update(self) -> dict[str, float]:
        """One step of gradient descent."""
        self.network.unet.train()
        self.network.vision_encoder.train()
        self._set_rate()
        losses = self.module(*self._batch())
        values = self.team.mean(losses)
        if not math.isfinite(values["loss"]):
            raise self._not_a_number("The loss")
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        if not clip_gradients(trained, self.options.optimisation.clip):
            raise self._not_a_number("A gradient")
        # Only now is the state known to be a good one.
        if self.step % self.options.checkpoint_every == 0 and self.step != self._saved:
            with self.team.together():
                self.save()
        self.optimiser.step()
        self.ema.update(self._averaged())
        return values

    def _not_a_number(self, what: str) -> UserError:
        """The error; the last checkpoint then admits other rates. All processes meet it."""
        kept = note_failure(self.options.run_folder, self.step) if self.team.is_first else None
        return UserError(
            f"{what} is not a number at step {self.step}.",
            hint="Start anew with a lower --base-lr or with --clip 1."
            if kept is None
            else f"The state of step {kept} is kept. Go on from there with --resume and a lower "
            "--base-lr, or with --clip 1.",
        )

    def _batch(self) -> tuple[Any, ...]:
        """This process's part of the step's batch, as `Losses.forward` takes it.

        Everything random is drawn on the CPU, so that every device sees the same.
        """
        options, rules = self.options, self.options.optimisation
        places = self.team.places(rules.batch)
        order = step_generator(options.seed, "order", self.step)
        indices = batch_indices(len(self.train_data), rules.batch, order)
        indices = indices[places.start : places.stop]
        dropout = int(torch.randint(2**31, (1,), generator=order))
        torch.manual_seed(dropout + self.team.rank)  # each process drops other units
        draws = place_generators(options.seed, "train", self.step, places)
        keys, matrices = self.latents.choose(indices, draws)
        pictures, masks = self.train_data.batch(indices)
        pictures, masks = augment(pictures, masks, options.augmentation, draws, matrices)
        side = self.train_data.size // 8
        posterior, noise = (normal((4, side, side), draws) for _ in range(2))
        t = torch.stack([self._timestep(g) for g in draws])
        corners = self.losses.corners(masks, draws)
        chosen = diffused(places, options.objective.sdseg_share)
        keys, corners = (x and [x[n] for n in chosen] for x in (keys, corners))
        some, on = torch.tensor(chosen), self.device
        z0 = self.latents.sample(masks[some], keys, posterior[some])
        noise, t = noise[some].to(on), t[some].to(on)
        return pictures.to(on), masks.to(on), z0, noise, t, corners, some.to(on)

    def _timestep(self, generator: torch.Generator) -> Tensor:
        """T-1 for a share of the samples, else uniform; int64 []."""
        last = self.network.schedule.last
        uniform = torch.randint(last + 1, (), generator=generator)
        at_last = torch.rand((), generator=generator) < self.options.objective.last_share
        return torch.where(at_last, last, uniform)

    def _set_rate(self) -> None:
        rules = self.options.optimisation
        factor = min(1.0, (self.step + 1) / max(rules.warmup, 1))
        if rules.decay == "cosine" and self.step >= rules.warmup:
            done = (self.step - rules.warmup) / max(rules.steps - rules.warmup, 1)
            factor = 0.5 * (1.0 + math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor

    @torch.inference_mode()
    def validate(self) -> float:
        """Mean Dice over the cases of val with the averaged weights, at the network's size."""
        self.ema.swap(self._averaged())
        self.network.eval()
        try:
            return mean_dice(self.network, self.val_data, self.device, self.options.seed)
        finally:
            self.ema.swap(self._averaged())

    def save(self) -> None:
        """Writes a checkpoint from which the run goes on equal; the first process does.

        It comes before the update of a step, and after the loss was seen to be a number: a state
        that is kept can be gone on from.

        Raises:
            UserError: it can't be written, or a weight is not a number; the last one stays.
        """
        self._saved = self.step
        if not self.team.is_first:
            return
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.averages.items()}
        tensors |= optimiser_tensors(self.optimiser)
        head = self.losses.pyramid_head
        if head is not None:
            tensors |= {f"pyramid.{k}": v for k, v in head.state_dict().items()}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise self._not_a_number("A weight")
        state = {
            **self.remember,
            "step": self.step,
            "ema_updates": self.ema.updates,
            "scale_factor": self.network.scale_factor,
            "cpu_seconds": self.cpu_minutes * 60.0,
        }
        save_checkpoint(self.options.run_folder, tensors, state)

    def restore(self, folder: Path) -> bool:
        """Goes back to the last checkpoint; False if there is none."""
        found = load_checkpoint(folder)
        if found is None:
            return False
        tensors, state = found

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(under("network."))
        if self.losses.pyramid_head is not None:
            self.losses.pyramid_head.load_state_dict(under("pyramid."))
        self.ema.averages = {k: v.to(self.device) for k, v in under("ema.").items()}
        restore_optimiser(self.optimiser, tensors)
        self.step = self._saved = state["step"]
        self.ema.updates = state["ema_updates"]
        self.network.scale_factor = state["scale_factor"]
        self.cpu_seconds += state["cpu_seconds"]
        return True
