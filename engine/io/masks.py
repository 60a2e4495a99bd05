"""Masks out: as pictures, on the source's exact grid, as DICOM, as outlines, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.case import Case
from engine.domain.labels import LabelList
from engine.domain.manifest import Manifest, ModelUse
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.imaging.orientation import as_shown
from engine.imaging.overlay import draw_overlay
from engine.imaging.window_level import default_window, to_8bit
from engine.io.kinds import (
    FILE_FORMS,
    GRID_OUT,
    ITK_OUT,
    MASK_ENDINGS,
    MaskForm,
    file_stem,
    mask_form,
    stem_of,
    suffix_of,
    writing,
)
from engine.io.listing import MANIFEST_SUFFIX, OVERLAY_SUFFIX, manifest_of
from engine.io.manifests import (
    build_manifest,
    carried_over,
    read_source_sha256,
    scan_sha256,
    write_manifest,
)
from engine.io.mask_reading import Labels, slice_of
from engine.io.replacing import check_targets
from engine.io.uneven import require_even


def save_mask(
    case: Case,
    path: Path,
    *,
    overlay: bool = False,
    slices: range | None = None,
    model: ModelUse | None = None,
    form: str = "",
    deidentify: bool = False,
    before: Manifest | None = None,
) -> list[Path]:
    """Writes a case's label map, and a manifest beside it.

    Args:
        case: what is saved; its source is never written.
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.csv``; ``.dcm`` of DICOM; ``.png`` or
            ``.json`` of a picture; else a folder of PNGs, upright. Only our own are replaced.
        overlay: also a coloured overlay on each slice that holds a label.
        slices: only these; the others stay empty (NIfTI) or are not written (PNG).
        model: who proposed, for the manifest.
        form: a `MaskForm` where the ending leaves it open: a ``.dcm`` is "seg" or "rtstruct".
        deidentify: leaves patient and study of a DICOM file empty, and replaces its UIDs.
        before: the manifest of the file that the mask was read from: it says who drew it.

    Returns:
        The files written, the mask first.

    Raises:
        UserError: the disk refused, the format can't hold it, or a file there is not ours.
    """
    with writing(path):
        chosen = _only(case.label_map.array, case.scan.plane, slices)
        masks = _mask_files(case.scan, path, file_stem(case.name), slices)
        overlays = _overlay_files(case, chosen, path, slices) if overlay else {}
        content = carried_over(build_manifest(case, model), before)
        manifest = _free_place(case, path, masks, overlays, content)
        _write(path, masks, chosen, case, content.model, form, deidentify)
        _write_overlays(case, chosen, overlays)
        write_manifest(manifest, content)
    return [*masks, *overlays, manifest]


def check_format(case: Case, path: Path, form: str = "") -> None:
    """Makes sure, before anything is computed, that a case's mask can be written under a name.

    Args:
        case: open, with or without a mask.
        path: as in `save_mask`.
        form: as in `save_mask`.

    Raises:
        UserError: it can't, with a format that can.
    """
    kind = mask_form(path, form)
    if kind in (MaskForm.SEG, MaskForm.RTSTRUCT):
        from engine.io.dicom_source import check_source

        check_source(path, case, kind)
    elif kind is MaskForm.LABELME:
        from engine.io.labelme import check_picture

        check_picture(path, case)
    else:
        if kind in (MaskForm.NIFTI, MaskForm.ITK):
            require_even(case.scan, path)
        _mask_files(case.scan, path, file_stem(case.name), None)


def write_labels(
    array: Labels,
    scan: Volume,
    source: Path,
    path: Path,
    *,
    name: str = "",
    slices: range | None = None,
) -> list[Path]:
    """Writes label values on the grid of a scan, without a manifest.

    Args:
        array: uint8 ``[k, j, i]`` of the scan's shape.
        scan: the scan they belong to.
        source: its file or folder; refused as the target.
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.png`` or a folder, as in `save_mask`.
        name: stem of the PNGs in a folder; the source's name if empty.
        slices: which slices a folder of PNGs gets.
    """
    with writing(path):
        files = _mask_files(scan, path, file_stem(name or stem_of(source)), slices)
        check_targets([path, *files], [source])
        _write_masks(array, scan, files)
    return list(files)


def save_probability(
    probability: NDArray[np.float32], scan: Volume, path: Path, source: Path
) -> Path:
    """Writes probabilities: float32 NIfTI, NRRD or MetaImage; 16-bit PNG of a picture (65535 is 1).

    Args:
        probability: float32 ``[k, j, i]``, 0..1, on the scan's grid.
        scan: the scan they belong to.
        path: ends in .nii, .nii.gz, .nrrd, .mha or .png.
        source: the scan's file or folder, which is never written.

    Raises:
        UserError: the format can't hold them, or the disk refused.
    """
    suffix = suffix_of(path)
    with writing(path):
        check_targets([path], [source])
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in GRID_OUT:
            _write_grid(path, probability.astype(np.float32, copy=False), scan)
        elif suffix == ".png" and scan.slice_count == 1:
            steps = np.rint(np.clip(probability, 0.0, 1.0) * 65535.0).astype(np.uint16)
            _write_slices({path: 0}, steps, scan)
        else:
            raise UserError(
                f"{path.name} can't hold the probabilities of this scan.",
                hint="Name a .nii.gz file, or a .png file for a picture.",
            )
    return path


def _free_place(
    case: Case, path: Path, masks: Iterable[Path], overlays: Iterable[Path], new: Manifest
) -> Path:
    """The manifest's file, once it is sure that nothing is lost by any of the files."""
    folder, stem, manifest = _place(case, path)
    check_targets([path, *masks, *overlays, manifest], [case.source])
    if folder == path:
        beside = {manifest, *map(manifest_of, masks)}
        _check_same_scan(folder, stem, beside, new.source_sha256)
    elif not path.exists():  # the manifest is that of a file with another ending
        _check_same_scan(folder, stem, {manifest}, new.source_sha256)
    return manifest


