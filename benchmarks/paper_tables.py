"""The paper's tables 2 to 6 and figures 2, 3, 5, 6, re-run at compact size.

    python -m benchmarks.paper_tables [--data DIR]          every row that is not done yet
    python -m benchmarks.paper_tables --only "*-ct" ...     some of them; extra ones by full names
    python -m benchmarks.paper_tables --list                what is done, what waits, and the cost
    python -m benchmarks.paper_tables --write               docs/paper_tables.md from the results

DIR holds polyp/, fundus_disc_cup/ and ct_abdomen_2d/. A row that is interrupted goes on at the next
call. Two commands may run side by side.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.command import check_trial, run_command
from benchmarks.paper.plan import CPU_PER_MINUTE, DATA_SETS, MINUTES, Row, chosen, planned
from engine.cli.main import say_error
from engine.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "paper_tables"
PEERS = ROOT / "benchmarks" / "results" / "peers"
WORK = ROOT / "build" / "paper_tables"
DOCUMENT = ROOT / "docs" / "paper_tables.md"
MEASURING = 6.0  # CPU minutes a row for scores, speed and its share of the autoencoders, about


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.paper_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", metavar="DIR")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="names or patterns")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true", help="the document and its figures")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, metavar="M",
        help="a row's training; each is two minutes of processor time (%(default)g)",
    )  # fmt: skip
    parser.add_argument("--lpips-weights", type=Path, metavar="FILE", help="for table 5")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="checkpoints")
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.minutes <= 0:
        parser.error("--minutes must be more than 0")
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    rows = chosen(args.only)
    if not rows:
        raise UserError("No row has such a name.", hint="--list shows them.")
    if args.minutes != MINUTES:
        check_trial((args.results, RESULTS), (args.work, WORK))
    if args.list:
        list_rows(rows if args.only else planned(), args)
        return 0
    if args.write:
        from benchmarks.paper.page import write_document

        for line in write_document(DOCUMENT, args.results, PEERS, args.work):
            print(line)
        return 0
    return run_rows(rows, args)


def list_rows(rows: list[Row], args: argparse.Namespace) -> None:
    from benchmarks.paper.runner import read_result

    waiting = 0
    for row in rows:
        result = read_result(args.results, row.name)
        state = "extra, not done" if row.extra else "waits"
        if result:
            state = f"done: {result['minutes']:g} min, Dice {result['by_steps']['1']['dice']:.3f}"
        elif (args.work / row.name / "model.run" / "checkpoint.safetensors").is_file():
            state = "begun"
        waiting += result is None and (not row.extra or bool(args.only))
        print(f"{row.name:24} {state}")
    hours = waiting * (args.minutes * CPU_PER_MINUTE + MEASURING) / 60.0
    print(f"{waiting} rows to do, about {hours:.1f} hours of processor time")
    missing = [d.folder for d in DATA_SETS.values() if not (args.data / d.folder).is_dir()]
    if missing:
        print(f"not in {args.data}: {', '.join(missing)}")


def run_rows(rows: list[Row], args: argparse.Namespace) -> int:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    from benchmarks.paper.options import Place
    from benchmarks.paper.runner import Work, do_row
    from engine.evaluation.lpips import Lpips
    from engine.system.interrupt import Interrupt

    torch.set_num_threads(1)  # processor time is what counts, and one thread wastes none of it
    lpips = Lpips.load(args.lpips_weights) if args.lpips_weights else None
    failed = 0
    with Interrupt() as interrupt:
        work = Work(
            Place(args.data, args.work, args.results), args.minutes, lpips=lpips,
            say=lambda text: print(text, flush=True), is_cancelled=lambda: interrupt.raised,
        )  # fmt: skip
        for row in rows:
            try:
                do_row(row, work)
            except UserError as error:  # the others may still be done
                failed += 1
                print(f"{row.name} was not done", file=sys.stderr)
                say_error(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
