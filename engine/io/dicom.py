"""DICOM in: one series of a folder, or one file, as a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.domain.case import Case, new_case
from engine.domain.grid import Grid
from engine.domain.volume import Volume
from engine.errors import Choice, ChoiceNeeded, UserError
from engine.io.dicom_header import UNNAMED, ImageHeader, Patient, patient_key, short_hash
from engine.io.dicom_pixels import PixelReader, Progress, StackLoader, check_pixels
from engine.io.dicom_series import (
    Check,
    Found,
    SeriesFound,
    belongs_to_mask,
    find_series,
    likeliest,
)
from engine.io.dicom_stack import Stack, make_stack, split_passes
from engine.io.kinds import is_dicomdir
from engine.io.orientation import array_affine
from engine.io.selection import selection, split_selection, time_point

LONG = 16  # images of a series that is worth being shown before all of it is read


def begin_dicom(
    path: Path,
    series: str = "",
    time: int | None = None,
    progress: Progress | None = None,
    check: Check | None = None,
) -> tuple[Case, StackLoader]:
    """Opens one series as a case that can be shown; of a long one most images are left to read.

    Args:
        path: a folder, a DICOMDIR, or one file (which is opened by itself).
        series: number, UID or hash of the series to open in a folder with several.
        time: time point (pass) to open of a series that was taken several times, from 0.
        progress: called with (images read, images in all).
        check: called before each file is looked at; may raise `Cancelled`.

    Returns:
        The case, and who reads what is left; the first and the middle image have been read.

    Raises:
        ChoiceNeeded: several series or time points, and none chosen.
        UserError: no image, or an irregular series.
    """
    series, kept_time = split_selection(series)
    found = find_series(path, None if check is None else lambda *_: check())
    images, remarks = _choose(path, found, series)
    for image in {image.path: image for image in images}.values():
        check_pixels(image)
    kept_time = kept_time if time is None else time
    images, time, times = _one_pass(path, images, kept_time, check)
    stack = make_stack(images, path.name)
    loader = StackLoader(stack, check)
    loader.read(progress, most=1 if len(stack.images) >= LONG else None)
    remarks += [] if time is None else [f"Time point {time} of several is shown."]
    case = new_case(_at_time(loader.scan, time, times), path)
    if len(found.series) > 1 or is_dicomdir(path) or found.patient.is_named_in(path.name):
        case.name = SeriesFound("", tuple(images)).name
    case.patient_key = _key(found.patient, images[0]) or case.name
    case.warnings = (*stack.remarks, *remarks, *loader.remarks)  # the gravest first
    return case, loader


def _at_time(scan: Volume, time: int | None, times: int) -> Volume:
    """The scan, which knows that it is one time point of several."""
    part = selection(scan.stored.series, time)
    return replace(scan, stored=replace(scan.stored, series=part, times=times))


def source_stack(case: Case) -> Stack:
    """The images that a case was read from, in their order; for files that refer to them.

    Raises:
        UserError: they are gone, or others than they were.
    """
    series, time = split_selection(case.scan.stored.series)
    images, _ = _choose(case.source, find_series(case.source), series)
    stack = make_stack(_one_pass(case.source, images, time)[0], case.source.name)
    form, first = case.scan.stored, stack.images[0]
    shape = (first.shape[1], first.shape[0], stack.depth)
    k, j, i = (shape[axis] for axis in form.axes)
    grid = Grid((k, j, i), array_affine(stack.affine, shape, form))
    exact, places = stack.exact_from(end=form.flipped[case.scan.plane]), case.scan.places
    as_before = exact is places is None or (
        exact is not None and places is not None and np.allclose(exact, places, atol=1e-3)
    )
    if not (grid.same_place(case.scan.grid) and as_before):
        raise UserError(
            f"{case.source.name} has changed since it was opened.",
            hint="Put the old files back, or export the mask as NIfTI.",
        )
    return stack


def open_middle(path: Path, series: str = "") -> Case:
    """Opens one image from the middle of a series: enough for a small picture of it.

    Raises:
        UserError: as `begin_dicom`.
    """
    images, _ = _choose(path, find_series(path), split_selection(series)[0])
    image = images[len(images) // 2]
    check_pixels(image)
    return new_case(StackLoader(make_stack([image], path.name)).scan, path)


def _choose(path: Path, found: Found, wanted: str) -> tuple[list[ImageHeader], list[str]]:
    """The images of the one series, scouts left out, and what was left out."""
    series = [s for s in found.series if not wanted or s.is_called(wanted)]
    if not series:
        raise UserError(
            f"{path.name} holds no series {wanted}.", hint=f"It holds {_names(found.series)}."
        )
    if len(series) > 1:
        best = likeliest(series)
        ordered = [series[best], *series[:best], *series[best + 1 :]]
        raise ChoiceNeeded(
            f"{path.name} holds {len(series)} series, and one is needed: {_names(series)}.",
            hint="Choose one by its name here (--series), or put its files into another folder.",
            about="series",
            choices=[Choice(short_hash(s.uid), s.name) for s in ordered],
        )
    images, volume = series[0].images, series[0].volume
    remarks: list[str] = []
    count = sum(not belongs_to_mask(other) for other in found.others)  # masks are offered as such
    if count:
        remarks.append(f"{count} file{'s are' if count > 1 else ' is'} no image; left out.")
    if found.absent:
        are = "file is" if found.absent == 1 else "files are"
        remarks.append(f"{found.absent} {are} listed on the disc and not there.")
    if len(volume) < len(images):
        count = len(images) - len(volume)
        remarks.append(f"{count} localizer image{'s were' if count > 1 else ' was'} left out.")
    return list(volume), remarks


def _one_pass(
    path: Path, images: list[ImageHeader], time: int | None, check: Check | None = None
) -> tuple[list[ImageHeader], int | None, int]:
    """The images of one time point, which, and of how many; None for a series taken once."""
    passes = split_passes(images)
    if len(passes) > 1 and time is None and _are_copies(passes, check):
        return images, None, 1
    time = time_point(path, len(passes), time)
    if time is None:
        return images, None, 1
    return passes[time], time, len(passes)


def _are_copies(passes: list[list[ImageHeader]], check: Check | None) -> bool:
    """True if all passes hold the pixels of the longest at the same places: files came twice."""
    longest = max(passes, key=len)
    at = {_place(image): image for image in longest}
    reader = PixelReader()
    for image in (image for other in passes if other is not longest for image in other):
        if check:
            check()
        twin = at.get(_place(image))
        if twin is None or not np.array_equal(reader.read(twin), reader.read(image)):
            return False
    return True


def _place(image: ImageHeader) -> tuple[float, ...]:
    return tuple(np.round(image.position, 3)) if image.position is not None else ()


def _names(series: Sequence[SeriesFound]) -> str:
    """ "2 (CT, 120 images), 3 (CT, 80 images)"; no descriptions, which may name the patient."""
    often = Counter(s.images[0].number for s in series)
    parts: list[str] = []
    for one in series:
        number, count = one.images[0].number, len(one.images)
        called = number if number and often[number] == 1 else one.uid or UNNAMED
        kind = one.images[0].modality or "unknown"
        parts.append(f"{called} ({kind}, {count} image{'s' * (count > 1)})")
    return ", ".join(parts[:6]) + (" ..." if len(parts) > 6 else "")


def _key(patient: Patient, image: ImageHeader) -> str:
    if patient.id:
        return patient_key(f"id:{patient.id}")
    return patient_key(f"study:{image.study}") if image.study else ""
