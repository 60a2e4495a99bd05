"""A row's training options, as the product's `train` would take them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paper.plan import DATA_SETS, SETTINGS, DataSet, Row
from engine.cli.train import add_parser, options_of
from engine.errors import UserError
from engine.models.schema import Preprocessing
from engine.sdseg.config import PRESETS, SDSegConfig
from engine.system.resources import resource_path
from engine.training.options import Identity, Objective, Optimisation, TrainOptions

NEVER = 10**9  # the clock ends a run, not the steps


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        pixels: side of the network's picture.
        published, trunk: presets with either kind of vision encoder.
        batch: pictures a step.
        autoencoder_steps: of the autoencoder, which comes before and is not paid from the minutes.
        watched: pictures of the test list that condition latents are measured on.
        timed: slices that speed is measured on.
        many: (steps, samples) of MedSegDiff's reverse process, for table 4.
        runs: of the stability protocol.
    """

    pixels: int = 256
    published: str = "compact-published"
    trunk: str = "compact"
    batch: int = 4
    autoencoder_steps: int = 1000
    watched: int = 16
    timed: int = 10
    many: tuple[int, int] = (50, 25)
    runs: int = 4


COMPACT = Scale()


@dataclass(frozen=True)
class Place:
    """Where things lie.

    Attributes:
        data: holds one folder a data set.
        work: models and checkpoints of rows; not committed.
        results: one JSON a row.
    """

    data: Path
    work: Path
    results: Path


def short_run(batch: int) -> Optimisation:
    """The same for every row but the recipe's: chosen for minutes, where the paper has hours.

    The paper's rate and its 10,000 steps of warm-up would leave a run of minutes untrained. The
    rate falls as a cosine over the row's time.
    """
    return Optimisation(
        steps=NEVER, batch=batch, base_lr=1e-3, scale_lr=False, warmup=100, clip=1.0,
        ema_decay=0.998,
    )  # fmt: skip


def options_for(row: Row, place: Place, scale: Scale) -> TrainOptions:
    """Everything that decides a row but its minutes and how the condition is taken in.

    Raises:
        UserError: the data are not there.
    """
    setting, data_set = SETTINGS[row.setting], DATA_SETS[row.data_set]
    common = {
        "preset": scale.trunk if setting.vision == "trunk" else scale.published,
        "prediction_type": setting.prediction,
        "init": (autoencoder_folder(row.data_set, place, scale),),
    }
    options = _plain(row, data_set, place, scale)
    if setting.recipe:
        options = _with_recipe(options, data_set, scale)
    objective = replace(options.objective, **setting.objective)
    if not setting.recipe:
        objective = replace(objective, latent_lambda=setting.latent_lambda)
    rules = replace(options.optimisation, freeze_encoder=setting.frozen)
    return replace(options, objective=objective, optimisation=rules, **common)


def _plain(row: Row, data_set: DataSet, place: Place, scale: Scale) -> TrainOptions:
    folder = place.data / data_set.folder
    if not folder.is_dir():
        raise UserError(f"There is no folder {data_set.folder} in {place.data}.", "Check --data.")
    return TrainOptions(
        images=folder / "images",
        masks=folder / "masks",
        train=folder / "train.txt",
        val=folder / "val.txt",
        output=place.work / row.name / "model",
        targets=(data_set.target,),
        preprocessing=Preprocessing(size=scale.pixels, **data_set.preparation),
        identity=Identity(row.name),
        objective=Objective(),
        optimisation=short_run(scale.batch),
        checkpoint_every=NEVER,  # the clock would run while the trainer wrote its own
    )


def _with_recipe(options: TrainOptions, data_set: DataSet, scale: Scale) -> TrainOptions:
    """Objective, optimisation and augmentation of the built-in recipe; pictures stay as they are.

    Its own size, its several classes and its kept variants of mask latents are not taken: these
    concern the product, not the method. The precision is that of the other rows, whatever this
    computer's would be.
    """
    file = resource_path("recipes") / f"{data_set.recipe}.args"
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["train", f"@{file}", "--data", str(options.images.parent), "--output", "unused"]
    recipe = options_of(parser.parse_args(words), "")
    rules = recipe.optimisation
    changes: dict[str, Any] = {
        "steps": NEVER, "batch": scale.batch, "base_lr": rules.learning_rate, "scale_lr": False,
        "decay": "constant", "latent_variants": 0, "precision": options.optimisation.precision,
    }  # fmt: skip
    return replace(
        options,
        objective=recipe.objective,
        optimisation=replace(rules, **changes),
        augmentation=recipe.augmentation,
    )


def configuration(options: TrainOptions, scale: Scale) -> SDSegConfig:
    """The network of a row, before its U-Net is exchanged."""
    preset = replace(PRESETS[options.preset or "paper"], size=scale.pixels)
    kind = options.prediction_type
    return replace(preset, prediction_type=kind) if kind else preset


def autoencoder_folder(data_set: str, place: Place, scale: Scale) -> Path:
    """Where a data set's autoencoder is kept; one of another size is another."""
    return place.work / f"autoencoder-{data_set}-{scale.pixels}px-{scale.autoencoder_steps}"
