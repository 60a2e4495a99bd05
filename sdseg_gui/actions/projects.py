"""Opening and saving projects."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from engine.errors import UserError
from engine.io.project import PROJECT_SUFFIX
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.opening import give_up_opening, show_case
from sdseg_gui.actions.registry import handles
from sdseg_gui.dialogs.unsaved import Answer, ask_save

FILTER = f"Projects (*{PROJECT_SUFFIX})"


def _has_cases(context: Context) -> bool:
    return bool(context.session.items)


@handles("project.open")
def open_project(context: Context, path: str | Path = "", discard: bool = False) -> None:
    """Opens a project; asks first if there is unsaved work."""
    if not discard and not may_leave(context):
        return
    chosen = str(path) or QFileDialog.getOpenFileName(context.window, "Open project", "", FILTER)[0]
    if not chosen:
        return
    give_up_opening(context)
    try:
        index = context.session.load(Path(chosen))
    except UserError as error:
        context.notifier.error(error.message, error.hint)
        return
    context.forget_rows()
    if context.session.read_only:
        context.notifier.show(
            f"{Path(chosen).name} is open in another window: it can be looked at here, and saved "
            "under another name.",
            "warning",
        )
    show_case(context, index)
    context.changed()


@handles("project.save", _has_cases)
def save_project(context: Context, path: str | Path = "") -> bool:
    """Saves under the project's own name; without one a dialog asks."""
    target = Path(path) if path else context.session.project_path
    if target is None:
        return save_project_as(context)
    return _save(context, target)


@handles("project.save_as", _has_cases)
def save_project_as(context: Context, path: str | Path = "") -> bool:
    """Saves under another name."""
    chosen = str(path)
    if not chosen:
        start = str(_suggestion(context))
        chosen = QFileDialog.getSaveFileName(context.window, "Save project", start, FILTER)[0]
    return bool(chosen) and _save(context, Path(chosen))


def _suggestion(context: Context) -> Path:
    item = context.session.items[0]
    folder = Path.home() if item.sample else item.path.parent
    return folder / f"project{PROJECT_SUFFIX}"


def _save(context: Context, path: Path) -> bool:
    if not path.name.endswith(".json"):
        path = path.with_name(path.name + PROJECT_SUFFIX)
    try:
        context.session.save(path)
    except UserError as error:
        context.notifier.error(error.message, error.hint)
        return False
    context.notifier.clear("error")
    context.notifier.say(f"Saved {path.name}")
    context.changed()
    return True


def may_leave(context: Context) -> bool:
    """Asks what to do with unsaved work; False if the user stays, or saving failed."""
    context.document.settle()
    if not context.session.is_dirty:
        return True
    answer = ask_save(context.window)
    if answer is Answer.SAVE:
        return save_project(context)
    return answer is Answer.DISCARD
