"""`finetune`: a model learns from the corrected cases of a project."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import values
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.domain.training_news import TrainingNews
    from engine.training.finetune import Finetuning, Tell

NICE = 10  # beside a window, which goes first


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `finetune` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "finetune",
        help="let a model learn from the corrected cases of a project",
        description="Trains a copy of a model on a project's corrected and approved cases. A fifth "
        "of them, chosen once and by patient, is kept apart in the project to check with. The "
        "model it starts from is never changed.",
    )
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("project", type=Path, metavar="PROJECT", help="a saved project")
    parser.add_argument("--model", required=True, metavar="NAME", help="name or folder")
    parser.add_argument(
        "--minutes",
        type=values.number(0, 10_000, above=True),
        default=15.0,
        metavar="N",
        help="(15)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the new model (one among the user's models)"
    )
    parser.add_argument("--title", default="", help="of the new model")
    parser.add_argument("--seed", type=values.seed, default=0)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--news", action="store_true", help=argparse.SUPPRESS)  # for the window
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains and writes the model folder."""
    return _run_beside_window(args) if args.news else _run_here(args)


def _run_here(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.store import find_model
    from engine.training.finetune import check_output
    from engine.training.plan import freeze_split, plan

    model = find_model(args.model)
    if args.output is not None:
        check_output(args.output)  # before anything is noted in the project
    freeze_split(args.project, model.info)
    found = plan(args.project, model.info)
    print(f"to learn from: {', '.join(found.train)}")
    print(f"to check with: {', '.join(found.val)}")
    for name, reason in found.left_out:
        print(f"left out: {name} {reason}")
    report = _finetune(args, _Printer().tell)
    print(f"Dice on the validation cases: {report['dice']:.4f}, before {report['base_dice']:.4f}")
    print(f"wrote {report['model']['folder']}")
    return report


class _Printer:
    """A line now and then."""

    def __init__(self) -> None:
        self._stage = ""

    def tell(self, news: TrainingNews) -> None:
        """Prints what is worth a line."""
        if news.stage != self._stage:
            self._stage = news.stage
            words = "" if news.base_dice is None else f" (validation Dice {news.base_dice:.4f})"
            print(f"{news.stage}{words} ...", flush=True)
        if news.val_dice is not None:
            print(
                f"step {news.step}: loss {news.loss:.4f}  val Dice {news.val_dice:.4f}", flush=True
            )


def _run_beside_window(args: argparse.Namespace) -> dict[str, Any]:
    """As a child of the window: JSON lines, behind it in the queue for the processor, and no
    longer than it.
    """
    from engine.system.children import end_with_parent

    end_with_parent()
    _stand_back()
    try:
        report = _finetune(args, lambda news: _print_json(news.as_json()))
    except UserError as error:
        _print_json({"error": error.message, "hint": error.hint})
        raise
    _print_json({"done": report})
    return report


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def _stand_back() -> None:
    import psutil

    lower = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", NICE)  # the former on Windows
    psutil.Process().nice(lower)


def _finetune(args: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    import os
    from tempfile import TemporaryDirectory

    from engine.models.records import make_folder
    from engine.system.interrupt import Interrupt
    from engine.system.paths import user_data_dir
    from engine.training.finetune import finetune

    drafts = user_data_dir() / "training"
    make_folder(drafts)
    _sweep(drafts)
    mine = TemporaryDirectory(prefix=f"{os.getpid()}-", dir=drafts)
    with Interrupt() as interrupt, mine as work:
        return finetune(_wish(args, Path(work)), tell, lambda: interrupt.raised)


def _sweep(drafts: Path) -> None:
    """Deletes what runs that were killed left behind; a folder's name starts with its process."""
    import shutil

    import psutil

    for path in drafts.iterdir():
        owner = path.name.split("-")[0]
        if not (owner.isdecimal() and psutil.pid_exists(int(owner))):
            shutil.rmtree(path, ignore_errors=True)


def _wish(args: argparse.Namespace, work: Path) -> Finetuning:
    from datetime import date

    from engine.models.naming import finetuned_name, finetuned_title
    from engine.models.records import store_folder, title_fault
    from engine.models.store import find_model
    from engine.training.finetune import Finetuning

    model, today = find_model(args.model), date.today()
    output = args.output or store_folder() / finetuned_name(model, today)
    title = args.title.strip() or finetuned_title(model, today)
    if fault := title_fault(title):
        raise UserError(f"The new model can't get this title: {fault}.", hint="Choose another.")
    return Finetuning(
        args.project, model, args.minutes, output, work, title, args.device, args.seed
    )
