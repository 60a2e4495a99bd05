"""A child process under watch: killed when it takes too long or too much, or is not wanted."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

_LOOK_S = 0.05


class ChildWatch(threading.Thread):
    """Looks after a child until `stop`.

    Attributes:
        reason: why the child was killed, as half a sentence; "" as long as it was not.
        cancelled: True if it was no longer wanted.
    """

    def __init__(
        self, child: Popen[Any], is_cancelled: Callable[[], bool] | None = None, what: str = "it"
    ) -> None:
        """Begins without limits.

        Args:
            child: to be watched.
            is_cancelled: asked twenty times a second.
            what: what the child works at should not need so much, for `reason`.
        """
        super().__init__(daemon=True)
        self.reason = ""
        self.cancelled = False
        self._child, self._is_cancelled, self._what = child, is_cancelled, what
        self._done = threading.Event()
        self._judging = threading.Lock()
        self._killed = False
        self._deadline: float | None = None
        self._most_bytes: int | None = None

    def until(self, seconds: float | None) -> bool:
        """How long the child may take from now on; None is for ever.

        Returns:
            False if it was killed already.
        """
        with self._judging:
            self._deadline = None if seconds is None else time.monotonic() + seconds
            return not self._killed

    def within(self, more_bytes: int) -> None:
        """How much resident memory the child may take beyond what it has now."""
        taken = self._taken()
        self._most_bytes = None if taken is None else taken + more_bytes

    def run(self) -> None:
        """Looks until `stop` or the child's end; a child that ended leaves no zombie behind."""
        while not self._done.wait(_LOOK_S) and self._child.poll() is None:
            self.cancelled = bool(self._is_cancelled and self._is_cancelled())
            with self._judging:
                self._judge()
            if self._killed:
                self._child.wait()

    def _judge(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = "it takes too long"
        taken = None if self._most_bytes is None else self._taken()
        if taken is not None and self._most_bytes is not None and taken > self._most_bytes:
            self.reason = f"it needs more memory than {self._what} should"
        if self.cancelled or self.reason:
            self._killed = True
            self._child.kill()

    def stop(self) -> None:
        """Ends the watch; the child is left as it is."""
        self._done.set()
        self.join()

    def _taken(self) -> int | None:
        """Resident memory of the child in bytes; None once it has ended."""
        try:
            return int(psutil.Process(self._child.pid).memory_info().rss)
        except psutil.Error:
            return None


def limit_memory(more_bytes: int) -> None:
    """Caps this process's address space at what it uses now and some more; on Linux only.

    A child calls it, so that an allocation fails there rather than that it is killed.

    Args:
        more_bytes: beyond what it uses; a later call may set more again.
    """
    if sys.platform != "linux":
        return
    import resource

    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used * resource.getpagesize() + more_bytes, hard))
