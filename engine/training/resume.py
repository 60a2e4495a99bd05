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
from engine.training.options import TrainOptions

# Options whose names are not their fields'.
OPTION = {
    "latent_lambda": "--lambda",
    "scale_lr": "--no-scale-lr",
    "prediction_type": "--prediction",
    "start": "--from",
}
# Settings whose values tell a reader nothing.
HASHES = ("train", "val", "project", "start")


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


def _lists(options: TrainOptions) -> dict[str, str]:
    """What is learned from and checked with: names, or the labels in projects."""
    if options.dealt is None:
        return {name: _digest(read_names(getattr(options, name))) for name in ("train", "val")}
    sides = (("train", options.dealt.train), ("val", options.dealt.val))
    return {"project": _digest([f"{n} {s.name} {s.content}" for n, side in sides for s in side])}


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_same(state: Mapping[str, Any], chosen: Mapping[str, Any], folder: Path) -> None:
    """Refuses to resume a run with other options than it was started with.

    `--init` may be left out, since the checkpoint holds the weights. `--steps` may differ where the
    rate does not depend on it, as long as it has not been passed.

    Args:
        state: of the checkpoint.
        chosen: `settings` of the options given now.
        folder: of the run.

    Raises:
        UserError: naming the first option that differs.
    """
    started: Mapping[str, Any] = state.get("settings", {})
    for name in started:
        now, then = chosen.get(name), started[name]
        if now == then or (name == "init" and not now):
            continue
        if name == "steps" and started["decay"] == "constant" and now >= state["step"]:
            continue
        option = OPTION.get(name, "--" + name.replace("_", "-"))
        told = (
            ""
            if name in ("train", "val", "project", "start")
            else f" ({_told(then)}, now {_told(now)})"
        )
        raise UserError(
            f"The run in {folder.name} was started with another {option}{told}.",
            hint="Resume it with the options it was started with, or start anew.",
        )


def _told(value: Any) -> str:
    return "none" if value in (None, "", []) else json.dumps(value)
