"""`segment`: masks of pictures and volumes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.main import Failed, say_error
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.cli.segment_run import Outcome

DEMO_FOLDER = Path("sdseg-demo")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `segment` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "segment",
        help="masks of a picture, a folder, a NIfTI file or a DICOM folder",
        description="Segments INPUT and writes label values on its own grid, with a manifest.",
    )
    parser.add_argument("input", nargs="?", type=Path, metavar="INPUT")
    parser.add_argument("--output", type=Path, metavar="OUT",
                        help="a file with a known ending, else a folder")  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="the built-in picture, no INPUT")
    parser.add_argument("--overlay", action="store_true", help="a coloured picture too")
    parser.add_argument("--probability", type=Path, metavar="OUT2",
                        help="float32 NIfTI, or 16-bit PNG for a picture")  # fmt: skip
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME_OR_FOLDER", help="default: the one that fits")
    model.add_argument("--target", default="", metavar="NAME", help="writes 1; default: class ids")
    model.add_argument("--seed", type=int, default=0)
    model.add_argument("--samples", type=_positive, default=1, help="noises that are averaged")
    model.add_argument("--steps", type=_positive, default=1, help="more than one is DDIM")
    model.add_argument("--threshold", type=_share, default=0.5)
    model.add_argument("--window", type=_window, metavar="LEVEL,WIDTH")
    model.add_argument("--batch", type=_positive, help="default: the model's; 1 on a CPU")
    model.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    model.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    part = parser.add_argument_group("part of the scan")
    part.add_argument("--roi", type=_roi, metavar="X0,Y0,X1,Y1[,Z0,Z1]",
                      help="half-open, along the stored file's axes")  # fmt: skip
    part.add_argument("--slices", type=_slices, metavar="A:B", help="half-open")
    part.add_argument("--plane", choices=["axial", "coronal", "sagittal"])
    part.add_argument("--series", default="", help="of a DICOM folder with several")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Segments every input; one that fails does not stop the others.

    Raises:
        UserError: nothing can be started.
        Failed: some inputs failed.
    """
    from engine.cli.segment_run import Run, plan_outputs

    started = time.perf_counter()
    if args.demo == (args.input is not None):
        raise UserError("Name one INPUT, or --demo.", hint="sdseg segment --help shows all.")
    if args.demo:
        args.output = args.output or DEMO_FOLDER
        args.overlay = True
    if args.output is None:
        raise UserError("--output is missing.", hint="Name a file or a folder for the mask.")
    work = Run(args)
    jobs = work.demo_jobs() if args.demo else plan_outputs(args.input, args.output)
    if args.probability and len(jobs) > 1:
        raise UserError("--probability works for one input at a time.")
    outcomes: list[Outcome] = []
    failed: list[dict[str, str]] = []
    for source, output in _with_progress(jobs):
        try:
            outcomes.append(work.one(source, output))
        except UserError as error:
            if len(jobs) == 1:
                raise
            say_error(UserError(f"{source.name}: {error.message}", error.hint))
            failed.append({"input": str(source), "error": error.message})
    report = work.report(outcomes, time.perf_counter() - started)
    if args.demo:
        _tell_demo(outcomes[0], report)
    if failed:
        raise Failed({**report, "failed": failed})
    return report


def _with_progress(jobs: list[tuple[Path, Path]]) -> Any:
    from tqdm import tqdm

    return tqdm(jobs, unit="case", disable=None if len(jobs) > 1 else True)


def _tell_demo(outcome: Outcome, report: dict[str, Any]) -> None:
    print(f"case:     {outcome.case_name}")
    print(f"model:    {outcome.model_title}")
    for path in outcome.outputs:
        print(f"wrote:    {path}")
    print(f"area:     {outcome.area}")
    seconds = report["seconds"]
    print(
        f"time:     {seconds['total']:.1f} s in all, of which {seconds['load']:.1f} s to load the "
        f"model and {seconds['per_slice']:.2f} s a slice"
    )
    print("Research use only. Not a medical device.")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError("must lie in 0..1")
    return value


def _window(text: str) -> tuple[float, float]:
    level, width = (float(x) for x in text.split(","))
    if width <= 0:
        raise argparse.ArgumentTypeError("the width must be positive")
    return level, width


def _roi(text: str) -> tuple[int, ...]:
    numbers = tuple(int(x) for x in text.split(","))
    if len(numbers) not in (4, 6):
        raise argparse.ArgumentTypeError("needs four or six numbers")
    return numbers


def _slices(text: str) -> range:
    first, _, last = text.partition(":")
    chosen = range(int(first), int(last))
    if not chosen or chosen.start < 0:
        raise argparse.ArgumentTypeError("needs A:B with 0 <= A < B")
    return chosen
