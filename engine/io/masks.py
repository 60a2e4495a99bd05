"""Masks out and in: PNG and NIfTI on the source's exact grid."""

from __future__ import annotations

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
    NIFTI_OUT,
    Kind,
    file_stem,
    kind_of,
    reading,
    stem_of,
    suffix_of,
    writing,
)
from engine.io.listing import MANIFEST_SUFFIX, OVERLAY_SUFFIX, SLICE_NUMBER, manifest_of
from engine.io.manifests import build_manifest, read_labels, read_source_sha256, write_manifest
from engine.io.replacing import check_targets

Labels = NDArray[np.uint8]


def save_mask(
    case: Case,
    path: Path,
    *,
    overlay: bool = False,
    slices: range | None = None,
    model: ModelUse | None = None,
) -> list[Path]:
    """Writes a case's label map, and a manifest beside it.

    Args:
        case: what is saved; its source is never written.
        path: ``.nii`` or ``.nii.gz``; ``.png`` for a picture; else a folder: a PNG a slice, named
            ``NAME_0007.png`` for slice 7, upright as on the screen. What lies there is replaced
            only if this program wrote it.
        overlay: also a coloured overlay on each slice that holds a label.
        slices: only these; the others stay empty (NIfTI) or are not written (PNG).
        model: who proposed, for the manifest.

    Returns:
        The files written, the mask first.

    Raises:
        UserError: the disk refused, a file to be written is the source or somebody else's, or
            the format can't hold the mask, or the folder holds the mask of another case of this
            name; nothing is written then.
    """
    with writing(path):
        chosen = _only(case.label_map.array, case.scan.plane, slices)
        masks = _mask_files(case.scan, path, file_stem(case.name), slices)
        overlays = _overlay_files(case, chosen, path, slices) if overlay else {}
        folder, stem, manifest = _place(case, path)
        content = build_manifest(case, model)
        check_targets([path, *masks, *overlays, manifest], [case.source])
        if folder == path:
            _check_same_case(folder, stem, {manifest, *map(manifest_of, masks)}, content)
        _write_masks(chosen, case.scan, masks)
        _write_overlays(case, chosen, overlays)
        write_manifest(manifest, content)
    return [*masks, *overlays, manifest]


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
        path: as in `save_mask`.
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
    """Writes probabilities: float32 NIfTI, or 16-bit PNG (65535 is 1) for a picture.

    Args:
        probability: float32 ``[k, j, i]``, 0..1, on the scan's grid.
        scan: the scan they belong to.
        path: ends in .nii, .nii.gz or .png.
        source: the scan's file or folder, which is never written.

    Raises:
        UserError: the format can't hold them, or the disk refused.
    """
    suffix = suffix_of(path)
    with writing(path):
        check_targets([path], [source])
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in NIFTI_OUT:
            from engine.io.nifti_write import write_nifti

            write_nifti(path, probability.astype(np.float32, copy=False), scan)
        elif suffix == ".png" and scan.slice_count == 1:
            steps = np.rint(np.clip(probability, 0.0, 1.0) * 65535.0).astype(np.uint16)
            _write_slice(path, steps, scan, 0)
        else:
            raise UserError(
                f"{path.name} can't hold the probabilities of this scan.",
                hint="Name a .nii.gz file, or a .png file for a picture.",
            )
    return path


def read_mask(path: Path, case: Case) -> tuple[Labels, LabelList | None]:
    """Opens a mask of a case again: a NIfTI file, a PNG, or the folder of PNGs of a volume.

    Returns:
        uint8 ``[k, j, i]`` on the case's grid, and the labels that the manifest beside it names
        (None without one).

    Raises:
        UserError: it is no mask, or lies on another grid.
    """
    kind = kind_of(path)
    file = path
    if kind is Kind.NIFTI:
        array = _read_nifti_mask(path, case.scan)
    elif kind is Kind.FOLDER:
        array, file = _read_folder(path, case)
    elif kind is Kind.PICTURE and case.scan.slice_count == 1:
        array = np.zeros(case.scan.grid.shape, dtype=np.uint8)
        _slice_of(array, case.scan.plane, 0)[...] = _read_slice(path, case.scan)
    else:
        raise UserError(
            f"{path.name} can't be opened as the mask of {case.name}.",
            hint="Masks open from NIfTI; for a picture, from PNG.",
        )
    return array, read_labels(manifest_of(file))


def _check_same_case(folder: Path, stem: str, beside: set[Path], new: Manifest) -> None:
    """Names inside a folder are ours to choose: there nobody agreed to lose another case's mask."""
    for path in beside:
        if path.is_file() and read_source_sha256(path) != new.source_sha256:
            raise UserError(
                f"{folder.name} holds the mask of another {stem} already.",
                hint="Choose another folder, or name a file.",
            )


