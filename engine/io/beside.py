"""Masks that lie beside a picture or volume, by the names that people give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from engine.domain.case import Case
from engine.io.kinds import (
    ITK_OUT,
    NIFTI_OUT,
    PICTURE_SUFFIXES,
    kind_by_name,
    looks_like_dicom,
    natural_key,
    stem_of,
    suffix_of,
)
from engine.io.listing import MASK_WORDS, OVERLAY_SUFFIX, manifest_of, mask_names
from engine.io.manifests import read_source_sha256, scan_sha256

_FOLDER = re.compile(rf"{MASK_WORDS}(?:tr|ts)?|ground[ _-]?truth|annotations", re.IGNORECASE)
# What an image's name may carry that its mask's does not: nnU-Net's channel.
_CHANNEL = re.compile(r"_0000$")
_LOOKED_AT = 20_000  # files of a folder; in a larger one nothing is looked for


def masks_beside(case: Case) -> list[Path]:
    """Files that are probably masks of this case, the surest first.

    First those that this program wrote of the very same scan, as their manifests say; then names
    such as ``eye_mask.png``, ``seg-eye.nii.gz`` or labelme's ``eye.json`` in the same folder; then
    the same name in a folder ``masks`` (``labels``, ``labelsTr``, ...) below it or beside it.
    Nothing is opened but manifests. Of a DICOM folder: the segmentations and structure sets in it.
    """
    source = case.source
    if case.scan.stored.format == "dicom":
        from engine.io.dicom_beside import masks_of

        return masks_of(case) if source.is_dir() else []
    if not source.is_file():
        return []
    endings = _endings(case)
    stem = stem_of(source)
    found = [
        path
        for path in _files(source.parent)
        if path.name != source.name and suffix_of(path) in endings and _is_named(path, stem)
    ]
    for folder in _mask_folders(source.parent):
        found += [
            path
            for path in _files(folder)
            if suffix_of(path) in endings and (_same(path, stem) or _is_named(path, stem))
        ]
    certain = [path for path in found if _is_of(path, case)]
    others = [p for p in found if p not in certain and not manifest_of(p).is_file()]
    return [*certain, *others]


def is_mask_of(path: Path, case: Case) -> bool:
    """True for a file that is a mask of this case: what it names, its manifest or its name says so.

    A segmentation or structure set from DICOM counts wherever it lies, unless it names another
    series; so does a mask that this program wrote of the very same scan.
    """
    if not path.is_file() or path.absolute() == case.source.absolute():
        return False
    if kind_by_name(path) is None and looks_like_dicom(path):
        from engine.io.dicom_beside import names_case

        return case.scan.stored.format == "dicom" and names_case(path, case)
    if case.scan.stored.format == "dicom" and not case.scan.is_complete:
        return False  # the manifest names all of its voxels
    return _is_of(path, case) or path.absolute() in {p.absolute() for p in masks_beside(case)}


def _endings(case: Case) -> tuple[str, ...]:
    if case.scan.is_picture:
        return (*PICTURE_SUFFIXES, ".json")
    return (*NIFTI_OUT, *ITK_OUT)


def _files(folder: Path) -> list[Path]:
    """Visible files in natural order; none of a folder that is too large or can't be read."""
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) > _LOOKED_AT:
                    return []
                if entry.is_file() and not entry.name.startswith("."):
                    found.append(folder / entry.name)
    except OSError:
        return []
    return sorted((p for p in found if not p.name.endswith(OVERLAY_SUFFIX)), key=natural_key)


def _mask_folders(folder: Path) -> Iterator[Path]:
    for place in (folder, folder.parent):
        try:
            with os.scandir(place) as entries:
                names = sorted(e.name for e in entries if e.is_dir() and _FOLDER.fullmatch(e.name))
        except OSError:
            continue
        yield from (place / name for name in names if place / name != folder)


def _same(path: Path, stem: str) -> bool:
    return stem_of(path) in (stem, _CHANNEL.sub("", stem))


def _is_named(path: Path, stem: str) -> bool:
    """``eye_mask``, ``eye-seg``, ``eye.labels``, ``mask_eye`` for ``eye``; and labelme's name."""
    name = stem_of(path)
    return name == stem if suffix_of(path) == ".json" else stem.casefold() in mask_names(name)


def _is_of(path: Path, case: Case) -> bool:
    """True if the manifest beside a mask names this very scan."""
    manifest = manifest_of(path)
    return manifest.is_file() and read_source_sha256(manifest) == scan_sha256(case.scan)
