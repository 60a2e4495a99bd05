"""`prepare-data`: one of the paper's data sets as the folder that `train --data` reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.cli.values import whole

KINDS = ("cvc", "kvasir", "refuge2", "btcv", "sts3d")
GROUPED = ("cvc", "kvasir")
EPILOG = """The sources are CVC-ClinicDB, Kvasir-SEG, REFUGE2, BTCV and STS-3D as their owners
publish them, unpacked; docs/reproduce.md shows their folders. They are only read. Pictures and
volumes are copied as they are, masks get class numbers, and REFUGE2 is cropped to the disc.
--split authors has the counts of the paper's table 1."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `prepare-data` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "prepare-data",
        help="a data set of the paper as a folder for train",
        description="Makes a data folder with images/, masks/, three lists and labels.json.",
        epilog=EPILOG,
    )
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the owner's folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", choices=["authors", "leak-free"], default="authors",
                        help="leak-free: no patient or sequence on both sides, as far as the "
                        "owner tells them apart; default: authors")  # fmt: skip
    parser.add_argument("--groups", type=Path, metavar="FILE",
                        help="leak-free cvc and kvasir: a CSV file with the columns frame_id and "
                        "sequence_id")  # fmt: skip
    parser.add_argument("--crop", type=whole(0), metavar="PX",
                        help="refuge2: side of the square around the disc, 0 for whole pictures; "
                        "default: 600")  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prepares it.

    Raises:
        UserError: the source does not look as its owner publishes it; nothing is left behind.
        SystemExit: wrong usage.
    """
    if args.groups and (args.kind not in GROUPED or args.split != "leak-free"):
        args.usage_error("--groups needs cvc or kvasir with --split leak-free")
    if args.crop is not None and args.kind != "refuge2":
        args.usage_error("--crop needs refuge2")
    from tqdm import tqdm

    from engine.training.layouts.data_set import DISC_SIDE, Choices
    from engine.training.layouts.prepare import prepare_data

    crop = DISC_SIDE if args.crop is None else args.crop
    choices = Choices(args.split, args.groups, crop)
    with tqdm(unit="case", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = prepare_data(args.kind, args.source, args.output, choices, progress)
    for line in _lines(report):
        print(line)
    print(f"wrote {args.output}")
    return report | {"output": str(args.output)}


def _lines(report: dict[str, Any]) -> list[str]:
    cases = ", ".join(f"{name}.txt {count}" for name, count in report["cases"].items())
    classes = ", ".join(f"{name} {count}" for name, count in report["classes"].items())
    return [f"{report['title']}: {cases}", report["rule"], f"cases that show: {classes}"]
