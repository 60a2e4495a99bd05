"""How large each label is, as a table: mm² and mL where the size of a voxel is known."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.case import Case
from engine.domain.volume import Volume
from engine.io.manifests import APPLICATION
from engine.system.atomic import atomic_write_text

COLUMNS: list[str] = [
    "case", "label", "name", "voxels", "volume_ml", "slices", "largest_slice",
    "largest_area_mm2", "share_of_picture", "software",
]  # fmt: skip


def write_table(path: Path, array: NDArray[np.uint8], case: Case) -> None:
    """Writes one row a label, all of it or nothing; labels that are not drawn have 0 voxels.

    Args:
        path: ends in .csv.
        array: uint8 ``[k, j, i]`` on the case's grid.
        case: gives the grid and the labels' names.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows(array, case))
    atomic_write_text(path, text.getvalue())


def rows(array: NDArray[np.uint8], case: Case) -> list[dict[str, Any]]:
    """One row a label of the case, and of every other value that is drawn.

    Volumes are sums over the slices, each as thick as it is; areas are those of the slice, along
    the plane of the scan, on which the label is largest. What is not known (lengths of a plain
    picture, the volume of a single image) is left empty. Without any label there is one row that
    says so.
    """
    scan = case.scan
    names = {label.id: label.name for label in case.labels}
    counts = _by_slice(array, scan)
    drawn = [int(v) for v in np.flatnonzero(counts.sum(axis=0)) if v]
    return [
        {
            "case": _plain(case.name),
            "label": value,
            "name": _plain(names.get(value, f"label {value}" if value else "nothing is drawn")),
            **_size(counts[:, value] * (value > 0), scan),
            "software": f"{APPLICATION}, research use only",
        }
        for value in sorted({*names, *drawn}) or [0]
    ]


def _by_slice(array: NDArray[np.uint8], scan: Volume) -> NDArray[np.int64]:
    """Voxels of each value in each slice, ``[slice, 256]``."""
    slices = np.moveaxis(array, scan.plane, 0)
    return np.stack([np.bincount(plane.reshape(-1), minlength=256) for plane in slices])


def _size(counts: NDArray[np.int64], scan: Volume) -> dict[str, Any]:
    voxels, largest = int(counts.sum()), int(counts.argmax())
    size: dict[str, Any] = {"voxels": voxels, "slices": int(np.count_nonzero(counts))}
    if voxels:
        size["largest_slice"] = largest
    if scan.slice_count == 1:
        size["share_of_picture"] = f"{voxels / np.prod(scan.slice_shape):.6f}"
    if scan.grid.calibrated:
        across, down = scan.slice_spacing
        size["largest_area_mm2"] = f"{counts[largest] * across * down:.3f}"
        if scan.slice_count > 1:
            size["volume_ml"] = f"{float(counts @ scan.voxel_ml):.4f}"
    return size


def _plain(text: str) -> str:
    """A table program must not take a name for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
