"""Opens damaged files of every format: docs/reliability.md tells what was promised and found.

    python -m benchmarks.mutants                       10,000 of each format that is not done yet
    python -m benchmarks.mutants --format png nrrd     some formats
    python -m benchmarks.mutants --count 200 --results DIR    a trial
    python -m benchmarks.mutants --table               writes the table into docs/reliability.md

A format is done when its result lies in DIR. One that was stopped begins anew. The mutants that
fail are kept in build/mutants/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.command import check_trial, run_command
from benchmarks.facts import date_of_today, processor
from benchmarks.mutants.formats import FORMATS, Format, chosen
from benchmarks.mutants.runner import Run
from engine.system.atomic import atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "mutants"
WORK = ROOT / "build" / "mutants"
DOCUMENT = ROOT / "docs" / "reliability.md"
COUNT = 10_000


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--format", nargs="+", metavar="NAME", help=", ".join(map(_name, FORMATS)))
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help="of each format")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="what failed")
    parser.add_argument("--table", action="store_true")
    return parser


def _name(fmt: Format) -> str:
    return fmt.name


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    if args.table:
        from benchmarks.mutants.page import write_table

        write_table(DOCUMENT, args.results)
        print(f"wrote {DOCUMENT.name}")
        return 0
    if args.count != COUNT:
        check_trial((args.results, RESULTS))
    failed = 0
    for fmt in chosen(args.format):
        file = args.results / f"{fmt.name}.json"
        if file.is_file():
            print(f"{fmt.name}: done", flush=True)
            continue
        failed += _do(fmt, args, file)
    return 1 if failed else 0


def _do(fmt: Format, args: argparse.Namespace, file: Path) -> int:
    """Opens the mutants of one format; how many failed."""
    began = time.monotonic()
    tally = Run(fmt, args.seed, args.count, args.work / fmt.name).tally()
    facts = {
        "format": fmt.name, "count": args.count, "seed": args.seed, **tally.result(),
        "minutes": round((time.monotonic() - began) / 60, 1), "date": date_of_today(),
        "cpu": processor(),
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(file, json.dumps(facts, indent=1) + "\n")
    print(
        f"{fmt.name}: {tally.opened} opened, {tally.refused} refused, {tally.failed} failed; "
        f"slowest {tally.worst_seconds:.2f} s, most {tally.worst_mb:.0f} MB "
        f"(helper {tally.worst_helper_mb:.0f}); {facts['minutes']} min",
        flush=True,
    )
    for failure in tally.failures[:5]:
        print(f"  {failure['n']}: {failure['why']}", flush=True)
    return tally.failed


if __name__ == "__main__":
    sys.exit(main())
