"""A stopped run goes on only as it was started."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.evaluation.pairs import read_names
from engine.models.store import read_entry
from engine.training.checkpoint import FAILED, read_state
from engine.training.options import TrainOptions

# Options whose names are not their fields'.
OPTION = {
    "latent_lambda": "--lambda",
    "scale_lr": "--no-scale-lr",
    "prediction_type": "--prediction",
    "start": "--from",
    "prior_steps": "--pretrain-prior",
}
# Settings whose values tell a reader nothing.
HASHES = ("train", "val", "project", "start")
# What may change after a loss that was not a number: with equal options it would come again.
REMEDIES = ("base_lr", "scale_lr", "clip", "precision")


def settings(options: TrainOptions) -> dict[str, Any]:
    """What decides the result of a run, in values that JSON holds.

    Not part of it: names for the card, the test split, how often is validated, and the device.
    Weights given with --init count by their names, since the files may be gone.

    Raises:
        UserError: a split file or the model to start from can't be read.
    """
    found: dict[str, Any] = {
        **_lists(options),
        "target": [list(group) for group in options.groups],
        "preset": options.preset or "paper",
        "prediction_type": options.prediction_type,
        "plane": options.plane,
        "start": read_entry(options.start).sha256 if options.start else None,
        "init": [path.name for path in options.init],
        "seed": options.seed,
        **options.preprocessing.model_dump(),
        **asdict(options.objective),
        **asdict(options.optimisation),
        **asdict(options.augmentation),
    }
    return json.loads(json.dumps(found))


def check_no_run(folder: Path) -> None:
    """Hours of work are not written over by who forgot an option.

    Raises:
        UserError: the folder holds a checkpoint.
    """
    try:
        state = read_state(folder)
    except UserError:
        return  # of no use to anybody
    if state is not None:
        raise UserError(
            f"{folder.name} holds an earlier run, at step {state.get('step', 0)}.",
            hint=f"Go on with it: --resume. To start anew, delete {folder.name} or choose another "
            "--output.",
        )


def _lists(options: TrainOptions) -> dict[str, str]:
    """What is learned from and checked with: names, or the labels in projects."""
    if options.dealt is None:
        return {name: _digest(read_names(getattr(options, name))) for name in ("train", "val")}
    sides = (("train", options.dealt.train), ("val", options.dealt.val))
    return {"project": _digest([f"{n} {s.name} {s.content}" for n, side in sides for s in side])}


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_same(
    state: Mapping[str, Any], chosen: Mapping[str, Any], folder: Path
) -> tuple[str, ...]:
    """Refuses to resume a run with other options than it was started with.

    `--init` may be left out, since the checkpoint holds the weights. `--steps` may differ where the
    rate does not depend on it, as long as it has not been passed. After a loss that was not a
    number the `REMEDIES` may differ.

    Args:
        state: of the checkpoint.
        chosen: `settings` of the options given now.
        folder: of the run.

    Returns:
        A sentence for the card for each remedy that was taken.

    Raises:
        UserError: naming the first option that differs.
    """
    changes: list[str] = []
    started: Mapping[str, Any] = state.get("settings", {})
    for name in started:
        now, then = chosen.get(name), started[name]
        if now == then or (name == "init" and not now):
            continue
        if name == "steps" and started["decay"] == "constant" and now >= state["step"]:
            continue
        option = OPTION.get(name, "--" + name.replace("_", "-"))
        if name in REMEDIES and state.get(FAILED) is not None:
            then, now = _told(then), _told(now)
            changes.append(f"From step {state['step']} on {option} was {now}; before, {then}.")
            continue
        told = "" if name in HASHES else f" ({_told(then)}, now {_told(now)})"
        raise UserError(
            f"The run in {folder.name} was started with another {option}{told}.",
            hint="Resume it with the options it was started with, or start anew.",
        )
    return tuple(changes)


def _told(value: Any) -> str:
    return "none" if value in (None, "", []) else json.dumps(value)
