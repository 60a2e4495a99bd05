"""The end of a run: fit statistic, scores, card, model folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.evaluation.scores import Scores, mean_of
from engine.evaluation.scoring import score_model
from engine.evaluation.stability import measure_stability
from engine.evaluation.target_free import false_finds
from engine.models.card import render_card
from engine.models.schema import FitStatistic, Lineage, ModelInfo, TargetEntry
from engine.models.store import read_entry
from engine.sdseg.fit import FitCloud, fit_statistic, trunk_sha256
from engine.sdseg.folder import save_model
from engine.sdseg.segmenter import Segmenter
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.departures import departures
from engine.training.fit_data import has_colour, seen_features
from engine.training.geometry import target_free_share
from engine.training.options import TrainOptions
from engine.training.reading import pairs_of
from engine.training.start import Start
from engine.training.trainer import Trainer
from engine.training.validation import best_temperature

Say = Callable[[str], None]
DRAFT = "draft"
# Enough to tell a model that ignores its noise from one that does not.
SPREAD_CASES, SPREAD_RUNS = 10, 4
FREE_VIEWS = 200


def finish(
    options: TrainOptions,
    trainer: Trainer,
    start: Start,
    decoding: Mapping[str, float],
    say: Say,
) -> dict[str, Any]:
    """Measures the finished network and writes its folder.

    Args:
        options: of the run.
        trainer: with the averaged weights in place.
        start: what the run started from.
        decoding: what the mask autoencoder allows at best, by its name on the card.
        say: told what happens.

    Returns:
        What `--json` reports.
    """
    cloud, statistic = _measure_fit(trainer, options)
    info = _describe(options, trainer, start, statistic)
    scores: dict[str, Any] = dict(decoding)
    scores |= _measured(options, trainer, info, say)
    if options.more_scores is not None:
        scores |= read_scores(options.more_scores)
    info = info.model_copy(update={"scores": scores})
    card = render_card(info, options.identity.notes)
    info = save_model(options.output, trainer.network, info, card, cloud.tensors())
    entry = read_entry(options.output)
    say(f"wrote {options.output}")
    return {
        "model": {"name": info.name, "sha256": entry.sha256},
        "scores": scores,
        "steps": trainer.step,
        "cpu_minutes": trainer.cpu_minutes,
    }


def _measured(options: TrainOptions, trainer: Trainer, info: ModelInfo, say: Say) -> dict[str, Any]:
    """All figures of the card that need the model as it will be stored."""
    draft = options.run_folder / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    found: dict[str, Any] = {}
    try:
        save_model(draft, trainer.network, info, "")
        segmenter = Segmenter.load(read_entry(draft), trainer.device.type)
        for split in (options.val, options.test):
            if split is not None:
                found |= _scores_of(segmenter, options, split, say)
        found |= _habits(segmenter, options, options.test or options.val, say)
        return found | _seen_without_target(options, trainer)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _seen_without_target(options: TrainOptions, trainer: Trainer) -> dict[str, float]:
    """How often the training really showed none, where views without it were asked for."""
    rules = options.augmentation
    if not rules.empty_share:
        return {}
    share = target_free_share(trainer.train_data, rules, options.seed, FREE_VIEWS)
    return {f"share of {FREE_VIEWS} augmented training pictures that show no target": share}


def read_scores(file: Path) -> dict[str, float]:
    """Figures that were measured elsewhere, by name.

    Raises:
        UserError: it can't be read, or is not an object of names and numbers.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file.name} does not hold figures for the card.",
            hint='It should look like {"Dice of liver over five folds": 0.91}.',
        ) from error


def _measure_fit(trainer: Trainer, options: TrainOptions) -> tuple[FitCloud, FitStatistic]:
    train, val = trainer.train_data, trainer.val_data
    cloud, threshold = fit_statistic(seen_features(train), seen_features(val), len(train.names))
    statistic = FitStatistic(
        threshold=threshold,
        modalities=options.identity.modalities,
        colour=options.preprocessing.channels == "rgb" and has_colour(train),
        trunk_sha256=trunk_sha256(),
    )
    return cloud, statistic


def _scores_of(
    segmenter: Segmenter, options: TrainOptions, split: Path, say: Say
) -> dict[str, Any]:
    pairs = pairs_of(options, split)
    scores: Scores = score_model(segmenter, pairs, {t.name: t for t in options.targets})
    found = {
        f"Dice on {split.name}, {len(pairs)} cases, native grid": scores.mean("dice"),
        f"IoU on {split.name}": scores.mean("iou"),
    }
    if len(options.targets) > 1:
        for target in options.targets:
            rows = [figures[target.name]["dice"] for figures in scores.cases.values()]
            found[f"Dice of {target.name} on {split.name}"] = mean_of(rows)
    say("; ".join(f"{name}: {value:.4f}" for name, value in found.items() if value is not None))
    return found


def _habits(segmenter: Segmenter, options: TrainOptions, split: Path, say: Say) -> dict[str, Any]:
    """False finds where there is no target, and how far samples differ."""
    pairs = pairs_of(options, split)
    values = tuple(sorted({n for t in options.targets for n in t.class_ids}))
    finds = false_finds(segmenter, pairs, values)
    spread = measure_stability(segmenter, pairs[:SPREAD_CASES], SPREAD_RUNS)
    found: dict[str, Any] = {
        f"target-free views of {split.name}": finds.views,
        "share of them with more than 0.1 % foreground": finds.share,
        f"mean pairwise Dice of {SPREAD_RUNS} runs with their own noise": spread["masks"]["dice"],
    }
    say("; ".join(f"{name}: {value}" for name, value in found.items()))
    return found


def _describe(
    options: TrainOptions,
    trainer: Trainer,
    start: Start,
    statistic: FitStatistic,
) -> ModelInfo:
    identity, network = options.identity, trainer.network
    trunk = isinstance(network.vision_encoder, TrunkVisionEncoder)
    share = options.objective.last_share
    temperature = None
    if network.channel_classes > 1:
        temperature = best_temperature(network, trainer.val_data, trainer.device, options.seed)
    return ModelInfo(
        name=identity.name,
        title=identity.title or identity.name,
        preset=start.preset,
        kind=identity.kind,
        classes=options.classes,
        targets=tuple(TargetEntry(name=t.name, class_ids=t.class_ids) for t in options.targets),
        class_coding="binary" if len(options.groups) == 1 else "channels",
        softmax_temperature=temperature,
        preprocessing=options.preprocessing,
        plane=options.plane,
        roi=options.roi,
        schedule=start.schedule,
        trained_timesteps="last" if share >= 1 else "mixed" if share > 0 else "uniform",
        prediction_type=network.prediction_type,
        vision_encoder="trunk" if trunk else "published",
        scale_factor=network.scale_factor,
        precision="fp32" if start.preset == "paper" else "fp16",
        fit=statistic,
        lineage=_lineage(options, trainer, start),
        departures=departures(options, start),
        licence=identity.licence,
    )


def _lineage(options: TrainOptions, trainer: Trainer, start: Start) -> Lineage:
    return Lineage(
        parent_sha256=start.parent_sha256,
        initial_weights=start.weights,
        data=options.identity.data,
        train_cases=len(trainer.train_data.names),
        command=options.command,
        steps=trainer.step,
        cpu_minutes=round(trainer.cpu_minutes, 1),
        recipe=options.recipe,
    )
