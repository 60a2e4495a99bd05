"""Masks in, onto the grid of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.case import Case
from engine.domain.labels import MAX_LABEL_ID, LabelList
from engine.domain.volume import Volume
from engine.errors import ChoiceNeeded, UserError
from engine.imaging.orientation import as_shown
from engine.io.dicom_text import one_text
from engine.io.kinds import Kind, file_stem, kind_of, reading, suffix_of
from engine.io.listing import SLICE_NUMBER, manifest_of
from engine.io.manifests import labels_named, read_labels
from engine.io.mask_placing import NEAREST, Tell, other_grid, put_on_grid
from engine.io.no_number import fill_mask

Labels = NDArray[np.uint8]


def read_mask(
    path: Path,
    case: Case,
    *,
    threshold: float | None = None,
    overlap: str = "",
    resample: str = "",
    tell: Tell = lambda _: None,
) -> tuple[Labels, LabelList | None]:
    """Opens a mask of a case.

    NIfTI, NRRD, MetaImage, DICOM SEG, an RT structure set, a picture, a labelme file, or the folder
    of PNGs of a volume.

    Args:
        path: of the mask.
        case: whose grid it must lie on.
        threshold: of a DICOM SEG that holds fractions.
        overlap: which of two overlapping segments gets a voxel, "first" or "last".
        resample: "nearest" puts a mask of another grid onto the case's by the nearest voxel.
        tell: called with a sentence about what resampling changed, voxels without a number, which
            are background, and what the file's format blurred or does not say.

    Returns:
        uint8 ``[k, j, i]`` on the case's grid, and the labels that the manifest beside it, or else
        the file itself, names (None without names).

    Raises:
        ChoiceNeeded: it holds fractions, its segments overlap, or it lies on another grid, and
            nothing was chosen.
        UserError: it is no mask, or can't lie on the case's grid.
    """
    file = path
    if path.is_dir():
        array, file = _read_folder(path, case, tell)
        names: dict[int, str] = {}
    else:
        array, names = _read_file(path, case, threshold, overlap, resample, tell)
    return _with_names(array, names, read_labels(manifest_of(file)))


def _with_names(
    array: Labels, said: dict[int, str], beside: LabelList | None
) -> tuple[Labels, LabelList | None]:
    """The labels as the file itself names them, with the manifest's numbers if it knows them all.

    DICOM and labelme number what is drawn from 1 on; the manifest tells which numbers those labels
    had before, and their names before DICOM changed or cut them. It may also belong to another
    file of the same name, and then says nothing here.
    """
    names = {value: name for value, name in said.items() if 0 < value <= MAX_LABEL_ID}
    if not names:
        return array, beside
    short = [one_text(label.name) for label in beside or ()]
    ids = {name: label.id for name, label in zip(short, beside or (), strict=True)}
    wanted = [one_text(name) for name in names.values()]
    is_clear = len(ids) == len(short) and len(set(wanted)) == len(wanted)
    has_more = not set(np.unique(array).tolist()) <= {0, *names}
    if beside is None or has_more or not is_clear or not ids.keys() >= set(wanted):
        return array, labels_named(names)
    turn = np.zeros(MAX_LABEL_ID + 1, dtype=np.uint8)
    turn[list(names)] = [ids[name] for name in wanted]
    return turn[array], beside


def _read_file(
    path: Path, case: Case, threshold: float | None, overlap: str, resample: str, tell: Tell
) -> tuple[Labels, dict[int, str]]:
    """A mask in one file, and the names that it gives its labels."""
    if suffix_of(path) == ".json" and path.is_file():
        from engine.io.labelme import read_labelme

        return read_labelme(path, case, overlap, tell)
    kind = kind_of(path)
    if kind is Kind.DICOM:
        return _read_dicom(path, case, threshold, overlap, resample, tell)
    if kind in (Kind.NIFTI, Kind.ITK):
        return _read_volume_mask(path, kind, case, overlap, resample, tell)
    if case.scan.slice_count > 1:
        return _read_stack(path, case, tell), {}
    array = np.zeros(case.scan.grid.shape, dtype=np.uint8)
    slice_of(array, case.scan.plane, 0)[...] = _read_slice(path, case.scan, tell)
    return array, {}


def _read_stack(path: Path, case: Case, tell: Tell) -> Labels:
    """A TIFF with a page for each slice of a volume, in the window's order, upright as shown.

    Raises:
        UserError: it is another picture, or has another number of pages.
    """
    if suffix_of(path) not in (".tif", ".tiff"):
        raise UserError(
            f"{path.name} can't be opened as the mask of {case.name}.",
            hint="Masks of a volume open from NIfTI, NRRD, DICOM SEG, RT structure sets, TIFFs "
            "with a page for each slice, and folders of PNGs.",
        )
    from engine.io.mask_picture import page_count, read_pages

    scan, count = case.scan, page_count(path)
    if count != scan.slice_count:
        raise UserError(
            f"{path.name} has {count} page{'s' * (count > 1)}, {case.name} has {scan.slice_count} "
            "slices.",
            hint="A TIFF is the mask of a volume if it has a page for each slice.",
        )
    array, gaps = np.zeros(scan.grid.shape, dtype=np.uint8), list[str]()
    for index, page in enumerate(read_pages(path)):
        values = fill_mask(path, page, gaps.append)
        slice_of(array, scan.plane, index)[...] = _on_slice(path, values, scan)
    if gaps:
        tell(f"{len(gaps)} pages of {path.name} have pixels without a number: background.")
    tell(
        f"{path.name} does not say where its pages lie: the first was taken for slice 1, each "
        "upright as it is shown. Look whether they lie right."
    )
    return array


def _read_dicom(
    path: Path, case: Case, threshold: float | None, overlap: str, resample: str, tell: Tell
) -> tuple[Labels, dict[int, str]]:
    from engine.io.dicom_rtstruct_read import is_rtstruct, read_rtstruct

    if is_rtstruct(path):
        return read_rtstruct(path, case, overlap, tell)
    from engine.io.dicom_seg_read import read_seg

    wanted = resample == NEAREST and case.scan.is_even
    return read_seg(path, case, threshold, overlap, resample=wanted, tell=tell)


def slice_of(array: NDArray[Any], plane: int, index: int) -> NDArray[Any]:
    """A view of one slice along a plane, ``[rows, columns]``."""
    return array[(slice(None),) * plane + (index,)]


def _read_volume_mask(
    path: Path, kind: Kind, case: Case, overlap: str, resample: str, tell: Tell
) -> tuple[Labels, dict[int, str]]:
    """Label values on the case's grid, and the names that the file gives them."""
    mask, names = _read_values(path, kind, overlap)
    if mask.is_colour:
        raise UserError(f"{path.name} is in colour; a mask has one number a voxel.")
    is_plain = (mask.slope, mask.intercept) == (1.0, 0.0)
    stored = mask.array if is_plain else mask.real(mask.array)
    values = _label_values(path, fill_mask(path, stored, tell))
    target = case.scan.grid
    if case.scan.is_even and mask.grid.same_place(target):
        return values, names
    if resample != NEAREST or not case.scan.is_even:
        raise other_grid(path, case, mask.grid)
    return put_on_grid(path, values, mask.grid, target, tell), names


