"""`evaluate`: scores of a model on pictures with known masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `evaluate` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="Dice and IoU of a model",
        description="Segments pictures or volumes and compares them with their masks, natively.",
    )
    parser.add_argument("--model", required=True, metavar="NAME_OR_FOLDER")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--masks", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="stems, one a line")
    parser.add_argument("--target", action="append", metavar="NAME=ID[,ID]",
                        help="mask values of a target, for example disc=1,2; "
                        "default: the model's own class ids")  # fmt: skip
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prints and returns the scores.

    Raises:
        UserError: a file can't be read or does not fit.
    """
    from tqdm import tqdm

    from engine.cli.train import parse_target
    from engine.domain.targets import Target
    from engine.evaluation.scoring import find_pairs, read_names, score_model
    from engine.models.store import find_model
    from engine.sdseg.segmenter import Segmenter

    segmenter = Segmenter.load(find_model(args.model), args.device, args.precision)
    targets = {t.name: Target(t.name, t.class_ids) for t in segmenter.info.targets}
    for text in args.target or ():
        target = parse_target(text)
        segmenter.target(target.name)
        targets[target.name] = target
    names = read_names(args.cases) if args.cases else None
    pairs = find_pairs(args.images, args.masks, names, args.cases.name if args.cases else "")
    with tqdm(total=len(pairs), unit="case", disable=None, leave=False) as bar:

        def progress(_done: int, _all: int) -> None:
            bar.update()

        scores = score_model(segmenter, pairs, targets, progress, args.seed)
    report = scores.as_json()
    for name, row in report["targets"].items():
        print(f"{name}: Dice {row['dice']:.4f}, IoU {row['iou']:.4f} over {len(pairs)} cases")
    return report
