"""A model learns from the corrected cases of a project; the model it starts from stays as it is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.domain.targets import Target
from engine.domain.training_news import TrainingNews
from engine.errors import Cancelled, UserError
from engine.evaluation.scoring import score_model
from engine.models.card import render_card
from engine.models.records import make_folder
from engine.models.schema import Lineage, ModelInfo
from engine.models.store import ModelEntry, read_entry
from engine.sdseg.folder import load_fit, save_model
from engine.sdseg.segmenter import Segmenter
from engine.system.disk import require_space
from engine.training.dataset import SliceDataset, read_dataset
from engine.training.departures import departures
from engine.training.options import Augmentation, Identity, Objective, Optimisation, TrainOptions
from engine.training.plan import deal
from engine.training.project_cases import ProjectSource
from engine.training.split import Split
from engine.training.start import Start, make_start
from engine.training.team import Team
from engine.training.trainer import Progress, Trainer
from engine.training.validation import best_temperature

Tell = Callable[[TrainingNews], None]
IsCancelled = Callable[[], bool]
DRAFT = "draft"
NO_LIMIT = 10**9  # of steps: the minutes end a run
NEWS_S = 0.25
# Validation points over a run, and the share of its time that they may take.
POINTS, VALIDATION_SHARE = 30, 0.1
NOTES = (
    "Made from corrected cases of one project; it was checked on very few others. On pictures "
    "unlike them it may be worse than the model it started from. Whether a picture fits is "
    "judged as for that model."
)


@dataclass(frozen=True)
class Finetuning:
    """One fine-tuning.

    Attributes:
        project: the project file whose cases are learned from.
        model: to start from.
        minutes: of learning; reading and scoring come on top.
        output: the model folder to write.
        work: folder of the run's own files, which goes in the end.
        title: of the new model; its name is the output's.
    """

    project: Path
    model: ModelEntry
    minutes: float
    output: Path
    work: Path
    title: str
    device: str = "auto"
    seed: int = 0


def finetune(
    wish: Finetuning, tell: Tell, is_cancelled: IsCancelled | None = None
) -> dict[str, Any]:
    """Trains on a project's cases and writes the new model.

    Args:
        wish: what to do.
        tell: told how far it is.
        is_cancelled: asked between two cases and between two steps.

    Returns:
        What `--json` reports.

    Raises:
        Cancelled: asked to stop; nothing is left behind.
        UserError: the cases can't be used, or the output exists.
    """
    check_output(wish.output)
    stop = is_cancelled or _never
    tell(TrainingNews("reading"))
    make_folder(wish.output.parent)
    require_space(wish.output.parent, _size(wish.model.folder))
    _, split = deal(wish.project, wish.model.info)
    make_folder(wish.work)
    try:
        run = _prepare(wish, split, stop)
        _train(run, tell, stop)
        tell(TrainingNews("scoring", run.trainer.step, 1.0))
        return _finish(run, stop)
    finally:
        shutil.rmtree(wish.work, ignore_errors=True)


def check_output(output: Path) -> None:
    """Refuses a folder that is there already."""
    if output.exists():
        raise UserError(f"{output.name} exists already.", hint="Choose another --output.")


def _never() -> bool:
    return False


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@dataclass(eq=False)
class _Run:
    """A run that is ready to begin, and what it finds out."""

    wish: Finetuning
    options: TrainOptions
    split: Split
    start: Start
    trainer: Trainer
    base_dice: float = 0.0


def _prepare(wish: Finetuning, split: Split, stop: IsCancelled) -> _Run:
    # One core is left to the window: threads that wait for one another on cores that others use
    # spin, and a step then takes many times as long.
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    options = options_for(wish, split)
    start = make_start(options, None, _quiet)
    train, val = (_read(sources, options, stop) for sources in (split.train, split.val))
    team = Team(wish.device)
    trainer = Trainer(start.network.to(team.device), train, val, options, team)
    return _Run(wish, options, split, start, trainer)


def _quiet(text: str) -> None:
    del text


def _read(
    sources: Sequence[ProjectSource], options: TrainOptions, stop: IsCancelled
) -> SliceDataset:
    def look(done: int, total: int) -> None:
        del done, total
        if stop():
            raise Cancelled

    return read_dataset(sources, options.preprocessing, options.groups, options.plane, look)


# As the compact models were trained, at a fifth of their rate. Few cases are soon learnt by heart:
# so averages decide, and pictures vary, but never as may be wrong for an organ (no flips).
LEARNING = Optimisation(
    steps=NO_LIMIT, batch=4, base_lr=5e-5, warmup=20, clip=1.0, ema_all=True, ema_decay=0.99
)
AUGMENTATION = Augmentation(
    flips="",
    rotate=10.0,
    scale=(0.85, 1.15),
    aspect=0.1,
    shift=0.06,
    gamma=1.25,
    contrast=0.2,
    brightness=0.1,
    colour=0.08,
    saturation=0.2,
    blur=0.8,
    noise=0.04,
)


def options_for(wish: Finetuning, split: Split) -> TrainOptions:
    """How a model is fine-tuned; what its `model.json` says holds."""
    info = wish.model.info
    last = {"last": 1.0, "mixed": 0.5, "uniform": 0.5}[info.trained_timesteps]
    return TrainOptions(
        images=Path(),  # the cases are the project's
        masks=Path(),
        train=wish.work / "train.txt",
        val=wish.work / "val.txt",
        dealt=split,
        output=wish.work / "model",
        targets=tuple(Target(target.name, target.class_ids) for target in info.targets),
        class_names=info.classes,
        preprocessing=info.preprocessing,
        plane=info.plane,
        roi=info.roi,
        identity=Identity(wish.output.name, wish.title),
        start=wish.model.folder,
        objective=Objective(sdseg_weight=0.3, mask_weight=1.0, last_share=last),
        optimisation=replace(LEARNING, minutes=wish.minutes),
        augmentation=AUGMENTATION,
        seed=wish.seed,
        val_every=NO_LIMIT,
        checkpoint_every=NO_LIMIT,
    )


def _train(run: _Run, tell: Tell, stop: IsCancelled) -> None:
    began = time.monotonic()
    run.base_dice = run.trainer.validate()  # before the first step the averages are the base's
    watch = _Watch(run, tell, time.monotonic() - began)
    watch.say(None)
    run.trainer.run(watch.take, stop)


class _Watch:
    """Tells how far a run is, and validates from time to time."""

    def __init__(self, run: _Run, tell: Tell, validation_s: float) -> None:
        self._trainer, self._tell = run.trainer, tell
        self._base_dice, self._length = run.base_dice, 60.0 * run.wish.minutes
        self._pause = max(self._length / POINTS, validation_s / VALIDATION_SHARE)
        self._began = self._validated = time.monotonic()
        self._said = 0.0

    def take(self, progress: Progress) -> None:
        """After each step."""
        now, dice = time.monotonic(), progress.val_dice
        if dice is None and now - self._validated >= self._pause:
            dice = self._trainer.validate()
            self._validated = time.monotonic()
        if dice is not None or now - self._said >= NEWS_S:
            self.say(progress.losses["loss"], dice)

    def say(self, loss: float | None, dice: float | None = None) -> None:
        """One piece of news."""
        self._said = time.monotonic()
        passed = min(self._said - self._began, self._length)
        self._tell(
            TrainingNews(
                "training",
                self._trainer.step,
                passed / self._length,
                self._length - passed,
                loss,
                dice,
                self._base_dice,
            )
        )


def _finish(run: _Run, stop: IsCancelled) -> dict[str, Any]:
    """Scores the new model beside the one it started from, and writes its folder."""
    wish, network, count = run.wish, run.trainer.network, len(run.split.val)
    info, fit = _describe(run), load_fit(wish.model.folder)
    draft = wish.work / DRAFT
    save_model(draft, network, info, "", fit)
    new, before = (_dice(run, entry, stop) for entry in (read_entry(draft), wish.model))
    cases = f"{count} validation {'case' if count == 1 else 'cases'} of the project, native grid"
    scores = {f"Dice on {cases}": new, f"Dice of {wish.model.title} on them": before}
    info = info.model_copy(update={"scores": scores})
    info = save_model(wish.output, network, info, render_card(info, NOTES), fit)
    return {
        "model": {
            "name": info.name,
            "title": info.title,
            "sha256": read_entry(wish.output).sha256,
            "folder": str(wish.output),
        },
        "base": {"name": wish.model.name, "sha256": wish.model.sha256},
        "dice": new,
        "base_dice": before,
        "train_cases": len(run.split.train),
        "val_cases": count,
        "steps": run.trainer.step,
        "cpu_minutes": run.trainer.cpu_minutes,
    }


def _dice(run: _Run, entry: ModelEntry, stop: IsCancelled) -> float | None:
    """Of a model on the validation cases, on their own grids, where a person has looked."""
    segmenter = Segmenter.load(entry, run.trainer.device.type)
    pairs = [source.pair for source in run.split.val]
    targets = {target.name: target for target in run.options.targets}
    return score_model(segmenter, pairs, targets, is_cancelled=stop).mean("dice")


def _as_done(run: _Run) -> TrainOptions:
    """The options with the steps that there was time for."""
    rules = replace(run.options.optimisation, steps=run.trainer.step)
    return replace(run.options, optimisation=rules)


def _describe(run: _Run) -> ModelInfo:
    """The base's model.json with what is new."""
    wish, trainer, base = run.wish, run.trainer, run.wish.model.info
    temperature = base.softmax_temperature
    if trainer.network.channel_classes > 1:
        seed = run.options.seed
        temperature = best_temperature(trainer.network, trainer.val_data, trainer.device, seed)
    uniform = base.trained_timesteps == "uniform"
    changes = {
        "name": wish.output.name,
        "title": wish.title,
        "softmax_temperature": temperature,
        "trained_timesteps": "mixed" if uniform else base.trained_timesteps,
        "lineage": Lineage(
            parent_sha256=wish.model.sha256,
            initial_weights=(base.name,),
            data=f"{len(run.split.train)} corrected cases of a project, on top of: "
            f"{base.lineage.data or 'unknown'}",
            train_cases=len(run.split.train),
            # Names of projects and cases may be patients' and stay out.
            command=f"sdseg finetune PROJECT --model {base.name} --minutes {wish.minutes:g}",
            steps=trainer.step,
            cpu_minutes=round(trainer.cpu_minutes, 1),
        ),
        "departures": departures(_as_done(run), run.start),
        "scores": {},
        "hashes": {},
    }
    return base.model_copy(update=changes)
