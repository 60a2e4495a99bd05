"""Trains a row by the engine's own trainer, for a time instead of a number of steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from benchmarks.budget import Budget
from benchmarks.paper.attention import with_cross_attention
from benchmarks.paper.options import Scale, configuration
from benchmarks.paper.plan import SETTINGS, Row
from benchmarks.timed import TimedTrainer
from engine.errors import Cancelled
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import PublishedVisionEncoder
from engine.training.checkpoint import read_state
from engine.training.dataset import SliceDataset
from engine.training.options import TrainOptions
from engine.training.resume import settings
from engine.training.run import prepare_latents
from engine.training.start import Start, make_start

SAVE_EVERY = 60.0  # CPU seconds between two checkpoints
TELL_EVERY = 100  # steps
Say = Callable[[str], None]
Watch = Callable[[TimedTrainer], None]


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
    trainer = TimedTrainer(start.network, data, options, Budget(seconds), remember)
    if state is None:
        trainer.save()  # here, since the clock would run while the first step did
    elif trainer.restore(options.run_folder):
        say(f"  goes on at step {trainer.step}, {trainer.budget.share:.0%} of the time")
    _train(trainer, watch, say, is_cancelled)
    return Trained(trainer.take_averages(), trainer.step, trainer.budget.spent / 60.0)


def _train(trainer: TimedTrainer, watch: Watch, say: Say, is_cancelled: Callable[[], bool]) -> None:
    """Steps until the time is over; checkpoints and what is measured on the way are not counted."""
    budget = trainer.budget
    saved = budget.spent
    watch(trainer)
    while not budget.is_over:
        if is_cancelled():
            trainer.save()
            raise Cancelled
        with budget.counting():
            losses = trainer.update()
        watch(trainer)
        if trainer.step % TELL_EVERY == 0:
            words = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            say(f"  step {trainer.step}, {budget.share:.0%} of the time: {words}")
        if budget.spent - saved > SAVE_EVERY:
            saved = budget.spent
            trainer.save()
    trainer.save()


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
