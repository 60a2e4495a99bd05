"""`convert`: a mask in any readable format, onto the grid of its scan, into another format."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import values
from engine.cli.main import counted, say_warning

if TYPE_CHECKING:
    from engine.domain.case import Case

FORMS = ("seg", "rtstruct", "labelme", "table")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `convert` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="a mask into another format, on the grid of its scan",
        description="Reads MASK (NIfTI, NRRD, MetaImage, DICOM SEG, RT structure set, picture, "
        "labelme, or a folder of PNGs) and writes it on the grid of SCAN, with a manifest.",
    )
    parser.add_argument("mask", type=Path, metavar="MASK")
    parser.add_argument("--like", type=Path, required=True, metavar="SCAN",
                        help="the scan that the mask belongs to")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="FILE",
                        help=".nii, .nii.gz, .nrrd, .mha, .dcm, .json, .csv, .png; else a folder "
                        "of PNGs")  # fmt: skip
    parser.add_argument("--as", dest="form", choices=FORMS, default="",
                        help="where the ending leaves it open: a .dcm is a SEG")  # fmt: skip
    parser.add_argument("--deidentify", action="store_true",
                        help="DICOM: leaves patient and study empty, replaces UIDs")  # fmt: skip
    parser.add_argument("--overlay", action="store_true", help="coloured pictures too")
    reading = parser.add_argument_group("where MASK leaves a choice")
    reading.add_argument("--resample", action="store_true",
                         help="of another grid: take the nearest voxel")  # fmt: skip
    reading.add_argument("--threshold", type=values.fraction, metavar="P",
                         help="of fractions: what has P or more is in; 0.5 is usual")  # fmt: skip
    reading.add_argument("--overlap", choices=["first", "last"], default="",
                         help="of overlapping segments: the lower or higher number")  # fmt: skip
    scan = parser.add_argument_group("part of the scan")
    scan.add_argument("--series", default="", help="of a DICOM folder with several")
    scan.add_argument("--time", type=int, metavar="N", help="time point of several, from 0")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Converts one mask.

    Raises:
        UserError: the mask or the scan can't be read, they don't belong together, or the format
            can't hold the mask.
    """
    from engine.domain.label_map import LabelMap
    from engine.io import check_format, open_case, read_mask, save_mask
    from engine.io.kinds import mask_form
    from engine.io.listing import manifest_of
    from engine.io.manifests import read_manifest
    from engine.io.mask_placing import NEAREST
    from engine.io.replacing import check_targets

    mask_form(args.output, args.form)
    check_targets([args.output], [args.mask, args.like])
    case = open_case(args.like, series=args.series, time=args.time)
    for warning in case.warnings:
        say_warning(f"{case.name}: {warning}")
    check_format(case, args.output, args.form)  # reading a mask may take long
    array, labels = read_mask(
        args.mask,
        case,
        threshold=args.threshold,
        overlap=args.overlap,
        resample=NEAREST if args.resample else "",
        tell=say_warning,
    )
    case.label_map = LabelMap(case.scan.grid.shape, case.scan.plane, array)
    case.labels = labels if labels is not None else case.labels
    files = save_mask(
        case,
        args.output,
        overlay=args.overlay,
        form=args.form,
        deidentify=args.deidentify,
        before=read_manifest(manifest_of(args.mask)),
    )
    return _tell(case, files)


def _tell(case: Case, files: list[Path]) -> dict[str, Any]:
    """What was converted, a line a label; and the same for `--json`."""
    import numpy as np

    counts = np.bincount(case.label_map.array.reshape(-1), minlength=256)
    names = {label.id: label.name for label in case.labels}
    used = sorted({*names, *(int(value) for value in np.flatnonzero(counts) if value)})
    labels = [
        {"value": value, "name": names.get(value, str(value)), "voxels": int(counts[value])}
        for value in used
    ]
    for label in labels:
        print(f"{label['name']}: {counted(int(counts[label['value']]), 'voxel')}")
    for path in files:
        print(f"  {path}")
    print("Research use only. Not a medical device.")
    return {"outputs": [str(files[0])], "files": [str(path) for path in files], "labels": labels}
