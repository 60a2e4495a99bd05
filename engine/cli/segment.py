"""`segment`: masks of pictures and volumes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.cli import values
from engine.cli.main import Failed, counted, say_error
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.cli.segment_plan import Job
    from engine.cli.segment_run import Outcome

T = TypeVar("T")
DEMO_FOLDER = Path("sdseg-demo")
DEMO_PICTURE = "retina.jpg"


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `segment` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "segment",
        help="masks of a picture, a folder, a NIfTI file or a DICOM folder",
        description="Segments INPUT and writes label values on its own grid, with a manifest.",
    )
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("input", nargs="?", type=Path, metavar="INPUT")
    parser.add_argument("--output", type=Path, metavar="OUT",
                        help="a file (.png, .nii.gz, .nrrd, .mha; .dcm for DICOM, .json for "
                        "labelme, .csv for sizes), else a folder")  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="the built-in picture, no INPUT")
    parser.add_argument("--overlay", action="store_true", help="a coloured picture too")
    parser.add_argument("--deidentify", action="store_true",
                        help="a .dcm without patient and study, UIDs replaced")  # fmt: skip
    parser.add_argument("--probability", type=Path, metavar="OUT2",
                        help="float32 NIfTI, or 16-bit PNG for a picture")  # fmt: skip
    parser.add_argument("--stability-map", type=Path, metavar="OUT3",
                        help="how far several --samples spread, in the same formats")  # fmt: skip
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME_OR_FOLDER", help="default: the one that fits")
    model.add_argument("--target", default="", metavar="NAME", help="writes 1; default: class ids")
    model.add_argument("--seed", type=values.seed, default=0, help="of the starting noise")
    model.add_argument("--samples", type=values.count, default=1, help="noises that are averaged")
    model.add_argument("--steps", type=values.steps, default=1, help="more than one is DDIM")
    model.add_argument("--threshold", type=_share, metavar="P",
                       help="foreground is where the probability is greater; default: 0.5, and of "
                       "several classes the most probable")  # fmt: skip
    model.add_argument("--window", type=values.window, metavar="LEVEL,WIDTH",
                       help="instead of the model's own rule")  # fmt: skip
    model.add_argument("--batch", type=values.count, help="default: the model's; 1 on a CPU")
    model.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    model.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    _add_part(parser)
    return parser


def _add_part(parser: argparse.ArgumentParser) -> None:
    part = parser.add_argument_group("part of the scan")
    part.add_argument("--roi", type=_roi, metavar="X0,Y0,X1,Y1[,Z0,Z1]",
                      help="half-open, along the stored file's axes")  # fmt: skip
    part.add_argument("--slices", type=_slices, metavar="A:B",
                      help="half-open, along the plane the scan was acquired in")  # fmt: skip
    part.add_argument("--plane", choices=["axial", "coronal", "sagittal"],
                      help="to slice along; default: the model's, else the scan's")  # fmt: skip
    part.add_argument("--series", default="", help="of a DICOM folder with several")
    part.add_argument("--time", type=int, metavar="N", help="time point of several, from 0")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Segments every input; one that fails does not stop the others.

    Raises:
        Cancelled: asked to stop; what was written until then is whole.
        UserError: nothing can be started, or the only input failed.
        Failed: some of several inputs failed.
        SystemExit: wrong usage.
    """
    started = time.perf_counter()
    _check_usage(args)
    from engine.cli.segment_run import Run
    from engine.system.interrupt import Interrupt

    jobs = _jobs(args)
    interrupt = Interrupt()
    work = Run(args, [job.source for job in jobs], lambda: interrupt.raised)
    load = time.perf_counter() - started
    outcomes: list[Outcome] = []
    failed: list[dict[str, str]] = []
    with interrupt:
        for job in _with_progress(jobs):
            try:
                outcomes.append(work.one(job))
            except UserError as error:
                if len(jobs) == 1:
                    raise
                failed.append(_note_failure(job, error))
    report = work.report(outcomes, load, time.perf_counter() - started)
    _tell(outcomes, report)
    if failed:
        raise Failed({**report, "failed": failed})
    return report


def _check_usage(args: argparse.Namespace) -> None:
    if args.demo == (args.input is not None):
        args.usage_error("name one INPUT, or --demo")
    if args.demo:
        args.overlay = True
        args.output = args.output or DEMO_FOLDER
    if args.output is None:
        args.usage_error("--output is missing: a file or a folder for the mask")
    if args.stability_map and args.samples < 2:
        args.usage_error("--stability-map needs --samples of at least 2")


def _jobs(args: argparse.Namespace) -> list[Job]:
    from engine.cli.segment_plan import plan
    from engine.system.resources import resource_path

    source = resource_path("cases", DEMO_PICTURE) if args.demo else args.input
    return plan(source, args.output, args.probability, args.stability_map)


def _with_progress(jobs: list[Job]) -> Iterable[Job]:
    from tqdm import tqdm

    return tqdm(jobs, unit="case", disable=None if len(jobs) > 1 else True)


def _note_failure(job: Job, error: UserError) -> dict[str, str]:
    """One `error:` line that names the input, and the same for `--json`."""
    named = job.source.name in error.message
    message = error.message if named else f"{job.source.name}: {error.message}"
    say_error(UserError(message, error.hint))
    return {"input": str(job.source), "error": message}


def _tell(outcomes: list[Outcome], report: dict[str, Any]) -> None:
    """What was found where, a few lines a case."""
    for outcome in outcomes:
        print(f"{outcome.title}: {found_text(outcome.found)} ({outcome.segmenter.info.title})")
        for path in outcome.files:
            print(f"  {path}")
    seconds = report["seconds"]
    print(
        f"{counted(report['slices'], 'slice')} in {seconds['total']:.1f} s: "
        f"{seconds['load']:.1f} s to start, {seconds['per_slice']:.2f} s a slice "
        f"on {report['device']}, {report['precision']}"
        if outcomes
        else "Nothing was segmented."
    )
    print("Research use only. Not a medical device.")


def found_text(found: dict[str, dict[str, float]]) -> str:
    """Area or volume of each label, for people; no millilitres where nobody knows them."""
    parts: list[str] = []
    for name, size in found.items():
        if "ml" in size:
            parts.append(f"{name} {size['ml']:.2f} mL, {size['voxels']} voxels")
        elif "share" in size:
            parts.append(f"{name} {size['voxels']} pixels, {size['share']:.2%} of the picture")
        else:
            parts.append(f"{name} {size['voxels']} voxels")
    return "; ".join(parts)


def _wants(text: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Makes argparse say in plain words what an option wants, whatever was wrong with its value."""

    def wrap(parse: Callable[[str], T]) -> Callable[[str], T]:
        @wraps(parse)
        def parsed(value: str) -> T:
            try:
                return parse(value)
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"'{value}' is not {text}") from error

        return parsed

    return wrap


@_wants("a number from 0 to less than 1")
def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise ValueError
    return value


@_wants("four or six whole numbers, X0,Y0,X1,Y1[,Z0,Z1]")
def _roi(text: str) -> tuple[int, ...]:
    numbers = tuple(int(x) for x in text.split(","))
    if len(numbers) not in (4, 6):
        raise ValueError
    return numbers


@_wants("A:B with whole numbers 0 <= A < B")
def _slices(text: str) -> range:
    first, _, last = text.partition(":")
    chosen = range(int(first), int(last))
    if not chosen or chosen.start < 0:
        raise ValueError
    return chosen
