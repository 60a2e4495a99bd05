"""Long work off the GUI thread: one worker thread a runner, results as signals.

A job's function runs in the worker; everything it says comes back through queued signals to
QObject slots in the GUI thread. Functions connected straight to a worker's signals would run in
the worker and must not touch a widget; so nothing outside this module connects to one.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal, Slot

from engine.errors import Cancelled, UserError

log = logging.getLogger("sdseg")
STOP_DEADLINE_MS = 10_000


class JobHandle:
    """What a job's function may call from the worker thread."""

    def __init__(self, job: Job, say: Callable[[Job, str, object], None]) -> None:
        self._job = job
        self._say = say

    def is_cancelled(self) -> bool:
        """True once the job was asked to stop."""
        return self._job.cancel_asked

    def check(self) -> None:
        """Ends the work if the job was asked to stop.

        Raises:
            Cancelled: it was.
        """
        if self._job.cancel_asked:
            raise Cancelled

    def step(self, done: int, total: int) -> None:
        """Ends the work if the job was asked to stop, else reports how far it is."""
        self.check()
        self.progress(done, total)

    def progress(self, done: int, total: int) -> None:
        """Reports how far it is."""
        self._say(self._job, "progress", (done, total))

    def partial(self, result: object) -> None:
        """Hands over a part of the result; must be frozen or not be used any more."""
        self._say(self._job, "partial", result)


Work = Callable[[JobHandle], Any]


class Job(QObject):
    """One piece of work; lives in the GUI thread. Exactly one of the last three is emitted."""

    progressed = Signal(int, int)
    part = Signal(object)
    done = Signal(object)
    failed = Signal(object)  # UserError
    cancelled = Signal()

    def __init__(self, name: str, work: Work, parent: QObject) -> None:
        super().__init__(parent)
        self.name = name
        self.work = work
        self._cancel = threading.Event()

    @property
    def cancel_asked(self) -> bool:
        """True once `cancel` was called; safe from any thread."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Asks the job to stop; `cancelled` follows when it has."""
        self._cancel.set()


@dataclass(frozen=True)
class _Message:
    job: Job
    kind: str
    content: object


class _Worker(QObject):
    """Lives in the worker thread."""

    said = Signal(object)

    @Slot(object)
    def run(self, job: Job) -> None:
        """Does one job; whatever happens, one final message follows."""
        if job.cancel_asked:
            self._say(job, "cancelled", None)
            return
        try:
            result = job.work(JobHandle(job, self._say))
        except Cancelled:
            self._say(job, "cancelled", None)
        except UserError as error:
            self._say(job, "failed", error)
        except Exception as error:
            log.exception("%s failed", job.name)
            self._say(job, "failed", _unexpected(job, error))
        else:
            self._say(job, "done", result)

    def _say(self, job: Job, kind: str, content: object) -> None:
        self.said.emit(_Message(job, kind, content))


def _unexpected(job: Job, error: Exception) -> UserError:
    return UserError(
        f"{job.name} stopped because of a fault in the program ({type(error).__name__}).",
        hint="Your work is untouched. Help > Copy diagnostics says more.",
    )


def has_threads_left() -> bool:
    """True while a thread runs on that did not end in time."""
    return any(thread.isRunning() for thread in _KEPT)


class JobRunner(QObject):
    """One worker thread that does jobs one after the other.

    Signals:
        changed: a job started or ended.
    """

    changed = Signal()
    _start = Signal(object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread = QThread()
        self._thread.setObjectName(name)
        self._worker = _Worker()
        self._worker.moveToThread(self._thread)
        self._start.connect(self._worker.run)
        self._worker.said.connect(self._receive)
        self._current: Job | None = None
        self._waiting: deque[Job] = deque()
        self._closed = False
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """True while a job runs or waits."""
        return self._current is not None or bool(self._waiting)

    @property
    def current(self) -> Job | None:
        """The job that runs."""
        return self._current

    def submit(self, name: str, work: Work, *, newest_wins: bool = False) -> Job:
        """Queues work; connect to the job's signals before the event loop runs again.

        Args:
            name: in words, for messages ("Opening the case").
            work: called in the worker thread; shares only frozen things with the window.
            newest_wins: jobs of the same name that run or wait are cancelled.
        """
        job = Job(name, work, self)
        if newest_wins:
            self.cancel(name)
        self._waiting.append(job)
        self._next()
        self.changed.emit()
        return job

    def has(self, name: str) -> bool:
        """True if a job of a name runs or waits, and was not asked to stop."""
        jobs = (self._current, *self._waiting)
        return any(job and job.name == name and not job.cancel_asked for job in jobs)

    def cancel(self, name: str) -> None:
        """Asks the jobs of a name to stop."""
        for job in (self._current, *self._waiting):
            if job is not None and job.name == name:
                job.cancel()

    def cancel_all(self) -> None:
        """Asks every job to stop."""
        for job in (self._current, *self._waiting):
            if job is not None:
                job.cancel()

    def shutdown(self) -> bool:
        """Cancels everything and waits for the thread; True if it ended in time."""
        self._closed = True
        self.cancel_all()
        self._waiting.clear()
        self._thread.quit()
        ended = self._thread.wait(STOP_DEADLINE_MS)
        if not ended:  # a QThread that is destroyed while it runs aborts the program: keep it
            log.error("the thread %s did not end in time", self._thread.objectName())
            _KEPT.append(self._thread)
        return ended

    def _next(self) -> None:
        if self._current is None and self._waiting and not self._closed:
            self._current = self._waiting.popleft()
            self._start.emit(self._current)

    @Slot(object)
    def _receive(self, message: _Message) -> None:
        """In the GUI thread."""
        job = message.job
        if message.kind in ("progress", "partial"):
            if not self._closed and not job.cancel_asked:
                if message.kind == "progress":
                    done, total = message.content  # type: ignore[misc]
                    job.progressed.emit(done, total)
                else:
                    job.part.emit(message.content)
            return
        self._current = None
        if not self._closed:
            self._next()
            self._finish(job, message)
            self.changed.emit()
        job.deleteLater()

    @staticmethod
    def _finish(job: Job, message: _Message) -> None:
        if message.kind == "done" and not job.cancel_asked:
            job.done.emit(message.content)
        elif message.kind == "failed":
            job.failed.emit(message.content)
        else:
            job.cancelled.emit()


_KEPT: list[QThread] = []
