"""The door in: one function for every kind of source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.domain.case import Case, new_case
from engine.domain.grid import picture_grid
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.kinds import Kind, kind_of
from engine.io.listing import Progress, list_cases
from engine.io.no_number import fill_mask, fill_scan
from engine.io.selection import split_selection, time_point


@dataclass(frozen=True, eq=False)
class BegunCase:
    """A case that can be shown already, though slices of it may not be read yet.

    Attributes:
        case: its `scan.loaded` says which slices are there.
        finish: reads what is left, in any thread; called with `progress` as in `open_case`, or
            None. If it was interrupted, another call goes on. Raises UserError.
    """

    case: Case
    finish: Callable[[Progress | None], None]


def open_case(
    path: Path,
    *,
    series: str = "",
    time: int | None = None,
    progress: Progress | None = None,
) -> Case:
    """Opens a picture, a NIfTI file, a DICOM file or a folder with one DICOM series.

    Args:
        path: the file or folder; it is only read.
        series: for a DICOM folder with several series, the number or UID of the one to open; or
            what `StoredForm.series` says of a case that was opened before.
        time: for a scan with several time points, the one to open, from 0.
        progress: called with (files read, files in all) while a DICOM series is read; may raise
            `Cancelled`.

    Raises:
        ChoiceNeeded: it would have to be guessed what is meant.
        UserError: nothing there can be opened, or there is no such series or time point.
    """
    begun = begin_case(path, series=series, time=time, progress=progress)
    begun.finish(progress)
    return begun.case


def begin_case(
    path: Path,
    *,
    series: str = "",
    time: int | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> BegunCase:
    """As `open_case`, but a long DICOM series can be shown before all of its slices are read.

    Everything that can be told from its headers has been checked by then. `check` is called before
    each file is looked at, and may raise `Cancelled`.
    """
    _refuse_name(path)
    kind = kind_of(path)
    looked = None if check is None else lambda *_: check()
    only = _only_case(path, looked) if kind is Kind.FOLDER else path
    if only != path:
        return begin_case(only, series=series, time=time, progress=progress, check=check)
    if kind in (Kind.FOLDER, Kind.DICOM):
        from engine.io.dicom import begin_dicom

        case, loader = begin_dicom(path, series, time, progress, check)
        return BegunCase(case, _nothing_left if case.scan.is_complete else loader.read)
    wanted, kept_time = split_selection(series)
    if wanted:
        raise UserError(
            f"{path.name} holds no series {wanted}.", hint="Only DICOM has series: leave it out."
        )
    scan, remarks = _read_file(path, kind, kept_time if time is None else time)
    case = new_case(fill_scan(scan, remarks), path)
    case.warnings = tuple(remarks)
    return BegunCase(case, _nothing_left)


def _nothing_left(_progress: Progress | None) -> None:
    """All has been read."""


def _only_case(folder: Path, progress: Progress | None = None) -> Path:
    """The one case of a folder, which may be the folder itself."""
    cases = list_cases(folder, progress)
    if folder in cases:
        return folder
    if len(cases) > 1:
        raise UserError(
            f"The folder {folder.name} holds {len(cases)} cases; one is needed.",
            hint=f"Open one of them, for example {cases[0].name}.",
        )
    return cases[0]


def open_middle(path: Path, series: str = "") -> Case:
    """Opens one image from the middle of a DICOM series, for a small picture of it.

    Raises:
        UserError: it can't be opened.
    """
    from engine.io.dicom import open_middle as middle

    return middle(path, series)


def open_truth(path: Path, tell: Callable[[str], None] = lambda _: None) -> Volume:
    """Opens a mask that a model is compared with or trained on; of a palette its indices count.

    Args:
        path: of the mask.
        tell: called with a sentence if voxels hold no number, which are background then.

    Raises:
        UserError: it can't be opened, or holds infinite values.
    """
    kind = kind_of(path)
    if kind is Kind.PICTURE:
        from engine.io.mask_picture import read_indices
        from engine.io.raster import has_palette

        if has_palette(path):
            indices = read_indices(path)
            grid = picture_grid(indices.shape[0], indices.shape[1])
            return Volume(np.ascontiguousarray(indices[None]), grid, modality="picture")
    only = _only_case(path) if kind is Kind.FOLDER else path
    if only != path:
        return open_truth(only, tell)
    if kind in (Kind.FOLDER, Kind.DICOM):
        return open_case(path).scan
    _refuse_name(path)
    scan = _read_file(path, kind, None)[0]
    return replace(scan, array=fill_mask(path, scan.array, tell))


def _refuse_name(path: Path) -> None:
    """A name that is no text can't stand in a project or manifest: said before anybody paints."""
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = path.name.encode("utf-8", "replace").decode("utf-8")
        raise UserError(
            f"The name of {shown}, or of its folder, holds characters that can't be read.",
            hint="Rename it, then open it again.",
        ) from error


def _read_file(path: Path, kind: Kind, time: int | None) -> tuple[Volume, list[str]]:
    """What a file holds, voxels without a number as they are, and what was odd about it."""
    if kind is Kind.PICTURE:
        from engine.io.raster import read_picture

        time_point(path, 1, time)
        return read_picture(path)
    if kind is Kind.ITK:
        from engine.io.itk import read_itk

        return read_itk(path, time)
    from engine.io.nifti import read_nifti

    return read_nifti(path, time)
