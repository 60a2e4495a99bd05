"""DICOM in: one series of a folder, or one file, as a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.domain.case import Case, new_case
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.io.dicom_header import (
    ImageHeader,
    Patient,
    patient_key,
    read_image_headers,
    short_hash,
)
from engine.io.dicom_pixels import PixelReader, Progress, check_pixels, read_stack
from engine.io.dicom_stack import make_stack, split_passes
from engine.io.kinds import kind_by_name, looks_like_dicom, natural_key, reading
from engine.io.selection import selection, split_selection


@dataclass(frozen=True, eq=False)
class Found:
    """What a folder holds.

    Attributes:
        images: their headers, in the order of the file names.
        patient: of the first image.
        skipped: number of files that hold no image.
    """

    images: tuple[ImageHeader, ...]
    patient: Patient
    skipped: int


def open_dicom(
    path: Path,
    series: str = "",
    time: int | None = None,
    progress: Progress | None = None,
) -> Case:
    """Opens one series as a case.

    Args:
        path: a folder, or one file (which is opened by itself).
        series: number, UID or hash of the series to open in a folder with several.
        time: time point (pass) to open of a series that was taken several times, from 0.
        progress: called with (images read, images in all).

    Raises:
        ChoiceNeeded: several series or time points, and none chosen.
        UserError: no image, or an irregular series.
    """
    series, kept_time = split_selection(series)
    found = find_images(path)
    images, remarks = _choose(path, found, series)
    for image in {image.path: image for image in images}.values():
        check_pixels(image)
    images, time = _one_pass(path, images, kept_time if time is None else time)
    stack = make_stack(images, path.name)
    scan, odd = read_stack(stack, progress)
    if time is not None:
        part = selection(scan.stored.series, time)
        scan = replace(scan, stored=replace(scan.stored, series=part))
        remarks.append(f"Time point {time} of several is shown.")
    case = new_case(scan, path)
    if found.patient.is_named_in(path.name):
        case.name = _neutral_name(images[0])
    case.patient_key = _key(found.patient, images[0]) or case.name
    case.warnings = (*remarks, *stack.remarks, *odd)
    return case


def find_images(path: Path) -> Found:
    """Reads the headers of a file, or of all DICOM files of a folder (not of its sub-folders).

    Raises:
        UserError: there is no image.
    """
    files = [path] if path.is_file() else sorted(path.iterdir(), key=natural_key)
    images: list[ImageHeader] = []
    patient, skipped = Patient("", ""), 0
    for file in files:
        if not file.is_file() or file.name.startswith(".") or file.name.upper() == "DICOMDIR":
            continue
        header = _header(file)
        if header is None:
            skipped += 1
            continue
        patient = patient if images else header[1]
        images += header[0]
    if not images:
        raise UserError(
            f"{path.name} holds no DICOM image.",
            hint="Reports, plans and segmentations are no images; open the series itself.",
        )
    return Found(tuple(images), patient, skipped)


def _header(file: Path) -> tuple[list[ImageHeader], Patient] | None:
    if kind_by_name(file) is not None or not looks_like_dicom(file):
        return None
    with reading(file):
        return read_image_headers(file)


def _choose(path: Path, found: Found, series: str) -> tuple[list[ImageHeader], list[str]]:
    """The images of the one series, scouts left out, and what was left out."""
    groups: dict[str, list[ImageHeader]] = {}
    for image in found.images:
        groups.setdefault(image.series, []).append(image)
    if series:
        groups = {uid: g for uid, g in groups.items() if _is_series(g[0], series)}
    if not groups:
        raise UserError(
            f"{path.name} holds no series {series}.",
            hint=f"It holds {_names(found.images)}.",
        )
    if len(groups) > 1:
        raise UserError(
            f"{path.name} holds {len(groups)} series, and one is needed: {_names(found.images)}.",
            hint="Choose one by its number, or put its files into a folder of their own.",
        )
    images = next(iter(groups.values()))
    volume = [image for image in images if not image.localizer] or images
    remarks: list[str] = []
    if found.skipped:
        count = found.skipped
        remarks.append(f"{count} file{'s are' if count > 1 else ' is'} no image; left out.")
    if len(volume) < len(images):
        remarks.append(f"{len(images) - len(volume)} localizer images were left out.")
    return volume, remarks


def _one_pass(
    path: Path, images: list[ImageHeader], time: int | None
) -> tuple[list[ImageHeader], int | None]:
    """The images of one time point, and which; None for a series that was taken once."""
    passes = split_passes(images)
    if len(passes) == 1 or (time is None and _are_copies(passes)):
        return images, None
    if time is None:
        raise ChoiceNeeded(
            f"{path.name} holds {len(passes)} images at each place (time points, or passes).",
            hint=f"Choose one: --time 0 to --time {len(passes) - 1}.",
            about="time",
            choices=[Choice(str(n), f"time point {n}") for n in range(len(passes))],
        )
    if not 0 <= time < len(passes):
        raise UserError(
            f"{path.name} has no time point {time}.", hint=f"It has 0 to {len(passes) - 1}."
        )
    return passes[time], time


def _are_copies(passes: list[list[ImageHeader]]) -> bool:
    """True if all passes hold the same pixels: the files came twice."""
    first = passes[0]
    reader = PixelReader()
    for other in passes[1:]:
        for one, two in zip(first, other, strict=True):
            if not np.array_equal(reader.read(one), reader.read(two)):
                return False
    return True


def _is_series(image: ImageHeader, wanted: str) -> bool:
    return wanted in (image.number, image.series, short_hash(image.series))


def _names(images: Sequence[ImageHeader]) -> str:
    """ "2 (CT, 120 images), 3 (CT, 80 images)"; no descriptions, which may name the patient."""
    counts: dict[str, list[ImageHeader]] = {}
    for image in images:
        counts.setdefault(image.series, []).append(image)
    parts = [
        f"{g[0].number or uid or 'without number'} "
        f"({g[0].modality or 'unknown'}, {len(g)} image{'s' * (len(g) > 1)})"
        for uid, g in counts.items()
    ]
    return ", ".join(parts[:6]) + (" ..." if len(parts) > 6 else "")


def _neutral_name(image: ImageHeader) -> str:
    """For a folder that is named after the patient."""
    return f"{image.modality or 'DICOM'} series {image.number}".strip()


def _key(patient: Patient, image: ImageHeader) -> str:
    if patient.id:
        return patient_key(f"id:{patient.id}")
    return patient_key(f"study:{image.study}") if image.study else ""
