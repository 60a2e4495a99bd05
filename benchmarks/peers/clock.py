"""What a step costs on this computer, and from it what a shipped model's recipe would take here.

Built-in models are trained on whatever computer is at hand, and its minutes are not this one's. So
part b doesn't believe what a model says it took: it times some steps of its recipe here.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import torch

from benchmarks.budget import Budget
from benchmarks.claim import claim
from benchmarks.peers.plan import Run
from benchmarks.peers.recipes import digest, read_recipe
from benchmarks.peers.setting import Setting, options_for, shipped_model
from benchmarks.peers.sides import begin
from engine.errors import UserError
from engine.system.atomic import atomic_write_text
from engine.training.run import read_data

STEPS = 30  # that are timed: about a minute


@dataclass(frozen=True)
class StepCost:
    """Of one side.

    Attributes:
        step: mean processor seconds of a step.
        autoencoder_step: mean processor seconds of a step of SDSeg's autoencoder; else 0.
        parameters: that an answer needs.
        batch: pictures a step.
        size: their side in pixels.
    """

    step: float
    autoencoder_step: float
    parameters: int
    batch: int
    size: int


def processor() -> str:
    """Its name and its instructions for bf16; equal times are only fair on equal processors."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    name = str(known.get("cpu_name", "unknown"))
    return ", ".join([name, *(word for word in ("avx512_bf16", "amx_bf16") if known.get(word))])


def step_cost(run: Run, setting: Setting, steps: int) -> StepCost:
    """Times the first steps of a run; nothing is kept.

    SDSeg makes the mask latents that it keeps later on in its first steps, so it looks a little
    slower than it is over a whole run.

    Args:
        run: whose side, recipe and data.
        setting: of the command.
        steps: of the autoencoder, and of the training proper.
    """
    options = replace(
        options_for(run, setting), output=setting.work / f"{run.name}-timed" / "model"
    )
    few = replace(options, optimisation=replace(options.optimisation, autoencoder_steps=steps))
    shutil.rmtree(few.run_folder.parent, ignore_errors=True)
    data = read_data(few, lambda _: None)
    budget = Budget(1e9)
    rate = setting.results.rate_of(run)[0]
    side = begin(run.side, rate, few, data, budget, lambda _: None)
    autoencoder = budget.spent / steps if run.side == "sdseg" else 0.0
    took: list[float] = []
    for _ in range(steps):
        before = budget.spent
        with budget.counting():
            side.update()
        took.append(budget.spent - before)
    shutil.rmtree(few.run_folder.parent, ignore_errors=True)
    return StepCost(
        fmean(took), autoencoder, side.parameters, few.optimisation.batch, few.preprocessing.size
    )


def recipe_seconds(run: Run, setting: Setting, steps: int = STEPS) -> float:
    """Processor time that the recipe of a run's shipped model takes on this computer.

    Timed once a model and processor; the figure is kept beside the results, so that both peers of
    a data set get the same, and whoever reads them sees where it comes from.

    Args:
        run: of part b.
        setting: of the command.
        steps: that are timed.

    Raises:
        UserError: the shipped model is not there, or does not say how many steps it took.
    """
    entry = shipped_model(run)
    wanted = entry.info.lineage.steps
    if not wanted:
        raise UserError(f"The built-in model {run.recipe} does not say how long it was trained.")
    mark = digest([entry.sha256, processor(), steps])
    note = setting.results.folder / "clock" / f"{run.recipe}-{mark}.json"
    with claim(setting.work / "clock" / note.stem, wait=True):  # another may be timing it
        if not note.is_file():
            setting.say(f"  timing {steps} steps of the recipe {run.recipe}")
            cost = step_cost(replace(run, side="sdseg"), setting, steps)
            own = read_recipe(run, setting.data, setting.work).optimisation
            seconds = cost.step * wanted + cost.autoencoder_step * own.autoencoder_steps
            told = {"seconds": round(seconds, 1), "processor": processor(), **asdict(cost)}
            note.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(note, json.dumps(told, indent=1) + "\n")
    return float(json.loads(note.read_text(encoding="utf-8"))["seconds"])
