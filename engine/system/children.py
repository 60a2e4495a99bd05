"""The one way in which the program starts child processes of itself, and how such a child ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

STDIN = 0
ENDS_WITHIN_S = 10.0


def child_command(arguments: Sequence[str]) -> list[str]:
    """The command that runs this program with other arguments.

    Tasks that are not for people start with "--child" (see `engine.cli.child`).

    A frozen build has no interpreter to hand a script to: there the executable is the program. In
    a checkout and a wheel the package `sdseg_gui` is the entry, which imports no Qt for commands.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    return [sys.executable, "-m", "sdseg_gui", *arguments]


def start_child(arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Starts the program as a child process; `options` go to `subprocess.Popen`.

    A new process is always spawned, never forked, since a fork of a process with Qt or OpenMP
    threads hangs.
    """
    return subprocess.Popen(child_command(arguments), **options)


def end_with_parent(within_s: float = ENDS_WITHIN_S) -> None:
    """In a child: ends the process when the parent closes the pipe to its standard input.

    The system closes the pipe too when the parent dies, however it dies. The child is first asked
    as by Ctrl-C (see `interrupt`); if that does not end it in time, it ends at once.

    Args:
        within_s: time to end well.
    """
    threading.Thread(target=_watch_parent, args=(within_s,), daemon=True).start()


def _watch_parent(within_s: float) -> None:
    # Not through sys.stdin: its lock, held by a thread, aborts the interpreter when it ends.
    while os.read(STDIN, 1024):
        pass
    _interrupt_main()
    threading.Event().wait(within_s)
    os._exit(1)


def _interrupt_main() -> None:
    """Ctrl-C for the main thread, also where it waits for something."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:  # Windows; there a waiting thread looks at it later
        signal.raise_signal(signal.SIGINT)
