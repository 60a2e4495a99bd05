"""The list of cases: opening files and folders, going from one case to the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from engine.errors import UserError
from engine.io import list_parts
from engine.io.kinds import OPENED
from engine.io.project import PROJECT_SUFFIX
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.opening import begin_opening, show_case
from sdseg_gui.actions.registry import handles
from sdseg_gui.jobs import JobHandle
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

    begin_opening(
        context,
        "Looking at the files ...",
        lambda job: _listed(paths, job),
        far=_looked_at,
        done=take,
        failed=lambda error: context.notifier.error(error.message, error.hint),
    )


def _looked_at(done: int, total: int) -> str:
    """How far looking at files is; of folders nobody knows how many there are."""
    return f"Looking at file {done + 1} of {total}" if total else f"Looking at folder {done + 1}"


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