def check_same_case(case: Case, mask: Path) -> None:
    """Refuses a mask file that nobody named, where another scan has its mask already.

    Args:
        case: open, with or without a mask.
        mask: the file, in a folder that was named, under a name that we chose.

    Raises:
        UserError: the manifest beside it is that of another scan.
    """
    beside = manifest_of(mask)
    if mask.is_file() and beside.is_file():
        _check_same_scan(mask.parent, stem_of(mask), {beside}, scan_sha256(case.scan))


def _check_same_scan(folder: Path, stem: str, beside: set[Path], source: str) -> None:
    """Nobody agreed to lose what is known of another case's mask: names in a folder are ours to
    choose, and files that differ in their ending share a manifest. `source` is the scan's hash.
    """
    for path in beside:
        if path.is_file() and read_source_sha256(path) != source:
            raise UserError(
                f"{folder.name} holds a mask called {stem} of another scan already.",
                hint="Choose another folder, or another name.",
            )


def _only(array: Labels, plane: int, slices: range | None) -> Labels:
    if slices is None:
        return array
    chosen = np.zeros_like(array)
    for index in slices:
        slice_of(chosen, plane, index)[...] = slice_of(array, plane, index)
    return chosen


def _write_slices(files: Mapping[Path, int], array: NDArray[Any], scan: Volume) -> None:
    from engine.io.raster import write_pngs

    pictures = (
        (path, as_shown(slice_of(array, scan.plane, index), scan.plane))
        for path, index in files.items()
    )
    write_pngs(pictures, scan.stored if scan.is_picture else None)


def _mask_files(
    scan: Volume, path: Path, stem: str, slices: range | None
) -> dict[Path, int | None]:
    """The mask's files and the slice that each holds; None means all of them."""
    suffix = suffix_of(path)
    if mask_form(path) in FILE_FORMS:
        return {path: None}
    if suffix == ".png" and scan.slice_count == 1:
        return {path: 0}
    if suffix == ".png":
        raise UserError(
            f"{path.name} can hold one slice, and the scan has {scan.slice_count}.",
            hint="Name a folder for one PNG a slice, or a file that ends in .nii.gz.",
        )
    if path.exists() and not path.is_dir():
        raise UserError(
            f"{path.name} is a file; a folder is needed for one PNG a slice.",
            hint="Choose another name, or one that ends in .nii.gz.",
        )
    if scan.is_picture:
        return {path / f"{stem}.png": 0}
    chosen = slices if slices is not None else range(scan.slice_count)
    return {path / f"{stem}_{index:04d}.png": index for index in chosen}


