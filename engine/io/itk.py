"""NRRD and MetaImage in and out, through SimpleITK."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813, its usual name
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
from engine.system.atomic import atomic_write

MAX_BYTES = 16 * 2**30
_DEFLATE_LIMIT = 1040  # zlib shrinks by at most 1032 times
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SQUARE = 1e-5
_DETACHED = (".nhdr", ".mhd")


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
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        time = _check(path, reader, time)
        image = reader.Execute()
        if image.GetDimension() == 4:
            image = image[:, :, :, time or 0]
        elif image.GetDimension() == 2:
            image = sitk.JoinSeries(image)
        return _volume(path, image, time)


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
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        said = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    names: dict[int, str] = {}
    for key, value in said.items():
        number = key.removeprefix("Segment").removesuffix("_LabelValue")
        if key == f"Segment{number}_LabelValue" and number.isdigit() and value.isdigit():
            names[int(value)] = said.get(f"Segment{number}_Name", value)
    return names


def _check(path: Path, reader: sitk.ImageFileReader, time: int | None) -> int | None:
    """Refuses from the header what can't be opened; the time point to take, or None."""
    sizes, parts = [int(n) for n in reader.GetSize()], reader.GetNumberOfComponents()
    if not 2 <= len(sizes) <= 4 or min(sizes) < 1:
        raise UserError(f"{path.name} has {len(sizes)} dimensions; a scan has two or three.")
    if parts not in (1, 3) or reader.GetPixelID() in _COMPLEX:
        raise UserError(
            f"{path.name} holds {parts} numbers a voxel; a scan has one, or three for colour.",
            hint="Save the one you need as a file of its own.",
        )
    kind = sitk.GetArrayViewFromImage(sitk.Image([1, 1], reader.GetPixelID(), parts)).dtype
    size = int(np.prod(sizes, dtype=object)) * parts * kind.itemsize
    packed = path.stat().st_size * _DEFLATE_LIMIT
    if suffix_of(path) not in _DETACHED and size > packed:
        raise UserError(
            f"{path.name} is cut short: it holds fewer voxels than its header says.",
            hint="Copy the file again from where it came.",
        )
    if size > MAX_BYTES:
        raise UserError(f"{path.name} has more than the {MAX_BYTES >> 30} GB that open.")
    return time_point(path, sizes[3], time) if len(sizes) == 4 else None


_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def _volume(path: Path, image: sitk.Image, time: int | None) -> tuple[Volume, list[str]]:
    pixels = sitk.GetArrayViewFromImage(image)
    stored = pixels.transpose(2, 1, 0, *range(3, pixels.ndim))
    affine = _affine(path, image)
    part = selection("", time)
    form = replace(closest_form(affine), format="itk", series=part)
    remarks = [] if time is None else [f"Time point {time} of several is shown."]
    array = _values(path, to_array(stored, form), remarks)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    file_shape: Shape3 = (stored.shape[0], stored.shape[1], stored.shape[2])
    grid = Grid(shape, array_affine(affine, file_shape, form))
    return Volume(array, grid, plane_of(grid), stored=form), remarks


def _affine(path: Path, image: sitk.Image) -> Affine:
    """(first, second, third axis) to world mm in RAS+; ITK's world is LPS+."""
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UserError(
            f"{path.name} does not say where its voxels lie: its directions are broken.",
            hint="Convert the scan again from its DICOM files.",
        )
    return _TO_RAS @ affine


def _file_affine(grid: Grid, form: StoredForm) -> Affine:
    """The affine of the file's own axes: `array_affine` the other way."""
    shape = tuple(grid.shape[form.axes.index(axis)] for axis in range(3))
    turn = array_affine(np.eye(4), (shape[0], shape[1], shape[2]), form)
    return grid.affine @ np.linalg.inv(turn)


def _values(path: Path, view: NDArray[Any], remarks: list[str]) -> NDArray[Any]:
    """C-contiguous; what is no number gets the lowest value."""
    if view.ndim == 4 and view.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path.name} holds colours of an unknown kind ({view.dtype}).")
    if view.dtype.kind in "iu":
        return np.array(view, order="C")
    with np.errstate(over="ignore"):
        array = np.array(view, dtype=np.float32, order="C")
    good = np.isfinite(array)
    if not good.all():
        missing = int(good.size - np.count_nonzero(good))
        remarks.append(f"{missing} voxels hold no number; they are given the lowest value.")
        array[~good] = array[good].min() if good.any() else 0
    return array
