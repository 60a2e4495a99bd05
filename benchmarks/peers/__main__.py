"""SDSeg against what a user would pick instead, at equal processor time; see docs/accuracy.md.

    python -m benchmarks.peers --data DIR                  every run that is not done yet
    python -m benchmarks.peers --data DIR --only a b-polyp some of them
    python -m benchmarks.peers --list [--data DIR]         what is done, waits, or is stale
    python -m benchmarks.peers --table                     writes tables: accuracy.md, cards
    python -m benchmarks.peers --data DIR --score-model FOLDER [--set NAME]
    python -m benchmarks.peers --data DIR --time-steps 20  seconds a step of each side

DIR holds one folder a data set. A run that is interrupted goes on at the next call.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command import check_trial, run_command
from benchmarks.peers.plan import DATA_SETS, SIDES, Run, chosen, planned
from benchmarks.peers.results import Results
from engine.errors import Cancelled, UserError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "peers"
WORK = ROOT / "build" / "peers"
DOCUMENT = ROOT / "docs" / "accuracy.md"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="beginnings or patterns of names")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--score-model", type=Path, metavar="FOLDER")
    parser.add_argument("--set", choices=DATA_SETS, help="of --score-model; else by its recipe")
    parser.add_argument("--json", type=Path, metavar="FILE", help="of --score-model")
    parser.add_argument("--time-steps", type=int, metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="unfinished runs")
    parser.add_argument(
        "--trial-seconds", type=float, metavar="S",
        help="processor time of a run, for a trial; needs --results and --work of its own",
    )  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    results = Results(args.results)
    runs = chosen(planned(), args.only)
    if not runs:
        raise UserError("--only names no run.", hint="--list shows their names.")
    if args.trial_seconds is not None:
        check_trial((args.results, RESULTS), (args.work, WORK))
    if args.table:
        _write_tables(results)
        return 0
    if args.list:
        return _list(args, runs, results)
    if args.data is None:
        raise UserError("--data is missing.", hint="It holds one folder a data set.")
    if args.score_model:
        return _score_model(args)
    return _time_steps(args, runs, results) if args.time_steps else _do(args, runs, results)


def _do(args: argparse.Namespace, runs: list[Run], results: Results) -> int:
    from benchmarks.peers.runner import do_run
    from benchmarks.peers.setting import Setting
    from engine.system.interrupt import Interrupt

    _one_thread()
    waiting = 0
    with Interrupt() as interrupt:
        setting = Setting(
            args.data, args.work, results, args.trial_seconds, _say, lambda: interrupt.raised
        )
        for run in runs:
            done = results.read(run)
            if done is not None:
                told = _stale(run, done["fingerprint"], setting)
                if told:
                    _say(f"{run.name}{told}")
                continue
            if interrupt.raised:
                raise Cancelled
            _say(run.name)
            try:
                is_ours = do_run(run, setting)
            except UserError as error:  # the others may have all they need
                print(f"error: {run.name}: {error.message} {error.hint}", file=sys.stderr)
                waiting += 1
                continue
            _say(_outcome(results.read(run)) if is_ours else "  another is at it")
            if is_ours and args.results == RESULTS:
                _write_tables(results)
    return 1 if waiting else 0


def _outcome(result: dict[str, Any] | None) -> str:
    assert result is not None
    return f"  Dice {result.get('test', result['val'])['dice']:.4f}, {result['steps']} steps"


def _write_tables(results: Results) -> None:
    from benchmarks.peers.cards import write_cards
    from benchmarks.peers.tables import write_tables

    write_tables(DOCUMENT, planned(), results)
    cards = write_cards(ROOT / "resources" / "models", results)
    _say(f"  wrote the tables of {', '.join([DOCUMENT.name, *(c.parent.name for c in cards)])}")


def _list(args: argparse.Namespace, runs: list[Run], results: Results) -> int:
    from benchmarks.peers.runner import is_unfinished
    from benchmarks.peers.setting import Setting

    setting = Setting(args.data or Path(), args.work, results, args.trial_seconds)
    for run in runs:
        result = results.read(run)
        if result is None:
            state = "begun" if is_unfinished(run, setting) else "not run yet"
        else:
            state = f"{result.get('test', result['val'])['dice']:.3f}"
            if args.data is not None:
                state += _stale(run, result["fingerprint"], setting)
        print(f"{run.name:32} {state}")
    return 0


def _stale(run: Run, mark: str, setting: object) -> str:
    from benchmarks.peers.runner import fingerprint
    from benchmarks.peers.setting import Setting

    assert isinstance(setting, Setting)
    try:
        same = fingerprint(run, setting) == mark
    except UserError as error:
        return f"  ({error.message})"
    return "" if same else "  stale: recipe, rate, data or model changed; delete it to run anew"


def _score_model(args: argparse.Namespace) -> int:
    from benchmarks.peers.runner import targets_of
    from benchmarks.peers.scores import score_all
    from engine.evaluation.pairs import find_pairs, read_names
    from engine.models.store import read_entry
    from engine.sdseg.segmenter import Segmenter

    _one_thread()
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"There is no folder {args.json.parent}.", hint="Check --json.")
    entry = read_entry(args.score_model)
    recipes = {recipe: name for name, (_, recipe) in DATA_SETS.items()}
    data_set = args.set or recipes.get(entry.info.lineage.recipe)
    if data_set is None:
        raise UserError("The model's recipe has no data set here.", hint="Name one with --set.")
    folder = args.data / DATA_SETS[data_set][0]
    pairs = find_pairs(
        folder / "images", folder / "masks", read_names(folder / "test.txt"), "test.txt"
    )
    found = score_all(Segmenter.load(entry, "cpu"), pairs, targets_of(entry))
    told = {**found, "test": {k: v for k, v in found["test"].items() if k != "cases"}}
    told.pop("shifted_cases")
    print(json.dumps(told, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def _time_steps(args: argparse.Namespace, runs: list[Run], results: Results) -> int:
    from benchmarks.peers.clock import step_cost
    from benchmarks.peers.setting import Setting

    _one_thread()
    setting = Setting(args.data, args.work, results)
    sets = sorted({r.data_set for r in runs}, key=list(DATA_SETS).index)
    for data_set in sets:
        for side in SIDES:
            run = Run("a", data_set, side)
            found = asdict(step_cost(run, setting, args.time_steps))
            print(f"{data_set:12} {side:8} " + "  ".join(f"{k} {v:.4g}" for k, v in found.items()))
    return 0


def _one_thread() -> None:
    """Two threads on two cores would pay for their waiting; all sides compute with one."""
    import torch

    torch.set_num_threads(1)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
