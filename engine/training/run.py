"""A whole training run: data, autoencoder, SDSeg, fit statistic, scores, model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import TrunkVisionEncoder
from engine.system.interrupt import Interrupt
from engine.training.autoencoder import ceiling, seen_in_nothing, train_autoencoder
from engine.training.checkpoint import make_run_folder, read_state
from engine.training.curves import board_writer
from engine.training.dataset import SliceDataset
from engine.training.finish import finish, read_scores
from engine.training.geometry import exclusive
from engine.training.losses import mask_picture
from engine.training.objective import check_pyramid, diffused
from engine.training.options import TrainOptions
from engine.training.prior import train_prior
from engine.training.reading import keep_split, read_data
from engine.training.resume import check_no_run, check_same, settings
from engine.training.start import Start, make_start
from engine.training.team import Team
from engine.training.trainer import Progress, Trainer

Say = Callable[[str], None]
# Built-in models have 0.02 to 0.08; a run with 0.5 marked every picture without a target.
SEEN_IN_NOTHING = 0.25


def train_model(options: TrainOptions, device_name: str, say: Say) -> dict[str, Any] | None:
    """Trains a model and writes its folder.

    Args:
        options: everything about the run.
        device_name: "auto", "cpu" or "cuda".
        say: told one line at a time what happens, in the first process of several.

    Returns:
        What `--json` reports; None in the other processes.

    Raises:
        UserError: the data can't be used, or the output exists.
        Cancelled: interrupted; the run can be resumed.
    """
    if options.output.exists():
        raise UserError(f"{options.output.name} exists already.", hint="Choose another --output.")
    if options.more_scores is not None:
        read_scores(options.more_scores)  # before hours are spent
    if options.tensorboard:
        board_writer()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    team = Team(device_name)
    tell = say if team.is_first else _silent
    with team.noticing_losses():
        trainer, start = _prepare(options, team, tell)
        with team.together():
            decoding = _decoding(trainer, tell) if team.is_first else {}
        with Interrupt() as interrupt:
            trainer.run(lambda p: _report(p, trainer, tell), lambda: interrupt.raised)
        team.part()
    return finish(options, trainer, start, decoding, tell) if team.is_first else None


def _prepare(options: TrainOptions, team: Team, say: Say) -> tuple[Trainer, Start]:
    """Everything before the first step, or before the step at which a run goes on."""
    chosen = settings(options)
    changes: list[str] = []
    with team.together():
        places = team.places(options.optimisation.batch)
        diffused(places, options.objective.sdseg_share)
        state = _state_to_resume(options, say)
        if state is not None:
            changes = list(state.get("start", {}).get("changes", []))
            changes += check_same(state, chosen, options.run_folder)
            chosen["init"] = state.get("settings", chosen)["init"]
        train, val = read_data(options, say)
        if team.is_first:
            keep_split(options)
        start = make_start(options, _remembered(state, team), say)
        check_pyramid(start.network, options.objective)
    resumed = team.share(state is not None)
    start = replace(start, changes=tuple(changes))
    network = start.network.to(team.device)
    before = time.process_time()
    with team.together():
        if team.is_first:
            make_run_folder(options.run_folder)  # before hours are spent
            if not resumed and options.start is None:
                prepare_latents(start, train, options, team.device, say)
    prepared = time.process_time() - before
    team.share_weights(network)
    network.scale_factor = team.share(network.scale_factor)
    remember = {"settings": chosen, "start": start.remembered()}
    trainer = Trainer(network, train, val, options, team, remember)
    if not resumed:  # autoencoder and prior are part of what the model took
        trainer.cpu_seconds = prepared
    with team.together():
        _restore(trainer, resumed, say)
    return trainer, start


def _state_to_resume(options: TrainOptions, say: Say) -> dict[str, Any] | None:
    """That of the last checkpoint; None for a run that begins."""
    if not options.resume:
        check_no_run(options.run_folder)
        return None
    state = read_state(options.run_folder)
    if state is None:
        say(f"{options.run_folder.name} holds no checkpoint; the run begins anew")
    return state


def _remembered(state: Mapping[str, Any] | None, team: Team) -> Mapping[str, Any] | None:
    """Of the starting weights; all but the first process get them from the first."""
    if state is None:
        return None if team.is_first else {}
    return state.get("start", {})


def _restore(trainer: Trainer, resumed: bool, say: Say) -> None:
    folder = trainer.options.run_folder
    if resumed and not trainer.restore(folder):
        raise UserError(
            f"The checkpoint in {folder.name} is not seen by every process.",
            hint="Let all processes share the folder of --output.",
        )
    if resumed:
        say(f"resumed at step {trainer.step}")


def _decoding(trainer: Trainer, say: Say) -> dict[str, float]:
    """What the mask autoencoder allows at best, by its name on the card."""
    network, data = trainer.network, trainer.val_data
    top = ceiling(network.autoencoder, data, trainer.device)
    nothing = seen_in_nothing(network.autoencoder, data, trainer.device)
    say(
        f"encode -> decode Dice on val: {top:.4f}; an empty mask decodes to a probability of at "
        f"most {nothing:.3f}; scale factor {network.scale_factor:.4f}"
    )
    if nothing > SEEN_IN_NOTHING:
        say(
            "warning: the autoencoder decodes something from an empty mask, so the model may mark "
            "pictures that show no target. One that is trained here wants more steps "
            "(--autoencoder-steps) or another --seed."
        )
    return {
        "encode -> decode Dice on val (network's size)": top,
        "highest probability decoded from an empty mask": nothing,
    }


def _silent(text: str) -> None:
    del text


def prepare_latents(
    start: Start,
    data: SliceDataset,
    options: TrainOptions,
    device: torch.device,
    say: Say,
) -> None:
    """Trains a fresh autoencoder; fixes the scale factor; starts a published vision encoder.

    The scale factor is 1 / std of the first batch's mask latents; the vision encoder starts from
    the autoencoder's encoder.

    Args:
        start: whose network is changed in place.
        data: only its masks are used.
        options: of the run.
        device: where the network is.
        say: told the losses.

    Raises:
        Cancelled: interrupted.
    """
    network = start.network
    if "autoencoder" in start.fresh:
        _train_autoencoder(network, data, options, device, say)
    with torch.no_grad():
        first = exclusive(data.batch(torch.arange(min(options.optimisation.batch, len(data))))[1])
        latents = network.encode_mask(mask_picture(first).to(device))
        network.scale_factor = 1.0 / max(float(latents.std()), 1e-6)
        if not isinstance(network.vision_encoder, TrunkVisionEncoder):
            state: dict[str, Tensor] = network.autoencoder.encoder.state_dict()
            network.vision_encoder.encoder.load_state_dict(state)
    if options.optimisation.prior_steps:
        with Interrupt() as interrupt:
            train_prior(
                network, data, options, device, _told("prior", say), lambda: interrupt.raised
            )


def _train_autoencoder(
    network: SDSegNetwork,
    data: SliceDataset,
    options: TrainOptions,
    device: torch.device,
    say: Say,
) -> None:
    with Interrupt() as interrupt:
        train_autoencoder(
            network.autoencoder,
            data,
            options.optimisation,
            options.seed,
            device,
            _told("autoencoder", say),
            lambda: interrupt.raised,
        )


def _told(part: str, say: Say) -> Callable[[int, float], None]:
    def progress(step: int, loss: float) -> None:
        if step % 100 == 0:
            say(f"{part} step {step}: loss {loss:.4f}")

    return progress


def _report(progress: Progress, trainer: Trainer, say: Say) -> None:
    if progress.val_dice is None and progress.step % 50:
        return
    losses = " ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())
    score = "" if progress.val_dice is None else f"  val Dice {progress.val_dice:.4f}"
    say(
        f"step {progress.step}/{progress.steps} ({trainer.cpu_minutes:.1f} CPU minutes): "
        f"{losses}{score}"
    )
