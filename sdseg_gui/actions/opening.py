"""Showing a case: it is opened in the background, and the newest wish wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QInputDialog

from engine.domain.case import Case
from engine.errors import Choice as Asked
from engine.errors import ChoiceNeeded, UserError
from engine.io import BegunCase, begin_case
from engine.io.project import begin_case_of, entry_of
from engine.io.selection import selection, split_selection
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.mask_opening import offer_masks_beside
from sdseg_gui.actions.models import OF_A_SEGMENTATION, choose_for_case
from sdseg_gui.actions.reading import Reading
from sdseg_gui.actions.registry import handles
from sdseg_gui.jobs import JobHandle, Work
from sdseg_gui.notify import Choice
from sdseg_gui.session import CaseItem

OPENING = "Opening the case"
FEW = 5  # buttons in a bar
log = logging.getLogger("sdseg")


def begin_opening(
    context: Context,
    text: str,
    work: Work,
    *,
    far: Callable[[int, int], str],
    done: Callable[[Any], None],
    failed: Callable[[UserError], None],
) -> None:
    """Begins what ends with another case being shown; whatever was on its way to that is given up.

    Args:
        context: of the window.
        text: for the status line, which keeps it until the work is done.
        work: in the loader's thread.
        far: the same text with how much is done, of how much.
        done, failed: what to do with the result or the error, unless something newer was begun.
    """
    job = context.loader.submit(OPENING, work, newest_wins=True)
    context.under_way.end(OPENING)  # what is begun last is shown
    context.under_way.tell(OPENING, text)
    context.notifier.say(text)  # at once, whatever was said before

    def end(act: Callable[[], None] | None = None) -> None:
        if act is not None and not job.cancel_asked:
            act()
        _after_opening(context)

    job.progressed.connect(lambda n, total: context.under_way.tell(OPENING, far(n, total)))
    job.done.connect(lambda result: end(lambda: done(result)))
    job.failed.connect(lambda error: end(lambda: failed(error)))
    job.cancelled.connect(end)
    context.changed()


def _after_opening(context: Context) -> None:
    """Nothing is on its way, perhaps: then the case that is shown stays, and is read on."""
    if context.loader.has(OPENING):
        return
    context.under_way.end(OPENING)
    if context.reading is not None:
        context.reading.go_on()


def give_up_opening(context: Context) -> bool:
    """Gives up what is on its way to being shown; False if nothing is."""
    if not context.loader.has(OPENING):
        return False
    context.loader.cancel(OPENING)
    _after_opening(context)
    context.changed()
    return True


def is_opening(context: Context) -> bool:
    """While files are looked at or a case is opened."""
    return context.loader.has(OPENING)


@handles("case.stop_opening", is_opening)
def stop_opening(context: Context) -> bool:
    """Stops looking at files, or opening a case; the one that is shown stays.

    Returns:
        False if there was nothing to stop.
    """
    stopped = give_up_opening(context)
    if stopped:
        context.notifier.say("Opening was stopped")
    return stopped


def show_case(context: Context, index: int, *, instead_of: CaseItem | None = None) -> None:
    """Opens a row of the case list in the background.

    Args:
        context: of the window.
        index: of the row.
        instead_of: a row that goes from the list when the other is shown, unless it holds work.

    The case before stays until it is there, with all that can be done to it: it is kept only then.
    If slices of it are still being read, that stops, and goes on if the other one can't be opened.
    """
    session = context.session
    if not 0 <= index < len(session.items):
        return
    item = session.items[index]
    if index == session.current:
        give_up_opening(context)  # another one that was asked for and is not there yet
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
    begin_opening(
        context,
        f"Opening {item.name} ...",
        work,
        far=lambda done, total: f"Opening {item.name}: {done} of {total}",
        done=lambda begun: _show(context, item, begun, instead_of),
        failed=lambda error: _tell_failed(context, item, error),
    )


def _tell_failed(context: Context, item: CaseItem, error: UserError) -> None:
    if item in context.session.items:
        context.failed_row = context.session.items.index(item)
    context.changed()
    context.notifier.say(f"{item.name} was not opened")
    if not isinstance(error, ChoiceNeeded):
        context.notifier.error(error.message, error.hint)
        return
    choices = [_answer(context, item, error.about, choice) for choice in _few(error.choices)]
    if error.about == "time" and len(error.choices) > FEW:
        choices.append(_ask_for_another(context, item, len(error.choices)))
    context.notifier.show(f"{error.message} Which one?", "warning", tuple(choices), key="error")


def _answer(context: Context, item: CaseItem, about: str, asked: Asked) -> Choice:
    """A button that opens the part of a source that was asked for."""

    def open_it() -> None:
        if about == "time":
            _open_time(context, item, int(asked.key))
        else:
            _open_part(context, item, asked.key)

    return Choice(asked.text[:1].upper() + asked.text[1:], open_it)


def _ask_for_another(context: Context, item: CaseItem, count: int) -> Choice:
    """A button that asks for the number of a time point."""

    def ask() -> None:
        time = ask_time(context, item.name, count, 0)
        if time is not None:
            _open_time(context, item, time)

    return Choice("Another ...", ask)


def ask_time(context: Context, name: str, count: int, now: int) -> int | None:
    """The number of a time point, from a dialog; None if the user would rather not."""
    text = f"Time point of {name}, 0 to {count - 1}:"
    time, chosen = QInputDialog.getInt(context.window, "Time point", text, now, 0, count - 1)
    return time if chosen else None


def _open_time(context: Context, item: CaseItem, time: int) -> None:
    _open_part(context, item, selection(split_selection(item.series)[0], time))


def _open_part(context: Context, item: CaseItem, series: str) -> None:
    """Opens a row anew, now that it is known which part of its source is meant."""
    if item in context.session.items:
        item.series = series
        show_case(context, context.session.items.index(item))


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
    begun = begin_case(path, series=series, progress=job.step, check=job.check)
    time = split_selection(begun.case.scan.stored.series)[1]
    begun.case.name += "" if time is None else name_of_time(time)
    return begun


def name_of_time(time: int) -> str:
    """What follows the name of a source with several time points."""
    return f" time point {time}"


def _whole(case: Case) -> BegunCase:
    """A case of which nothing is left to read."""
    return BegunCase(case, lambda _progress: None)


def _show(context: Context, item: CaseItem, begun: BegunCase, instead_of: CaseItem | None) -> None:
    case = begun.case
    if item not in context.session.items:
        return
    clear_notices(context)
    context.failed_row = None
    _keep_current(context)
    slice_index, window = context.view.slice_index, context.view.window
    context.view.reset_for(case)
    own_window = context.view.window
    if instead_of is not None:  # the same place at another time
        context.view.set_slice(slice_index)
        context.view.set_window(*window)
    context.session.show_case(context.session.items.index(item), case)
    _drop_row(context, instead_of)
    log.info("a case was opened")
    if case.warnings:
        text = f"{case.name}: {' '.join(case.warnings)}"
        context.notifier.show(text, "warning", key="case")
    if case.scan.is_complete:
        _all_is_there(context, case)
        return
    context.reading = reading = Reading(context, begun, own_window)
    reading.ended.connect(lambda: _all_is_there(context, case))
    reading.failed.connect(lambda error: _give_up(context, item, error))
    reading.go_on()
    context.changed()


def _drop_row(context: Context, item: CaseItem | None) -> None:
    """A row that another took the place of goes, unless it holds work."""
    session = context.session
    if item is None or item not in session.items or item.validation:
        return
    if not (session.has_work(item) or session.is_unsaved(item)):
        session.remove(session.items.index(item))


def clear_notices(context: Context) -> None:
    """What is said, and was measured, of the case that is left."""
    for key in ("case", "mask", "error", *OF_A_SEGMENTATION):
        context.notifier.clear(key)
    context.choice = None


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
