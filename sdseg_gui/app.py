"""Composes the program: application, theme, log, window."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import cache
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

import pyqtgraph
from pyqtgraph.util.garbage_collector import GarbageCollector
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from engine.system.paths import user_data_dir
from sdseg_gui.actions.helping import LOG_FILE
from sdseg_gui.jobs import has_threads_left
from sdseg_gui.theme import apply_theme
from sdseg_gui.window import APPLICATION, MainWindow

log = logging.getLogger("sdseg")
LOG_BYTES = 1_000_000
HEARTBEAT_MS = 200


def create_window(path: str | Path | None = None) -> MainWindow:
    """The shown main window, inside an existing QApplication.

    Args:
        path: what to open; loading goes on in the background.
    """
    application = QApplication.instance()
    if not isinstance(application, QApplication):
        raise RuntimeError("create_window needs a QApplication")
    pyqtgraph.setConfigOptions(imageAxisOrder="row-major")
    apply_theme(application)
    _collect_in_this_thread()
    window = MainWindow()
    window.show()
    if path is not None:
        window.commands["case.open"].trigger(path=path)
    return window


@cache
def _collect_in_this_thread() -> GarbageCollector:
    """Python's collector frees cycles in whichever thread it happens to run.

    A widget that is freed by a worker thread takes its timers and its parents' events with it and
    ends the program; so only the GUI thread collects, on a timer.
    """
    return GarbageCollector()


def run_window(path: Path | None = None, *, demo: bool = False) -> int:
    """Starts the application and runs it to its end.

    Args:
        path: what to open.
        demo: True opens the built-in picture.
    """
    application = QApplication(sys.argv[:1])
    application.setApplicationName(APPLICATION)
    application.setDesktopFileName("sdseg-studio")
    _start_log()
    window = create_window(path)
    _catch_faults(window)
    heartbeat = _quit_on_signals()
    if demo:
        window.commands["case.open_sample"].trigger()
    code = application.exec()
    heartbeat.stop()
    window.shutdown(discard=True)
    if has_threads_left():
        # Python frees what is left of them at its end, and that aborts the program. All is saved.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    return code


def _start_log() -> None:
    """One log file; only the program's own messages, which hold no patient data."""
    folder = user_data_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(folder / LOG_FILE, maxBytes=LOG_BYTES, backupCount=1)
    except OSError:
        return  # a read-only home must not keep the program from starting
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("started")


def _quit_on_signals() -> QTimer:
    """Ctrl-C in the terminal and a polite kill close the window as its user would.

    With unsaved work that asks; a second signal does not wait for the answer. Python looks at
    signals only when it runs; the timer gives it the chance while Qt waits.
    """

    def close(number: int, _frame: object) -> None:
        signal.signal(number, lambda *_: QApplication.exit(1))
        QTimer.singleShot(0, QApplication.quit)  # at once, or as soon as the loop runs

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, close)
    timer = QTimer()
    timer.timeout.connect(_nothing)
    timer.start(HEARTBEAT_MS)
    return timer


def _nothing() -> None:
    """Lets Python look at signals."""


def _catch_faults(window: MainWindow) -> None:
    """A fault in the program becomes a sentence in the window and lines in the log."""

    def hook(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        log.error("fault", exc_info=(kind, fault, trace))
        window.notifier.error(
            f"Something went wrong in the program ({kind.__name__}).",
            "Your work is still here: save it. Help > Copy diagnostics says more.",
        )

    sys.excepthook = hook
