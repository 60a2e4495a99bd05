"""The recipe of a data set as training options, and what of it decides a run."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers.plan import Run
from engine.cli.train import add_parser, options_of
from engine.errors import UserError
from engine.evaluation.pairs import read_names
from engine.system.resources import resource_path
from engine.training.options import TrainOptions

NEVER = 10**9
# A recipe of an hour may train its mask autoencoder longer than five minutes allow for. Encode ->
# decode Dice on val after 150 steps: polyp 0.988, lungs 0.993; several classes take longer.
AUTOENCODER_STEPS = 150
AUTOENCODER_STEPS_SEVERAL = 500
SPLITS = ("train", "val", "test")


def recipe_file(name: str) -> Path:
    """The file of a recipe.

    Raises:
        UserError: it is not there.
    """
    file = resource_path("recipes") / f"{name}.args"
    if not file.is_file():
        raise UserError(f"There is no recipe {name}.", hint=f"Write resources/recipes/{name}.args.")
    return file


def read_recipe(run: Run, data: Path, work: Path) -> TrainOptions:
    """The options that `train @recipe --data FOLDER` would have, with the run's seed.

    Args:
        run: names recipe and data set.
        data: holds one folder a data set.
        work: where the run may keep its files.

    Raises:
        UserError: recipe or data are not there.
    """
    folder = data / run.folder
    if not folder.is_dir():
        raise UserError(f"There is no folder {run.folder} in {data}.", hint="Check --data.")
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = [f"@{recipe_file(run.recipe)}", "--data", str(folder), "--output", str(work / "model")]
    words += ["--device", "cpu"]  # a GPU that is there must not choose the precision
    options = options_of(parser.parse_args(["train", *words]), "")
    return replace(options, seed=run.seed)


def five_minutes(options: TrainOptions) -> TrainOptions:
    """The same with a shorter autoencoder, and no stop but that of the budget."""
    rules = options.optimisation
    most = AUTOENCODER_STEPS if len(options.groups) == 1 else AUTOENCODER_STEPS_SEVERAL
    short = min(rules.autoencoder_steps, most)
    return replace(
        options,
        optimisation=replace(rules, steps=NEVER, autoencoder_steps=short),
        val_every=NEVER,
        checkpoint_every=NEVER,
    )


def deciding(run: Run, options: TrainOptions, rate: float | None) -> dict[str, Any]:
    """What decides a run's result, in values that JSON holds.

    Defaults are left out, so that a new option of training that is off makes no result stale.

    Args:
        run: which.
        options: of the recipe.
        rate: of a peer; None for SDSeg, whose recipe has its own.
    """
    rules = options.optimisation
    shared = {
        "targets": [[t.name, list(t.class_ids)] for t in options.targets],
        "splits": {name: _digest(getattr(options, name)) for name in SPLITS},
        "plane": options.plane,
        "preprocessing": options.preprocessing.model_dump(exclude_defaults=True),
        "augmentation": changed(options.augmentation),
        "seed": run.seed,
    }
    if run.side == "sdseg":
        own = {"preset": options.preset, "objective": changed(options.objective)}
        own["optimisation"] = changed(rules)
        return json.loads(json.dumps({**shared, **own}))
    names = ("batch", "warmup", "weight_decay", "clip", "ema_decay", "trunk_factor", "precision")
    return json.loads(
        json.dumps({**shared, "rate": rate, **{name: getattr(rules, name) for name in names}})
    )


def changed(options: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults."""
    assert is_dataclass(options) and not isinstance(options, type)
    usual = type(options)()
    values = asdict(options)
    return {
        f.name: values[f.name] for f in fields(options) if values[f.name] != getattr(usual, f.name)
    }


def digest(values: Any) -> str:
    """A short hash of values that JSON holds."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _digest(split: Path | None) -> str | None:
    return digest(read_names(split)) if split else None
