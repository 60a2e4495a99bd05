"""The list of cases: opening files and folders, going from one case to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from engine.domain.case import Case
from engine.errors import UserError
from engine.io import list_parts
from engine.io.beside import is_mask_of
from engine.io.kinds import OPENED
from engine.io.project import PROJECT_SUFFIX
from sdseg_gui.actions.context import REMOVAL, Context
from sdseg_gui.actions.mask_opening import MOST_OFFERED
from sdseg_gui.actions.opening import begin_opening, clear_notices, is_opening, show_case
from sdseg_gui.actions.registry import carry_out, handles
from sdseg_gui.jobs import JobHandle
from sdseg_gui.notify import Choice
from sdseg_gui.session import CaseItem

FILTER = f"Pictures and volumes ({' '.join(f'*{ending}' for ending in OPENED)} DICOMDIR);;All (*)"


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
    case = None if discard else context.document.case
    begin_opening(
        context,
        "Looking at the files ...",
        lambda job: _listed(paths, case, job),
        far=_looked_at,
        done=lambda found: _take(context, found, case, discard=discard),
        failed=lambda error: context.notifier.error(error.message, error.hint),
    )


def _looked_at(done: int, total: int) -> str:
    """How far looking at files is; of folders nobody knows how many there are."""
    return f"Looking at file {done + 1} of {total}" if total else f"Looking at folder {done + 1}"


@dataclass
class _Listed:
    """What lies behind some paths.

    Attributes:
        items: the cases.
        likeliest: which of them is to be shown, None where none is likelier than the others.
        masks: files that are masks of the open case.
        errors: what was wrong with other paths.
    """

    items: list[CaseItem] = field(default_factory=list[CaseItem])
    likeliest: int | None = None
    masks: list[Path] = field(default_factory=list[Path])
    errors: list[UserError] = field(default_factory=list[UserError])


def _listed(paths: Sequence[Path], case: Case | None, job: JobHandle) -> _Listed:
    """In the worker; `case` is the open one."""
    listed = _Listed()
    for path in paths:
        if case is not None and is_mask_of(path, case):
            listed.masks.append(path)
            continue
        try:
            found = list_parts(path, job.step)
        except UserError as error:
            listed.errors.append(error)
            continue
        best = next((n for n, part in enumerate(found) if part.is_likeliest), None)
        if best is not None and listed.likeliest is None:
            listed.likeliest = len(listed.items) + best
        listed.items += [
            CaseItem(p.path, p.name, series=p.series, summary=p.summary) for p in found
        ]
    return listed


def _take(context: Context, found: _Listed, case: Case | None, *, discard: bool) -> None:
    """Lists and shows what was found; a mask of the open case is opened as that."""
    for error in found.errors:  # without a key it stays when the others are opened
        key = "" if found.items else "error"
        context.notifier.show(f"{error.message} {error.hint}".strip(), "error", key=key)
    if found.items:
        if found.masks:
            names = ", ".join(path.name for path in found.masks)
            text = (
                f"Left out, as masks of the case that was open: {names}. Drop them by themselves."
            )
            context.notifier.show(text, "warning")
        if discard:
            context.document.open(None)
            context.session.set_items([])
            context.forget_rows()
        _add_and_show(context, found.items, found.likeliest or 0)
    elif case is not None and found.masks:
        _open_masks(context, case, found.masks)
    else:
        context.notifier.say("Nothing was opened")


def _open_masks(context: Context, case: Case, masks: Sequence[Path]) -> None:
    """Opens a mask of the open case; asks which one of several, and before one is replaced."""
    if context.document.case is not case:
        return
    has_work = case.label_map.array.any()
    if len(masks) == 1 and not has_work and not context.is_loading:
        carry_out(context, "case.open_mask", path=masks[0], discard=True)
        return
    is_are = f"{masks[0].name} is a mask" if len(masks) == 1 else f"{len(masks)} files are masks"
    text = f"{is_are} of {case.name}"
    text += ", which is still being read." if context.is_loading else "."
    if has_work:
        text += " The mask that it has would be replaced."

    def choice(path: Path) -> Choice:
        def open_it() -> None:
            if context.document.case is not case:
                return
            if context.is_loading:
                _open_masks(context, case, masks)
            carry_out(context, "case.open_mask", path=path, discard=True)

        return Choice(f"Open {path.name}", open_it)

    choices = tuple(choice(path) for path in masks[:MOST_OFFERED])
    context.notifier.show(text, "info", choices, key="mask")


def _add_and_show(context: Context, items: list[CaseItem], which: int = 0) -> None:
    """Shows one of them, the first where none is likelier than the others."""
    show_case(context, context.session.add_items(items)[which])


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


def _has_row(context: Context) -> bool:
    return _row(context) >= 0


@handles("case.remove", _has_row)
def remove_case(context: Context, row: int | None = None, discard: bool = False) -> None:
    """Takes a case from the list; a bar asks first if there is work on it. No file is touched.

    Args:
        context: of the window.
        row: which one; None is the open case, or one that could not be opened just now.
        discard: True takes the work on it without asking.
    """
    session, index = context.session, _row(context) if row is None else row
    if not 0 <= index < len(session.items):
        return
    item = session.items[index]
    if discard or not (session.has_work(item) or session.is_unsaved(item)):
        _remove(context, item)
        return
    lost = "that is not saved; removing it from the list loses that."
    if not session.is_unsaved(item):
        lost = "in the project; that goes too when the project is saved the next time."
    context.asked_row = item
    choice = Choice("Remove it", lambda: _remove(context, item))
    context.notifier.show(f"{item.name} has work {lost}", "warning", (choice,), key=REMOVAL)


def _remove(context: Context, item: CaseItem) -> None:
    """The row goes; if its case was shown, the one that comes to its place is shown."""
    session = context.session
    if item not in session.items:
        return
    index, failed = session.items.index(item), context.failed_row
    was_shown = index == session.current
    session.remove(index)
    if failed == index:
        context.failed_row = None
        context.notifier.clear("error")  # it says why that row could not be opened
    elif failed is not None:
        context.failed_row = failed - (failed > index)
    if context.asked_row is item:
        context.notifier.clear(REMOVAL)
    context.notifier.say(f"{item.name} was removed from the list; its file stays")
    if was_shown:
        clear_notices(context)
        context.view.reset_for(None)
        if session.items and not is_opening(context):
            show_case(context, min(index, len(session.items) - 1))
    context.changed()
