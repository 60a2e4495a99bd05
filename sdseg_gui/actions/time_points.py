"""Going from one time point of a series or file to another; each is a case with its own mask."""

from __future__ import annotations

from engine.io.selection import selection, split_selection
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.opening import ask_time, name_of_time, show_case
from sdseg_gui.actions.registry import handles
from sdseg_gui.session import CaseItem


def _now(context: Context) -> tuple[int, int]:
    """The time point that is shown, and how many there are; (0, 1) where there is only one."""
    case = context.document.case
    if case is None:
        return 0, 1
    return split_selection(case.scan.stored.series)[1] or 0, case.scan.stored.times


def _has_times(context: Context) -> bool:
    return _now(context)[1] > 1


def _has_previous(context: Context) -> bool:
    return _now(context)[0] > 0


def _has_next(context: Context) -> bool:
    now, count = _now(context)
    return now < count - 1


@handles("case.previous_time", _has_previous)
def previous_time(context: Context) -> None:
    """Shows the time point before."""
    _show_time(context, _now(context)[0] - 1)


@handles("case.next_time", _has_next)
def next_time(context: Context) -> None:
    """Shows the time point behind."""
    _show_time(context, _now(context)[0] + 1)


@handles("case.time_point", _has_times)
def go_to_time(context: Context, time: int | None = None) -> None:
    """Shows a time point; without a number a dialog asks for it."""
    case, (now, count) = context.document.case, _now(context)
    assert case is not None
    chosen = ask_time(context, case.name, count, now) if time is None else time
    if chosen is not None and 0 <= chosen < count:
        _show_time(context, chosen)


def _show_time(context: Context, time: int) -> None:
    """Opens a time point in a row of its own; the row that is left stays if there is work on it."""
    case, item = context.document.case, context.session.current_item
    if case is None or item is None:
        return
    series, now = split_selection(case.scan.stored.series)
    name = item.name.removesuffix(name_of_time(now or 0)) + name_of_time(time)
    part = selection(series, time)
    wanted = CaseItem(item.path, name, series=part, summary=item.summary, model=item.model)
    index = context.session.add_items([wanted], behind_current=True)[0]
    context.session.items[index].series = part  # perhaps none was chosen for it yet
    show_case(context, index, instead_of=item)
