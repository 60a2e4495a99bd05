"""`evaluate`: scores of a model on pictures with known masks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import values
from engine.cli.main import Failed, say_error, say_warning

if TYPE_CHECKING:
    from engine.domain.targets import Target
    from engine.errors import UserError
    from engine.evaluation.lpips import Lpips
    from engine.evaluation.pairs import Pair
    from engine.evaluation.scores import Scores
    from engine.sdseg.segmenter import Segmenter

IsCancelled = Callable[[], bool]


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `evaluate` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="Dice, IoU and HD95 of a model, and how stable its answers are",
        description="Segments pictures or volumes and compares them with their masks, natively.",
    )
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("--model", required=True, metavar="NAME_OR_FOLDER")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--masks", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="stems, one a line")
    parser.add_argument("--target", action="append", metavar="NAME=ID[,ID]",
                        help="mask values of a target, for example disc=1,2; "
                        "default: the model's own class ids")  # fmt: skip
    parser.add_argument("--definition", choices=["native", "authors"], default="native",
                        help="authors: Dice and IoU as the paper's script has them, at the "
                        "network's size, no HD95; only for comparison with it")  # fmt: skip
    parser.add_argument("--stability", type=values.whole(2), metavar="N",
                        help="also segment the set N times, seeds SEED, SEED+1, ..., and compare "
                        "the answers with each other (the paper's table 5)")  # fmt: skip
    parser.add_argument("--lpips-weights", type=Path, metavar="FILE",
                        help="LPIPS (AlexNet) as .safetensors or .pth; without it "
                        "LPIPS is not measured")  # fmt: skip
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    parser.add_argument("--seed", type=values.seed, default=0)
    parser.add_argument(
        "--samples", type=values.count, default=1, help="noises that are averaged (1)"
    )
    parser.add_argument("--steps", type=values.steps, default=1,
                        help="more than one is DDIM, as in the paper's figure 3 (1)")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="print each case too")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Prints and returns the scores; a case that can't be scored does not stop the others.

    Raises:
        Cancelled: asked to stop.
        UserError: nothing can be started, or the only case failed.
        Failed: some of several cases failed.
        SystemExit: wrong usage.
    """
    if args.lpips_weights and not args.stability:
        args.usage_error("--lpips-weights needs --stability N")
    from engine.evaluation.lpips import Lpips
    from engine.evaluation.pairs import find_pairs, read_names
    from engine.models.store import find_model
    from engine.sdseg.segmenter import Segmenter
    from engine.system.interrupt import Interrupt

    lpips = Lpips.load(args.lpips_weights) if args.lpips_weights else None
    segmenter = Segmenter.load(find_model(args.model), args.device, args.precision)
    targets = _targets(segmenter, args.target or ())
    names = read_names(args.cases) if args.cases else None
    pairs = find_pairs(args.images, args.masks, names, args.cases.name if args.cases else "")
    failed: list[dict[str, str]] = []
    with Interrupt() as interrupt:
        scores = _score(args, segmenter, pairs, targets, failed, lambda: interrupt.raised)
        report = _told(args, scores, targets)
        scored = [pair for pair in pairs if pair.name in scores.cases]
        if args.stability and scored:
            report["stability"] = _stability(
                args, segmenter, scored, lpips, lambda: interrupt.raised
            )
    if failed:
        raise Failed({**report, "failed": failed})
    return report


def _told(args: argparse.Namespace, scores: Scores, targets: dict[str, Target]) -> dict[str, Any]:
    """Prints the scores; what `--json` reports of them."""
    from engine.cli.evaluate_text import case_lines, score_lines, value_warnings

    warnings = [*scores.remarks, *value_warnings(targets, scores.mask_values)]
    report = {**scores.as_json(), "warnings": warnings}
    for text in warnings:
        say_warning(text)
    print(*(case_lines(report) if args.verbose else []), *score_lines(report), sep="\n")
    return report


def _targets(segmenter: Segmenter, texts: list[str] | tuple[()]) -> dict[str, Target]:
    """Name of each of the model's targets -> its values in the truths."""
    from engine.cli.values import parse_target
    from engine.domain.targets import Target

    targets = {t.name: Target(t.name, t.class_ids) for t in segmenter.info.targets}
    for text in texts:
        target = parse_target(text)
        segmenter.target(target.name)
        targets[target.name] = target
    return targets


def _score(
    args: argparse.Namespace,
    segmenter: Segmenter,
    pairs: list[Pair],
    targets: dict[str, Target],
    failed: list[dict[str, str]],
    is_cancelled: IsCancelled,
) -> Scores:
    """The scores; what could not be scored is said, and added to `failed`."""
    from tqdm import tqdm

    from engine.evaluation.scoring import Comparison, score_model

    authors = args.definition == "authors"
    how = Comparison(
        args.seed,
        distances=not authors,
        authors=authors,
        samples=args.samples,
        steps=args.steps,
    )

    def note(pair: Pair, error: UserError) -> None:
        if len(pairs) == 1:
            raise error
        say_error(error)
        failed.append({"case": pair.name, "input": str(pair.image), "error": error.message})

    with tqdm(total=len(pairs), unit="case", disable=None, leave=False) as bar:
        return score_model(
            segmenter, pairs, targets, lambda _done, _all: bar.update(), how, is_cancelled, note
        )


def _stability(
    args: argparse.Namespace,
    segmenter: Segmenter,
    pairs: list[Pair],
    lpips: Lpips | None,
    is_cancelled: IsCancelled,
) -> dict[str, Any]:
    """Measures and prints the stability."""
    from tqdm import tqdm

    from engine.cli.evaluate_text import stability_lines
    from engine.evaluation.stability import measure_stability

    with tqdm(total=len(pairs), unit="case", desc="stability", disable=None, leave=False) as bar:
        found = measure_stability(
            segmenter, pairs, args.stability, args.seed, lpips, bar.update, is_cancelled
        )
    print(*stability_lines(found), sep="\n")
    return found
