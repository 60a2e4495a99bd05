"""`info`: what the program makes of a file or folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.cli.main import counted, say_warning
from engine.domain.case import Case
from engine.domain.volume import AXIS_PLANE


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `info` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "info", help="what a file or folder holds", description="Opens PATH and tells what it is."
    )
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("--series", default="", help="of a DICOM folder with several")
    parser.add_argument("--time", type=int, metavar="N", help="time point of several, from 0")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Opens every case of a path, each series by itself, and prints its grid.

    Raises:
        UserError: nothing there can be opened.
    """
    from engine.io import list_cases, list_parts, open_case
    from engine.io.beside import masks_beside

    if args.series:
        chosen = [(path, args.series) for path in list_cases(args.path)]
    else:
        chosen = [(part.path, part.series) for part in list_parts(args.path)]
    rows: list[dict[str, Any]] = []
    for path, series in chosen:
        case = open_case(path, series=series, time=args.time)
        masks = [str(mask) for mask in masks_beside(case)]
        rows.append({**_row(case), "masks": masks})
        print(_text(case))
        for mask in masks:
            print(f"  mask beside it: {mask}")
        for warning in case.warnings:
            say_warning(warning)
    return {"cases": rows}


def _row(case: Case) -> dict[str, Any]:
    """What `--json` writes of a case."""
    scan = case.scan
    spacing = [round(s, 6) for s in scan.grid.spacing[::-1]]
    return {
        "case": case.name,
        "modality": scan.modality,
        "columns_rows_slices": list(scan.grid.shape[::-1]),
        "spacing_mm": spacing if scan.grid.calibrated else None,
        "plane": AXIS_PLANE[scan.plane],
        "slices": scan.slice_count,
        "colour": scan.is_colour,
        "type": str(scan.array.dtype),
        "affine": scan.grid.affine.tolist(),
        "warnings": list(case.warnings),
    }


def _text(case: Case) -> str:
    """The same for people, in one line."""
    from engine.imaging.orientation import edge_letters

    scan = case.scan
    columns, rows, slices = scan.grid.shape[::-1]
    if scan.is_picture:
        colour = "colour" if scan.is_colour else "grey"
        return f"{case.name}: {colour} picture, {columns} x {rows} pixels"
    spacing = " x ".join(f"{s:.4g}" for s in scan.grid.spacing[::-1])
    text = (
        f"{case.name}: {scan.modality or 'unknown modality'}, {columns} x {rows} x {slices} "
        f"voxels of {spacing if scan.grid.calibrated else 'unknown'} mm, "
        f"{counted(scan.slice_count, f'{AXIS_PLANE[scan.plane]} slice')}"
    )
    letters = edge_letters(scan.grid, scan.plane)
    return f"{text}, {letters.top} up and {letters.right} on the right" if letters else text
