"""NRRD and MetaImage: in by the project's own readers, out through SimpleITK."""

from __future__ import annotations

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
from engine.io.orientation import array_affine, closest_form, plane_of, to_array, to_stored
from engine.io.replacing import PROGRAM
from engine.io.selection import selection, time_point
from engine.io.voxel_file import VoxelFile, check, read_voxels
from engine.system.atomic import atomic_write

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SQUARE = 1e-5


def read_itk(path: Path, time: int | None = None) -> tuple[Volume, list[str]]:
    """Reads one 3-D scan, grey or RGB.

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
        if found.time is not None:
            stored = stored[..., time or 0] if found.channels is None else stored[..., time or 0, :]
        if len(found.sizes) - (found.channels is not None) == 2:
            stored = stored[:, :, None]
        return _volume(found, stored, time)


def read_header(path: Path) -> VoxelFile:
    """Reads and checks the header of an NRRD or MetaImage file; nothing large is allocated.

    Raises:
        UserError: it is damaged, or no scan.
    """
    if suffix_of(path) in (".nrrd", ".nhdr"):
        from engine.io.nrrd import read_nrrd_header

        found = read_nrrd_header(path)
    else:
        from engine.io.metaimage import read_metaimage_header

        found = read_metaimage_header(path)
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
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > _SQUARE:
        raise UserError(
            f"{path.name} can't say where a tilted (sheared) scan lies.",
            hint="Save it as NIfTI (.nii.gz) or DICOM SEG.",
        )
    import SimpleITK as sitk  # noqa: N813, its usual name

    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.reshape(-1).tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetMetaData("Software", PROGRAM)
    for key, value in _segments(labels or LabelList()).items():
        image.SetMetaData(key, value)
    with atomic_write(path) as draft:
        sitk.WriteImage(image, str(draft), useCompression=True)


def _segments(labels: LabelList) -> dict[str, str]:
    """The labels as a segmentation file of 3D Slicer describes them."""
    said: dict[str, str] = {}
    for n, label in enumerate(labels):
        said |= {
            f"Segment{n}_ID": f"label_{label.id}",
            f"Segment{n}_Name": " ".join(label.name.split()),
            f"Segment{n}_LabelValue": str(label.id),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Color": " ".join(f"{c / 255:.6f}" for c in label.colour),
        }
    return said


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


def _volume(found: VoxelFile, stored: NDArray[Any], time: int | None) -> tuple[Volume, list[str]]:
    form = replace(closest_form(found.affine), format="itk", series=selection("", time))
    remarks = [] if time is None else [f"Time point {time} of several is shown."]
    array = _values(to_array(stored, form), remarks)
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


def _values(view: NDArray[Any], remarks: list[str]) -> NDArray[Any]:
    """C-contiguous, in native byte order; what is no number gets the lowest value."""
    if view.dtype.kind in "iu":
        return np.ascontiguousarray(view, dtype=view.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):
        array = np.array(view, dtype=np.float32, order="C")
    good = np.isfinite(array)
    if not good.all():
        missing = int(good.size - np.count_nonzero(good))
        remarks.append(f"{missing} voxels hold no number; they are given the lowest value.")
        array[~good] = array[good].min() if good.any() else 0
    return array
