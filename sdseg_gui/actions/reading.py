"""The rest of a long series, read while the case is shown already."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from engine.imaging.window_level import Window, default_window
from engine.io import BegunCase
from sdseg_gui.actions.context import Context
from sdseg_gui.jobs import Job

READING = "Reading the series"


class Reading(QObject):
    """Reads the slices that the open case still lacks; ends itself when another case is shown.

    Args:
        context: of the window.
        begun: the case, and how it is read on.
        window: the one of its first slices, which makes room if the others say something far off;
            one that the user has chosen stays.

    Signals:
        ended: all slices are there.
        failed: UserError; what was read can't be shown as a case.
    """

    ended = Signal()
    failed = Signal(object)

    def __init__(self, context: Context, begun: BegunCase, window: Window) -> None:
        super().__init__(context.document)
        self._context, self._begun = context, begun
        self._job: Job | None = None
        self._window = window
        context.document.case_opened.connect(self._leave)

    def go_on(self) -> None:
        """Reads what is left, unless that is being done."""
        if self._job is not None and not self._job.cancel_asked:
            return
        work = self._begun.finish
        self._job = job = self._context.reader.submit(READING, lambda handle: work(handle.step))
        job.progressed.connect(self._tell)
        job.done.connect(self._done)
        job.failed.connect(self._fail)

    def pause(self) -> None:
        """Stops after the slice that is being read; `go_on` may follow."""
        self._context.under_way.end(READING)
        if self._job is not None:
            self._job.cancel()

    def _tell(self, done: int, total: int) -> None:
        text = f"Reading {self._begun.case.name}: {done} of {total}"
        self._context.under_way.tell(READING, text)

    def _done(self, _nothing: object) -> None:
        """The window of a few slices stays, if nothing tells against it now that all are there."""
        if self._is_left():
            return
        view, window = self._context.view, default_window(self._begun.case.scan)
        if view.window == self._window and _is_far_off(self._window, window):
            view.set_window(*window)
        self._end()
        self.ended.emit()

    def _fail(self, error: Exception) -> None:
        if not self._is_left():
            self._end()
            self.failed.emit(error)

    def _is_left(self) -> bool:
        return self._context.document.case is not self._begun.case

    def _leave(self) -> None:
        if self._is_left():
            self.pause()
            self._end()

    def _end(self) -> None:
        self._context.document.case_opened.disconnect(self._leave)
        self._context.under_way.end(READING)
        self._context.reading = None
        self.deleteLater()


def _is_far_off(window: Window, other: Window) -> bool:
    """True if an edge of a window lies more than a quarter of the other's width from its own."""
    (level, width), (true_level, true_width) = window, other
    low = abs((level - width / 2) - (true_level - true_width / 2))
    high = abs((level + width / 2) - (true_level + true_width / 2))
    return max(low, high) > true_width / 4
