"""The one way in which the program starts child processes of itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any


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
