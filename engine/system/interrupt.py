"""Ctrl-C and SIGTERM as a question that long work asks, so that it ends between two steps."""

from __future__ import annotations

import os
import signal


class Interrupt:
    """While it is entered, a signal only sets `raised`; the second one ends the process at once.

    A KeyboardInterrupt may strike anywhere, even between the making of a file and the line that
    would remove it again. In the main thread only.
    """

    raised = False

    def __enter__(self) -> Interrupt:
        self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if self.raised:
            os._exit(128 + number)
        self.raised = True
