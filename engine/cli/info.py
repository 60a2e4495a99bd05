"""`info`: what the program makes of a file or folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.cli.main import say_warning


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `info` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "info", help="what a file or folder holds", description="Opens PATH and tells what it is."
    )
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("--series", default="", help="of a DICOM folder with several")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Opens every case of a path and prints its grid.

    Raises:
        UserError: nothing there can be opened.
    """
    from engine.domain.volume import AXIS_PLANE
    from engine.imaging.orientation import edge_letters
    from engine.io import list_cases, open_case

    rows: list[dict[str, Any]] = []
    for path in list_cases(args.path):
        case = open_case(path, series=args.series)
        scan = case.scan
        row = {
            "case": case.name,
            "modality": scan.modality,
            "columns_rows_slices": list(scan.grid.shape[::-1]),
            "spacing_mm": [round(s, 6) for s in scan.grid.spacing[::-1]]
            if scan.grid.calibrated
            else None,
            "plane": AXIS_PLANE[scan.plane],
            "slices": scan.slice_count,
            "colour": scan.is_colour,
            "type": str(scan.array.dtype),
            "affine": scan.grid.affine.tolist(),
            "warnings": list(case.warnings),
        }
        rows.append(row)
        letters = edge_letters(scan.grid, scan.plane)
        print(f"{case.name}: {scan.modality or 'unknown modality'}, {row['columns_rows_slices']} "
              f"voxels of {row['spacing_mm'] or 'unknown'} mm, {scan.slice_count} "
              f"{row['plane']} slices{', edges ' + str(letters) if letters else ''}")  # fmt: skip
        for warning in case.warnings:
            say_warning(warning)
    return {"cases": rows}
