"""What all runs of a command share, and where a run finds its recipe and its shipped model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.plan import Run
from benchmarks.peers.recipes import five_minutes, read_recipe
from benchmarks.peers.results import Results
from engine.errors import UserError
from engine.models.store import ModelEntry, read_entry
from engine.system.resources import resource_path
from engine.training.options import TrainOptions


@dataclass(frozen=True)
class Setting:
    """What all runs of a command share.

    Attributes:
        data: holds one folder a data set.
        work: for unfinished runs; may be deleted.
        results: where results are kept.
        seconds: of processor time instead of the plan's, for a trial; None is the plan's.
        say: told what happens.
        is_cancelled: asked at each step.
    """

    data: Path
    work: Path
    results: Results
    seconds: float | None = None
    say: Callable[[str], None] = print
    is_cancelled: Callable[[], bool] = lambda: False


def shipped_model(run: Run) -> ModelEntry:
    """The built-in model of a run's data set.

    Raises:
        UserError: it is not there yet.
    """
    try:
        return read_entry(resource_path("models", run.recipe))
    except UserError as error:
        raise UserError(
            f"{run.name} waits for the built-in model {run.recipe}.",
            hint=f"Train it with resources/recipes/{run.recipe}.args first.",
        ) from error


def options_for(run: Run, setting: Setting) -> TrainOptions:
    """The recipe's options for a run of limited time."""
    return five_minutes(read_recipe(run, setting.data, setting.work / run.name))