def _read_values(path: Path, kind: Kind, overlap: str) -> tuple[Volume, dict[int, str]]:
    """A mask on its own grid, and the names that the file gives its labels."""
    try:
        if kind is not Kind.ITK:
            from engine.io.nifti import read_nifti

            return read_nifti(path)[0], {}
        from engine.io.itk import read_itk, segment_names
        from engine.io.slicer_layers import read_layers

        return read_layers(path, overlap) or (read_itk(path)[0], segment_names(path))
    except ChoiceNeeded as error:
        if error.about != "time":
            raise
        raise UserError(
            f"{path.name} holds several time points; a mask has one.",
            hint="Save the one that belongs to this scan as a file of its own.",
        ) from error


def _label_values(path: Path, values: NDArray[Any]) -> Labels:
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.uint8)
    if values.min() < 0 or values.max() > 255 or (labels != values).any():
        raise UserError(
            f"{path.name} is no mask: its values are not whole numbers from 0 to 255.",
            hint="Open it as a scan instead.",
        )
    return labels


def _read_slice(path: Path, scan: Volume, tell: Tell) -> Labels:
    from engine.io.mask_picture import read_indices

    return _on_slice(path, read_indices(path, tell), scan)


def _on_slice(path: Path, values: NDArray[Any], scan: Volume) -> Labels:
    """Values ``[j, i]`` of an upright picture, as a slice of the scan."""
    labels = as_shown(_label_values(path, values), scan.plane)
    if labels.shape != scan.slice_shape:
        rows, columns = scan.slice_shape
        raise UserError(
            f"{path.name} has {labels.shape[1]} x {labels.shape[0]} pixels, "
            f"the scan {columns} x {rows}.",
            hint="Open the mask that was drawn on this very scan.",
        )
    return labels


def _read_folder(folder: Path, case: Case, tell: Tell) -> tuple[Labels, Path]:
    """A folder of ``NAME_0007.png``, and one of its files; slices without a file stay empty.

    Of a picture there is ``NAME.png``, maybe among those of other pictures.
    """
    scan = case.scan
    if scan.is_picture:
        own = folder / f"{file_stem(case.name)}.png"
        if not own.is_file():
            raise UserError(
                f"The folder {folder.name} holds no mask of {case.name}, which is a picture.",
                hint=f"Open the mask's own file, or a folder with {own.name}.",
            )
        return _read_slice(own, scan, tell)[None], own
    with reading(folder):
        files = {p: SLICE_NUMBER.search(p.name) for p in folder.iterdir()}
    by_stem: dict[str, dict[int, Path]] = {}
    for path, hit in files.items():
        if hit:
            by_stem.setdefault(path.name[: hit.start()], {})[int(hit.group(1))] = path
    found = _of_case(folder, by_stem, file_stem(case.name))
    if not found or max(found) >= scan.slice_count:
        raise UserError(
            f"The folder {folder.name} holds no mask of {case.name}, "
            f"which has {scan.slice_count} slice{'s' * (scan.slice_count > 1)}.",
            hint="The PNGs of a mask are named NAME_0000.png, NAME_0001.png and so on.",
        )
    array = np.zeros(scan.grid.shape, dtype=np.uint8)
    for index, path in sorted(found.items()):
        slice_of(array, scan.plane, index)[...] = _read_slice(path, scan, tell)
    return array, next(iter(found.values()))


def _of_case(folder: Path, by_stem: dict[str, dict[int, Path]], stem: str) -> dict[int, Path]:
    """The case's own slices, or those of the only mask there; never of two."""
    if stem in by_stem:
        return by_stem[stem]
    if len(by_stem) > 1:
        names = sorted(by_stem)
        raise UserError(
            f"The folder {folder.name} holds the masks of several cases "
            f"({', '.join(names[:3])}{' ...' if names[3:] else ''}), none of them {stem}.",
            hint="Put the PNGs of the mask that is meant into a folder of their own.",
        )
    return next(iter(by_stem.values()), {})
