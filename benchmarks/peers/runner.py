"""Does one run: trains for its time, scores, and writes the result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.budget import Budget
from benchmarks.claim import claim
from benchmarks.peers.answers import PeerSegmenter
from benchmarks.peers.clock import processor, recipe_seconds
from benchmarks.peers.plan import CPU_PER_MINUTE, MINUTES, Run, planned
from benchmarks.peers.recipes import deciding, digest
from benchmarks.peers.results import Result
from benchmarks.peers.scores import score_all, score_plain, summary
from benchmarks.peers.setting import Setting, options_for, shipped_model
from benchmarks.peers.sides import Side, begin
from engine.domain.targets import Target
from engine.errors import Cancelled, UserError
from engine.evaluation.pairs import Pair, find_pairs, read_names
from engine.models.store import ModelEntry
from engine.sdseg.segmenter import Segmenter
from engine.system.atomic import atomic_write
from engine.training.checkpoint import TENSORS, read_state
from engine.training.options import TrainOptions
from engine.training.run import read_data

SAVE_EVERY = 120.0  # CPU seconds between two checkpoints
TELL_EVERY = 30.0
DECIDES = "decides.txt"


def seconds_of(run: Run, setting: Setting) -> float:
    """Processor time of a run: the plan's, or what the shipped model's recipe takes here.

    Raises:
        UserError: the shipped model is not there, or does not say.
    """
    if setting.seconds is not None:
        return setting.seconds
    if run.part == "b":
        return recipe_seconds(run, setting)
    return MINUTES[run.part] * CPU_PER_MINUTE * 60.0


def fingerprint(run: Run, setting: Setting) -> str:
    """Changes when the run's result would."""
    if run.is_shipped:
        return digest({"model": shipped_model(run).sha256})
    rate = setting.results.rate_of(run)[0]
    decides = {**deciding(run, options_for(run, setting), rate), "side": run.side}
    if run.part == "b" and setting.seconds is None:  # its time follows from the model
        return digest({**decides, "model": shipped_model(run).sha256})
    return digest({**decides, "seconds": seconds_of(run, setting)})


def do_run(run: Run, setting: Setting) -> bool:
    """Does a run that is not done yet; False if another process is at it.

    Raises:
        Cancelled: interrupted; what was trained is kept, and the next call goes on.
        UserError: data, recipe, model or the tuning of the rate are not there.
    """
    left = setting.results.tuning_left(run)
    if left and setting.seconds is None:  # a trial does without
        raise UserError(f"{run.name} waits for {left[0]}.", hint="It decides the rate: --only t.")
    if not run.only_val and options_for(run, setting).test is None:
        raise UserError(f"{run.name} has no test list.", hint="Its data need a test.txt.")
    folder = setting.work / run.name
    with claim(folder) as mine:
        if not mine:
            return False
        if setting.results.read(run) is None:  # else another was just before us
            result = _shipped(run, setting) if run.is_shipped else _trained(run, setting)
            setting.results.write(run, result)
        if run.part != "t":  # part a may need what the tuning has trained
            shutil.rmtree(folder, ignore_errors=True)
    return True


def _shipped(run: Run, setting: Setting) -> Result:
    entry = shipped_model(run)
    options = options_for(run, setting)
    segmenter = Segmenter.load(entry, "cpu")
    lineage = entry.info.lineage
    return {
        **_head(run, fingerprint(run, setting)),
        "cpu_seconds": round(seconds_of(run, setting), 1),
        "cpu_seconds_where_it_was_trained": (lineage.cpu_minutes or 0.0) * 60.0,
        "steps": lineage.steps,
        "model_sha256": entry.sha256,
        **_scores(run, segmenter, targets_of(entry), options, setting),
    }


def targets_of(entry: ModelEntry) -> dict[str, Target]:
    """A model's targets, whose class ids are the mask values that it was trained on."""
    return {t.name: Target(t.name, t.class_ids) for t in entry.info.targets}