def _only(array: Labels, plane: int, slices: range | None) -> Labels:
    if slices is None:
        return array
    chosen = np.zeros_like(array)
    for index in slices:
        _slice_of(chosen, plane, index)[...] = _slice_of(array, plane, index)
    return chosen


def _slice_of(array: NDArray[Any], plane: int, index: int) -> NDArray[Any]:
    return array[(slice(None),) * plane + (index,)]


def _write_slice(path: Path, array: NDArray[Any], scan: Volume, index: int) -> None:
    from engine.io.raster import write_png

    pixels = as_shown(_slice_of(array, scan.plane, index), scan.plane)
    write_png(path, pixels, scan.stored if scan.is_picture else None)


def _mask_files(
    scan: Volume, path: Path, stem: str, slices: range | None
) -> dict[Path, int | None]:
    """The mask's files and the slice that each holds; None means all of them."""
    suffix = suffix_of(path)
    if suffix in NIFTI_OUT:
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


def _write_masks(array: Labels, scan: Volume, files: dict[Path, int | None]) -> None:
    for path, index in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if index is not None:
            _write_slice(path, array, scan, index)
            continue
        from engine.io.nifti_write import write_nifti

        write_nifti(path, array, scan)


def _overlay_files(case: Case, array: Labels, path: Path, slices: range | None) -> dict[Path, int]:
    """The overlays and the slice that each shows: those that hold a label."""
    scan = case.scan
    folder, stem = _overlay_place(case, path)
    files: dict[Path, int] = {}
    for index in slices if slices is not None else range(scan.slice_count):
        if _slice_of(array, scan.plane, index).any():
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
        picture = draw_overlay(grey, _slice_of(array, scan.plane, index), case.labels)
        write_png(path, as_shown(picture, scan.plane), scan.stored if scan.is_picture else None)


def _overlay_place(case: Case, path: Path) -> tuple[Path, str]:
    """Beside a PNG, among the PNGs of a folder, or in a folder beside a NIfTI file."""
    folder, stem, _ = _place(case, path)
    return (folder / f"{stem}_overlay" if suffix_of(path) in NIFTI_OUT else folder), stem


def _place(case: Case, path: Path) -> tuple[Path, str, Path]:
    """The folder that takes the files of a mask, how their names begin, and the manifest."""
    is_file = suffix_of(path) in (*NIFTI_OUT, ".png")
    folder, stem = (path.parent, stem_of(path)) if is_file else (path, file_stem(case.name))
    return folder, stem, folder / f"{stem}{MANIFEST_SUFFIX}"


def _read_nifti_mask(path: Path, scan: Volume) -> Labels:
    from engine.io.nifti import read_nifti

    mask, _ = read_nifti(path)
    if not mask.grid.same_place(scan.grid):
        raise UserError(
            f"{path.name} lies on another grid ({_size(mask)}) than the scan ({_size(scan)}).",
            hint="Open the mask that was drawn on this very scan.",
        )
    is_plain = (mask.slope, mask.intercept) == (1.0, 0.0)
    return _label_values(path, mask.array if is_plain else mask.real(mask.array))


def _size(scan: Volume) -> str:
    shape = " x ".join(str(n) for n in scan.grid.shape[::-1])
    return f"{shape} voxels of {' x '.join(f'{s:.3g}' for s in scan.grid.spacing[::-1])} mm"


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


def _read_slice(path: Path, scan: Volume) -> Labels:
    from engine.io.raster import read_indices

    labels = as_shown(_label_values(path, read_indices(path)), scan.plane)
    if labels.shape != scan.slice_shape:
        rows, columns = scan.slice_shape
        raise UserError(
            f"{path.name} has {labels.shape[1]} x {labels.shape[0]} pixels, "
            f"the scan {columns} x {rows}.",
            hint="Open the mask that was drawn on this very scan.",
        )
    return labels


def _read_folder(folder: Path, case: Case) -> tuple[Labels, Path]:
    """A folder of ``NAME_0007.png``, and one of its files; slices without a file stay empty."""
    scan = case.scan
    with reading(folder):
        files = {p: SLICE_NUMBER.search(p.name) for p in folder.iterdir()}
    by_stem: dict[str, dict[int, Path]] = {}
    for path, hit in files.items():
        if hit:
            by_stem.setdefault(path.name[: hit.start()], {})[int(hit.group(1))] = path
    found = _of_case(folder, by_stem, file_stem(case.name))
    if not found or max(found) >= scan.slice_count:
        raise UserError(
            f"The folder {folder.name} holds no mask of this scan ({scan.slice_count} slices).",
            hint="The PNGs of a mask are named NAME_0000.png, NAME_0001.png and so on.",
        )
    array = np.zeros(scan.grid.shape, dtype=np.uint8)
    for index, path in sorted(found.items()):
        _slice_of(array, scan.plane, index)[...] = _read_slice(path, scan)
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