def _write_masks(
    array: Labels, scan: Volume, files: dict[Path, int | None], labels: LabelList | None = None
) -> None:
    for path, index in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if index is None:
            _write_grid(path, array, scan, labels)
    _write_slices({path: n for path, n in files.items() if n is not None}, array, scan)


def _write(
    path: Path,
    files: dict[Path, int | None],
    array: Labels,
    case: Case,
    model: ModelUse | None,
    form: str,
    deidentify: bool,
) -> None:
    """Writes the mask: a form that takes the whole case, or one that takes label values alone."""
    writer = _WRITERS.get(mask_form(path, form))
    if writer is None:
        _write_masks(array, case.scan, files, case.labels)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    writer(path, array, case, model, deidentify)


def _write_seg(
    path: Path, array: Labels, case: Case, model: ModelUse | None, deidentify: bool
) -> None:
    from engine.io.dicom_seg import write_seg

    write_seg(path, array, case, model, deidentify)


def _write_rtstruct(
    path: Path, array: Labels, case: Case, model: ModelUse | None, deidentify: bool
) -> None:
    from engine.io.dicom_rtstruct import write_rtstruct

    write_rtstruct(path, array, case, model, deidentify)


def _write_labelme(path: Path, array: Labels, case: Case, *_: object) -> None:
    from engine.io.labelme import write_labelme

    write_labelme(path, array, case)


def _write_table(path: Path, array: Labels, case: Case, *_: object) -> None:
    from engine.io.table import write_table

    write_table(path, array, case)


# Each imports its library only when it is asked for: the window opens without them.
_WRITERS = {
    MaskForm.SEG: _write_seg,
    MaskForm.RTSTRUCT: _write_rtstruct,
    MaskForm.LABELME: _write_labelme,
    MaskForm.TABLE: _write_table,
}


def _write_grid(
    path: Path, array: NDArray[Any], scan: Volume, labels: LabelList | None = None
) -> None:
    """A whole volume in one file."""
    require_even(scan, path)
    if suffix_of(path) in ITK_OUT:
        from engine.io.itk import write_itk

        write_itk(path, array, scan, labels)
    else:
        from engine.io.nifti_write import write_nifti

        write_nifti(path, array, scan)


def _overlay_files(case: Case, array: Labels, path: Path, slices: range | None) -> dict[Path, int]:
    """The overlays and the slice that each shows: those that hold a label."""
    scan = case.scan
    folder, stem = _overlay_place(case, path)
    files: dict[Path, int] = {}
    for index in slices if slices is not None else range(scan.slice_count):
        if slice_of(array, scan.plane, index).any():
            number = "" if scan.slice_count == 1 else f"_{index:04d}"
            files[folder / f"{stem}{number}{OVERLAY_SUFFIX}"] = index
    return files


def _write_overlays(case: Case, array: Labels, files: dict[Path, int]) -> None:
    from engine.io.raster import write_png

    scan = case.scan
    level, width = default_window(scan)
    for path, index in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = to_8bit(
            scan.slice(index), scan.slope, scan.intercept, level, width, inverted=scan.inverted
        )
        picture = draw_overlay(grey, slice_of(array, scan.plane, index), case.labels)
        write_png(path, as_shown(picture, scan.plane), scan.stored if scan.is_picture else None)


def _overlay_place(case: Case, path: Path) -> tuple[Path, str]:
    """Beside a PNG, among the PNGs of a folder, or in a folder beside a NIfTI file."""
    folder, stem, _ = _place(case, path)
    return (folder / f"{stem}_overlay" if mask_form(path) in FILE_FORMS else folder), stem


def _place(case: Case, path: Path) -> tuple[Path, str, Path]:
    """The folder that takes the files of a mask, how their names begin, and the manifest."""
    is_file = suffix_of(path) in MASK_ENDINGS
    folder, stem = (path.parent, stem_of(path)) if is_file else (path, file_stem(case.name))
    return folder, stem, folder / f"{stem}{MANIFEST_SUFFIX}"
