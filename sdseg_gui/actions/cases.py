"""Opening cases, going from one to the next, opening masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from engine.domain.case import Case
from engine.errors import Choice as Asked
from engine.errors import ChoiceNeeded, UserError
from engine.io import BegunCase, begin_case, list_parts
from engine.io.project import PROJECT_SUFFIX, begin_case_of, entry_of
from engine.io.selection import selection, split_selection
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.mask_opening import offer_masks_beside
from sdseg_gui.actions.models import OF_A_SEGMENTATION, choose_for_case
from sdseg_gui.actions.reading import Reading
from sdseg_gui.actions.registry import handles
from sdseg_gui.jobs import JobHandle
from sdseg_gui.notify import Choice
from sdseg_gui.session import CaseItem

FILTER = (
    "Pictures and volumes (*.png *.jpg *.jpeg *.tif *.tiff *.bmp *.webp *.nii *.nii.gz *.hdr "
    "*.nrrd *.nhdr *.mha *.mhd *.dcm DICOMDIR);;All (*)"
)
OPENING = "Opening the case"
FEW = 5  # buttons in a bar
log = logging.getLogger("sdseg")


@handles("case.open")
def open_file(context: Context, path: str | Path = "", discard: bool = False) -> None:
    """Opens a file or folder; without a path a dialog asks for a file."""
    chosen = str(path) or QFileDialog.getOpenFileName(context.window, "Open", "", FILTER)[0]
    if chosen:
        open_path(context, Path(chosen), discard=discard)


@handles("case.open_folder")
def open_folder(context: Context, path: str | Path = "", discard: bool = False) -> None:
    """Opens a folder of pictures, or one with a DICOM series."""
    chosen = str(path) or QFileDialog.getExistingDirectory(context.window, "Open folder")
    if chosen:
        open_path(context, Path(chosen), discard=discard)


@handles("case.open_sample")
def open_sample(context: Context) -> None:
    """Adds the built-in picture to the cases and shows it."""
    from engine.system.resources import resource_path

    path = resource_path("cases", "retina.jpg")
    _add_and_show(context, [CaseItem(path, "Retina (built-in sample)", sample="picture")])


@handles("case.open_sample_volume")
def open_sample_volume(context: Context) -> None:
    """Adds the built-in volume to the cases and shows it."""
    from engine.io.samples import sample_volume_path

    try:
        path = sample_volume_path()
    except UserError as error:
        context.notifier.error(error.message, error.hint)
        return
    name = "T1 template of the MNI (built-in sample)"
    _add_and_show(context, [CaseItem(path, name, sample="volume")])


def open_path(context: Context, path: Path, *, discard: bool = False) -> None:
    """Opens whatever a path is: a project, one case, or a folder of cases.

    Args:
        context: of the window.
        path: file or folder.
        discard: True drops unsaved work without asking, and starts a new list of cases.
    """
    open_paths(context, [path], discard=discard)


def open_paths(context: Context, paths: Sequence[Path], *, discard: bool = False) -> None:
    """Opens several paths as one list of cases; a project among them is opened alone."""
    project = next((path for path in paths if path.name.endswith(PROJECT_SUFFIX)), None)
    if project is not None:
        from sdseg_gui.actions.projects import open_project

        open_project(context, path=project, discard=discard)
        return
    job = context.loader.submit(
        "Looking at the files", lambda job: _listed(paths, job), newest_wins=True
    )

    def take(found: tuple[list[CaseItem], list[UserError], int]) -> None:
        items, errors, likeliest = found
        for error in errors:  # without a key it stays when the others are opened
            key = "" if items else "error"
            context.notifier.show(f"{error.message} {error.hint}".strip(), "error", key=key)
        if not items:
            context.notifier.say("Nothing was opened")
            return
        if discard:
            context.document.open(None)
            context.session.set_items([])
        _add_and_show(context, items, likeliest)

    job.progressed.connect(
        lambda done, total: context.notifier.say(f"Looking at file {done + 1} of {total}")
    )
    job.done.connect(take)
    job.failed.connect(lambda error: context.notifier.error(error.message, error.hint))
    context.changed()


def _listed(paths: Sequence[Path], job: JobHandle) -> tuple[list[CaseItem], list[UserError], int]:
    """The cases behind some paths, what was wrong with others, and which to show; in the worker."""
    likeliest = 0
    items: list[CaseItem] = []
    errors: list[UserError] = []
    for path in paths:
        try:
            found = list_parts(path, job.step)
        except UserError as error:
            errors.append(error)
        else:
            best = next((n for n, part in enumerate(found) if part.is_likeliest), None)
            if best is not None and not likeliest:
                likeliest = len(items) + best
            items += [CaseItem(p.path, p.name, series=p.series, summary=p.summary) for p in found]
    return items, errors, likeliest


def _add_and_show(context: Context, items: list[CaseItem], which: int = 0) -> None:
    """Shows one of them, the first where none is likelier than the others."""
    show_case(context, context.session.add_items(items)[which])


def show_case(context: Context, index: int) -> None:
    """Opens a row of the case list in the background.

    The case before stays until it is there, with all that can be done to it: it is kept only then.
    If slices of it are still being read, that stops, and goes on if the other one can't be opened.
    """
    session = context.session
    if not 0 <= index < len(session.items):
        return
    item = session.items[index]
    if index == session.current:
        context.loader.cancel(OPENING)  # another one that was asked for and is not there yet
        context.notifier.say(f"{item.name} is open")
        return
    entry, sample, path, series = item.entry, item.sample, item.path, item.series
    left = item.left

    def work(job: JobHandle) -> BegunCase:
        if left is not None and left.scan.is_complete:
            return _whole(left)  # this worker has packed it by now; it may be changed again
        known = entry_of(left) if left is not None else entry
        if known is not None:
            return begin_case_of(known, job.step, job.check)
        return _begin(path, sample, series, job)

    if context.reading is not None:
        context.reading.pause()
    job = context.loader.submit(OPENING, work, newest_wins=True)
    job.progressed.connect(
        lambda done, total: context.notifier.say(f"Reading {item.name}: {done} of {total}")
    )
    job.done.connect(lambda begun: _show(context, item, begun))
    job.failed.connect(lambda error: _tell_failed(context, item, error))
    job.cancelled.connect(lambda: _read_on(context))
    context.notifier.say(f"Opening {item.name} ...")
    context.changed()


def _tell_failed(context: Context, item: CaseItem, error: UserError) -> None:
    if item in context.session.items:
        context.failed_row = context.session.items.index(item)
    _read_on(context)
    context.changed()
    context.notifier.say(f"{item.name} was not opened")
    if not isinstance(error, ChoiceNeeded):
        context.notifier.error(error.message, error.hint)
        return
    choices = tuple(_answer(context, item, error.about, choice) for choice in _few(error.choices))
    context.notifier.show(f"{error.message} Which one?", "warning", choices, key="error")


def _answer(context: Context, item: CaseItem, about: str, asked: Asked) -> Choice:
    """A button that opens the part of a source that was asked for."""

    def open_it() -> None:
        if item in context.session.items:
            series = split_selection(item.series)[0]
            item.series = selection(series, int(asked.key)) if about == "time" else asked.key
            show_case(context, context.session.items.index(item))

    return Choice(asked.text[:1].upper() + asked.text[1:], open_it)


def _few(choices: Sequence[Asked]) -> Sequence[Asked]:
    """All of a few; of many the first, the middle and the last."""
    count = len(choices)
    return choices if count <= FEW else [choices[n] for n in (0, count // 2, count - 1)]


def _begin(path: Path, sample: str, series: str, job: JobHandle) -> BegunCase:
    from engine.io.samples import sample_picture, sample_volume

    if sample == "picture":
        return _whole(sample_picture())
    if sample == "volume":
        return _whole(sample_volume())
    return begin_case(path, series=series, progress=job.step, check=job.check)


def _whole(case: Case) -> BegunCase:
    """A case of which nothing is left to read."""
    return BegunCase(case, lambda _progress: None)


def _show(context: Context, item: CaseItem, begun: BegunCase) -> None:
    case = begun.case
    if item not in context.session.items:
        return
    for key in ("case", "mask", "error", *OF_A_SEGMENTATION):  # they speak of the case before
        context.notifier.clear(key)
    context.choice = context.failed_row = None
    _keep_current(context)
    context.view.reset_for(case)
    context.session.show_case(context.session.items.index(item), case)
    log.info("a case was opened")
    if case.warnings:
        text = f"{case.name}: {' '.join(case.warnings)}"
        context.notifier.show(text, "warning", key="case")
    if case.scan.is_complete:
        _all_is_there(context, case)
        return
    context.reading = reading = Reading(context, begun)
    reading.ended.connect(lambda: _all_is_there(context, case))
    reading.failed.connect(lambda error: _give_up(context, item, error))
    reading.go_on()
    context.changed()


def _all_is_there(context: Context, case: Case) -> None:
    context.notifier.say(f"{case.name} opened")
    choose_for_case(context)
    offer_masks_beside(context, case)
    context.changed()


def _give_up(context: Context, item: CaseItem, error: UserError) -> None:
    """A slice of the case that is shown can't be read: it goes, and the work on it is kept."""
    _keep_current(context)
    context.session.close_case()
    context.view.reset_for(None)
    _tell_failed(context, item, error)
    context.changed()


def _read_on(context: Context) -> None:
    """The case that is shown stays: what it lacks is read, unless another is on its way."""
    if context.reading is not None and not context.loader.has(OPENING):
        context.reading.go_on()


def _keep_current(context: Context) -> None:
    """Remembers the case that is left; a large label map takes its time to pack."""
    session = context.session
    item = session.keep_current()
    if item is None or item.left is None:
        return
    case = item.left
    job = context.loader.submit("Keeping the case", lambda _job: entry_of(case))
    job.done.connect(lambda entry: session.take_packed(item, case, entry))
    job.failed.connect(lambda error: context.notifier.error(error.message, error.hint))


def _row(context: Context) -> int:
    """Where the next and the previous case are counted from: a row that failed is passed."""
    return context.session.current if context.failed_row is None else context.failed_row


def _has_previous(context: Context) -> bool:
    return _row(context) > 0


def _has_next(context: Context) -> bool:
    return 0 <= _row(context) < len(context.session.items) - 1


@handles("case.previous", _has_previous)
def previous_case(context: Context) -> None:
    """Shows the case before."""
    show_case(context, _row(context) - 1)


@handles("case.next", _has_next)
def next_case(context: Context) -> None:
    """Shows the case behind."""
    show_case(context, _row(context) + 1)