def _trained(run: Run, setting: Setting) -> Result:
    mark = fingerprint(run, setting)
    options = options_for(run, setting)
    _forget_others(options, mark)
    trained_in = _adopt(run, options, mark, setting)
    rate, tried = setting.results.rate_of(run)
    budget = Budget(seconds_of(run, setting))
    data = read_data(options, setting.say)
    side = begin(run.side, rate, options, data, budget, setting.say)
    train(side, budget, setting)
    parameters = side.parameters
    segmenter = PeerSegmenter(side.finish(), options)
    targets = {t.name: t for t in options.targets}
    return {
        **_head(run, mark),
        "trained_in": trained_in,
        "precision": options.optimisation.precision,
        "rate": rate,
        "tuning_runs": tried,
        "cpu_seconds": round(budget.spent, 1),
        "before_schedule": round(budget.begun, 1),
        "steps": side.step,
        "parameters": parameters,
        **_scores(run, segmenter, targets, options, setting),
    }


def _head(run: Run, mark: str) -> dict[str, Any]:
    return {
        "run": run.name, "part": run.part, "data_set": run.data_set, "side": run.side,
        "seed": run.seed, "fingerprint": mark, "torch": torch.__version__,
        "threads": torch.get_num_threads(), "processor": processor(),
    }  # fmt: skip


def _adopt(run: Run, options: TrainOptions, mark: str, setting: Setting) -> str:
    """Takes over a tuning run's weights where it was the very same training; returns its name.

    The run of part a with the seed and rate of a tuning run would train the same again.
    """
    if run.part != "a" or read_state(options.run_folder) is not None:
        return run.name
    for other in planned():
        folder = setting.work / other.name / options.run_folder.name
        note = folder / DECIDES
        if other.part == "t" and note.is_file() and note.read_text(encoding="utf-8") == mark:
            if setting.results.read(other) is None or read_state(folder) is None:
                continue
            with atomic_write(options.run_folder / TENSORS) as draft:
                shutil.copyfile(folder / TENSORS, draft)
            setting.say(f"  trained already, as {other.name}")
            return other.name
    return run.name


def _forget_others(options: TrainOptions, mark: str) -> None:
    """A checkpoint of a run that was set up otherwise is of no use."""
    folder = options.run_folder
    note = folder / DECIDES
    if note.is_file() and note.read_text(encoding="utf-8") == mark:
        return  # written once: a kill while it was written again would cost the checkpoint
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    note.write_text(mark, encoding="utf-8")


def train(side: Side, budget: Budget, setting: Setting) -> None:
    """Steps until the time is over.

    Raises:
        Cancelled: interrupted; the state was saved.
    """
    saved = told = budget.spent
    while not budget.is_over:
        if setting.is_cancelled():
            side.save()
            raise Cancelled
        with budget.counting():
            loss = side.update()
        if budget.spent - saved > SAVE_EVERY:
            saved = budget.spent
            side.save()
        if budget.spent - told > TELL_EVERY:
            told = budget.spent
            setting.say(
                f"  {told:.0f} of {budget.seconds:.0f} s, step {side.step}, loss {loss:.3f}"
            )
    side.save()


def _scores(
    run: Run, segmenter: Any, targets: dict[str, Target], options: TrainOptions, setting: Setting
) -> dict[str, Any]:
    def pairs(split: Path) -> list[Pair]:
        return find_pairs(options.images, options.masks, read_names(split), split.name)

    ask = setting.is_cancelled
    found: dict[str, Any] = {
        "val": summary(score_plain(segmenter, pairs(options.val), targets, ask))
    }
    if not run.only_val:
        assert options.test is not None  # `do_run` has looked
        found |= score_all(segmenter, pairs(options.test), targets, ask)
    return found


def is_unfinished(run: Run, setting: Setting) -> bool:
    """True if a run was begun and can go on."""
    return read_state(setting.work / run.name / "model.run") is not None
