"""Showing a case: it is opened in the background, and the newest wish wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
        done=lambda begun: _show(context, item, begun),
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
    clear_notices(context)
    context.failed_row = None
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
