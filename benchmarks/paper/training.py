"""Trains a row by the engine's own trainer, for a time instead of a number of steps."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from benchmarks.paper.attention import with_cross_attention
from benchmarks.paper.options import Scale, configuration
from benchmarks.paper.plan import SETTINGS, Row
from engine.errors import Cancelled
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import PublishedVisionEncoder
from engine.training.checkpoint import read_state
from engine.training.dataset import SliceDataset
from engine.training.options import TrainOptions
from engine.training.resume import settings
from engine.training.run import prepare_latents
from engine.training.start import Start, make_start
from engine.training.team import Team
from engine.training.trainer import Trainer

SAVE_EVERY = 60.0  # CPU seconds between two checkpoints
TELL_EVERY = 100  # steps
Say = Callable[[str], None]
Watch = Callable[["TimedTrainer"], None]


@dataclass(frozen=True)
class Trained:
    """A finished row's network.

    Attributes:
        network: with the averaged weights in place.
        steps: that its time was enough for.
        cpu_minutes: they took.
    """

    network: SDSegNetwork
    steps: int
    cpu_minutes: float


class TimedTrainer(Trainer):
    """The engine's trainer; the rate falls as a cosine over the time, which ends the run.

    Attributes:
        seconds: of processor time that steps may take; checkpoints and what is measured on the
            way are not counted.
        spent: so far, over all parts of a resumed run.
    """

    def __init__(
        self,
        network: SDSegNetwork,
        data: tuple[SliceDataset, SliceDataset],
        options: TrainOptions,
        seconds: float,
        remember: dict[str, Any],
    ) -> None:
        super().__init__(network, *data, options, Team("cpu"), remember)
        self.seconds, self.spent = seconds, 0.0

    @property
    def share(self) -> float:
        """Of the time that is spent, 0..1."""
        return min(self.spent / self.seconds, 1.0)

    def train(self, watch: Watch, say: Say, is_cancelled: Callable[[], bool]) -> None:
        """Steps until the time is over, then puts the averaged weights in place.

        Raises:
            Cancelled: asked to stop; a checkpoint was written.
            UserError: the loss became NaN; the last good checkpoint stays.
        """
        saved = self.spent
        watch(self)
        while self.spent < self.seconds:
            if is_cancelled():
                self.save()
                raise Cancelled
            started = time.process_time()
            losses = self._update()
            self.spent += time.process_time() - started
            self.step += 1
            watch(self)
            if self.step % TELL_EVERY == 0:
                words = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
                say(f"  step {self.step}, {self.share:.0%} of the time: {words}")
            if self.spent - saved > SAVE_EVERY:
                saved = self.spent
                self.save()
        self.save()
        self.ema.swap(self._averaged())
        self.network.requires_grad_(False).eval()

    def _set_rate(self) -> None:
        warm = min(1.0, (self.step + 1) / max(self.options.optimisation.warmup, 1))
        factor = warm * 0.5 * (1.0 + math.cos(math.pi * self.share))
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def save(self) -> None:
        """See `Trainer.save`; with the time spent."""
        self.remember["spent"] = self.spent
        super().save()

    def restore(self, folder: Path) -> bool:
        """See `Trainer.restore`; with the time spent."""
        state = read_state(folder)
        if state is not None:
            self.spent = state["spent"]
        return super().restore(folder)


def deciding(row: Row, options: TrainOptions, minutes: float) -> dict[str, Any]:
    """All that decides a row's weights, in values that JSON holds."""
    return {
        **settings(options),
        "conditioning": SETTINGS[row.setting].conditioning,
        "minutes": minutes,
    }


def train_row(
    row: Row,
    options: TrainOptions,
    data: tuple[SliceDataset, SliceDataset],
    scale: Scale,
    decides: dict[str, Any],
    seconds: float,
    watch: Watch,
    say: Say,
    is_cancelled: Callable[[], bool],
) -> Trained:
    """Trains a row, or goes on where it was stopped; a finished one is only read.

    Args:
        row: which.
        options: from `options_for`; the run folder keeps the checkpoint.
        data: train and val; val is not looked at.
        scale: sizes.
        decides: from `deciding`; a checkpoint of a run that was set up otherwise is dropped.
        seconds: of processor time.
        watch: called before the first step and after each.
        say: told what happens.
        is_cancelled: asked before each step.

    Raises:
        Cancelled: asked to stop; the next call goes on.
        UserError: the loss became NaN.
    """
    state = _earlier(options.run_folder, decides, say)
    start = _start(row, options, data[0], scale, state, say)
    remember = {"decides": decides, "start": start.remembered()}
    trainer = TimedTrainer(start.network, data, options, seconds, remember)
    if state is None:
        trainer.save()  # here, since the clock would run while the first step did
    elif trainer.restore(options.run_folder):
        say(f"  goes on at step {trainer.step}, {trainer.share:.0%} of the time")
    trainer.train(watch, say, is_cancelled)
    return Trained(trainer.network, trainer.step, trainer.spent / 60.0)


def _start(
    row: Row,
    options: TrainOptions,
    train: SliceDataset,
    scale: Scale,
    state: dict[str, Any] | None,
    say: Say,
) -> Start:
    """The row's network: ready to learn, or to be filled from the checkpoint of `state`."""
    torch.manual_seed(options.seed)
    start = make_start(options, state.get("start", {}) if state else None, lambda _: None)
    if SETTINGS[row.setting].conditioning == "attention":
        start = with_cross_attention(start, configuration(options, scale), options.seed)
    if state is None:
        prepare_latents(start, train, options, torch.device("cpu"), say)
        start_from_latents(start.network)
    return start


def _earlier(folder: Path, decides: dict[str, Any], say: Say) -> dict[str, Any] | None:
    """What the checkpoint of a stopped training of the same settings holds; others are deleted."""
    state = read_state(folder)
    if state is not None and state.get("decides") == decides:
        return state
    if state is not None:
        say("  a checkpoint of other settings is dropped")
    shutil.rmtree(folder, ignore_errors=True)
    return None


@torch.no_grad()
def start_from_latents(network: SDSegNetwork) -> None:
    """Lets a published vision encoder begin as the encoder E itself: the latent of the picture.

    Its last 1x1 convolution starts at random in the authors' code. Frozen in that state it would
    mix means and variances; here it begins as the autoencoder's own, so that all rows start alike.
    """
    encoder, autoencoder = network.vision_encoder, network.autoencoder
    if isinstance(encoder, PublishedVisionEncoder) and isinstance(autoencoder, AutoencoderKL):
        last: Any = autoencoder.quant_conv
        channels = encoder.out.out_channels
        encoder.out.weight.copy_(last.weight[:channels])
        encoder.out.bias.copy_(last.bias[:channels])  # type: ignore[union-attr]
