"""NRRD and MetaImage, in and out."""

from __future__ import annotations

import gzip
import unicodedata
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Affine, Grid, Shape3
from engine.domain.labels import LabelList
from engine.domain.stored import StoredForm
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.kinds import reading, suffix_of
from engine.io.metaimage import metaimage_header, read_metaimage_header
from engine.io.nrrd import nrrd_header, read_nrrd_header
from engine.io.orientation import (
    array_affine,
    closest_form,
    is_sheared,
    plane_of,
    to_array,
    to_stored,
)
from engine.io.replacing import PROGRAM
from engine.io.selection import selection, time_point
from engine.io.voxel_file import VoxelFile, check, read_voxels
from engine.system.atomic import atomic_write

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LEVEL = 6  # of packing: zlib's own middle


def read_itk(path: Path, time: int | None = None) -> tuple[Volume, list[str]]:
    """Reads one 3-D scan, grey or RGB; voxels that hold no number stay as they are.

    Args:
        path: .nrrd, .nhdr, .mha or .mhd.
        time: which of several volumes, from 0, of a file with four dimensions.

    Returns:
        The scan and what was odd about it.

    Raises:
        ChoiceNeeded: it holds several volumes, and none was chosen.
        UserError: it is damaged, or no scan.
    """
    with reading(path):
        found = read_header(path)
        time = time_point(path, 1 if found.time is None else found.sizes[found.time], time)
        stored = read_voxels(found)
        if found.parts == 1 and found.channels is not None:  # a list of one
            stored = stored[..., 0]
        if found.time is not None:
            stored = stored[..., time or 0] if found.parts == 1 else stored[..., time or 0, :]
        if len(found.sizes) - (found.channels is not None) == 2:
            stored = stored[:, :, None]
        return volume_of(found, stored, time)


def read_header(path: Path) -> VoxelFile:
    """Reads and checks the header of an NRRD or MetaImage file; nothing large is allocated.

    Raises:
        UserError: it is damaged, or no scan.
    """
    is_nrrd = suffix_of(path) in (".nrrd", ".nhdr")
    found = read_nrrd_header(path) if is_nrrd else read_metaimage_header(path)
    check(found)
    return found


def write_itk(
    path: Path, array: NDArray[Any], scan: Volume, labels: LabelList | None = None
) -> None:
    """Writes ``[k, j, i]`` on the scan's grid in the axis order of its file, all of it or nothing.

    Args:
        path: ends in .nrrd or .mha.
        array: uint8 labels or float32 values.
        scan: gives the grid and how its file stores it.
        labels: what the values mean; named as 3D Slicer does in its .seg.nrrd.

    Raises:
        UserError: the grid is sheared, which these formats can't say.
    """
    form = scan.stored if scan.stored.format in ("nifti", "itk") else StoredForm()
    stored = to_stored(array, form)
    affine = _TO_RAS @ _file_affine(scan.grid, form)
    if is_sheared(affine):
        raise UserError(
            f"{path.name} can't say where a tilted (sheared) scan lies.",
            hint="Save it as NIfTI (.nii.gz) or DICOM SEG.",
        )
    little = np.asarray(stored, dtype=stored.dtype.newbyteorder("<"))
    voxels = little.tobytes(order="F")
    words = {"Software": PROGRAM} | _segments(labels or LabelList())
    with atomic_write(path) as draft, draft.open("wb") as raw:
        if suffix_of(path) == ".nrrd":
            raw.write(nrrd_header(little.dtype, stored.shape, affine, words))
            with gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as packed:
                packed.write(voxels)
            return
        packed = zlib.compress(voxels, _LEVEL)
        raw.write(metaimage_header(little.dtype, stored.shape, affine, len(packed), words))
        raw.write(packed)


def _segments(labels: LabelList) -> dict[str, str]:
    """The labels as a segmentation file of 3D Slicer describes them."""
    said: dict[str, str] = {}
    for n, label in enumerate(labels):
        said[f"Segment{n}_ID"] = f"label_{label.id}"
        if name := _one_line(label.name):  # MetaImage has no way to say that there is none
            said[f"Segment{n}_Name"] = name
        said[f"Segment{n}_LabelValue"] = str(label.id)
        said[f"Segment{n}_Layer"] = "0"
        said[f"Segment{n}_Color"] = " ".join(f"{c / 255:.6f}" for c in label.colour)
    return said


def _one_line(name: str) -> str:
    """Without what would end a line of a header, or the header."""
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in name).split())


def segment_names(path: Path) -> dict[int, str]:
    """Names of the segments of a file of 3D Slicer (.seg.nrrd) by their label values."""
    with reading(path):
        said = read_header(path).words
    names: dict[int, str] = {}
    for key, value in said.items():
        number = key.removeprefix("Segment").removesuffix("_LabelValue")
        if key == f"Segment{number}_LabelValue" and number.isdigit() and value.isdigit():
            names[int(value)] = said.get(f"Segment{number}_Name", value)
    return names


def volume_of(found: VoxelFile, stored: NDArray[Any], time: int | None) -> tuple[Volume, list[str]]:
    """A scan of stored values ``[first, second, third, (colour)]`` as `found` says they lie.

    Args:
        found: the header.
        stored: the values of one time point.
        time: which one, or None.

    Returns:
        The scan and what was odd about it.
    """
    times = 1 if found.time is None else found.sizes[found.time]
    form = closest_form(found.affine)
    form = replace(form, format="itk", series=selection("", time), times=times)
    remarks = list(found.remarks)
    if time is not None:
        remarks.append(f"Time point {time} of several is shown.")
    array = _values(to_array(stored, form))
    shape = (array.shape[0], array.shape[1], array.shape[2])
    file_shape: Shape3 = (stored.shape[0], stored.shape[1], stored.shape[2])
    affine = array_affine(found.affine, file_shape, form)
    grid = Grid(shape, affine, oriented=found.oriented)
    return Volume(array, grid, plane_of(grid), stored=form), remarks


def _file_affine(grid: Grid, form: StoredForm) -> Affine:
    """The affine of the file's own axes: `array_affine` the other way."""
    shape = tuple(grid.shape[form.axes.index(axis)] for axis in range(3))
    turn = array_affine(np.eye(4), (shape[0], shape[1], shape[2]), form)
    return grid.affine @ np.linalg.inv(turn)


def _values(view: NDArray[Any]) -> NDArray[Any]:
    """C-contiguous, in native byte order."""
    if view.dtype.kind in "iu":
        return np.ascontiguousarray(view, dtype=view.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):
        return np.array(view, dtype=np.float32, order="C")
