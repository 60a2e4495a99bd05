"""Worker threads: results, errors, cancel, newest wins, a clean end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from engine.errors import Cancelled, UserError
from sdseg_gui.jobs import JobHandle, JobRunner


@pytest.fixture
def runner(qtbot: QtBot) -> Iterator[JobRunner]:
    made = JobRunner("test")
    yield made
    assert made.shutdown()


def test_work_runs_elsewhere_and_its_result_comes_back_here(qtbot, runner) -> None:
    threads: list[object] = []
    parts: list[object] = []

    def work(job: JobHandle) -> int:
        threads.append(threading.current_thread())
        job.progress(1, 2)
        job.partial("half")
        return 42

    job = runner.submit("Work", work)
    job.part.connect(parts.append)
    with qtbot.waitSignal(job.done) as finished:
        pass
    assert finished.args == [42]
    assert parts == ["half"] and threads[0] is not threading.current_thread()


def test_a_user_error_and_a_fault_end_the_job_with_a_sentence(qtbot, runner) -> None:
    def fail(_job: JobHandle) -> None:
        raise UserError("The file is gone.", hint="Look again.")

    def crash(_job: JobHandle) -> None:
        raise ZeroDivisionError

    for work, message in ((fail, "The file is gone."), (crash, "fault in the program")):
        job = runner.submit("Work", work)
        with qtbot.waitSignal(job.failed) as blocker:
            pass
        error = blocker.args[0]
        assert isinstance(error, UserError) and message in error.message
    qtbot.waitUntil(lambda: not runner.is_busy)


def wait_for_cancel(job: JobHandle) -> None:
    while not job.is_cancelled():
        time.sleep(0.002)
    raise Cancelled


def test_cancel_stops_the_job(qtbot, runner) -> None:
    job = runner.submit("Work", wait_for_cancel)
    with qtbot.waitSignal(job.cancelled, timeout=2000):
        job.cancel()


def test_the_newest_request_wins(qtbot, runner) -> None:
    first = runner.submit("Look", wait_for_cancel, newest_wins=True)
    second = runner.submit("Look", wait_for_cancel, newest_wins=True)
    third = runner.submit("Look", lambda _job: "newest", newest_wins=True)
    with qtbot.waitSignals([first.cancelled, second.cancelled, third.done], timeout=5000):
        pass


def test_a_result_that_nobody_wants_any_more_is_not_delivered(qtbot, runner) -> None:
    started = threading.Event()

    def stubborn(_job: JobHandle) -> str:
        started.set()
        time.sleep(0.05)
        return "late"

    job = runner.submit("Work", stubborn)
    results: list[object] = []
    job.done.connect(results.append)
    started.wait()
    with qtbot.waitSignal(job.cancelled):
        job.cancel()
    assert results == []


def test_threads_end_in_the_middle_of_a_job(qtbot) -> None:
    for _ in range(10):
        runner = JobRunner("short")
        runner.submit("Work", wait_for_cancel)
        assert runner.shutdown()
