"""Undo: named steps of small changes, capped by number and by memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

MAX_STEPS = 200
MAX_BYTES = 256 * 1024 * 1024


class Change(Protocol):
    """One reversible change; the document knows how to carry it out."""

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        ...


@dataclass
class Step:
    """What one undo takes back.

    Attributes:
        name: what the menu shows ("Paint").
        changes: in the order they were made.
    """

    name: str
    changes: list[Change] = field(default_factory=list[Change])

    @property
    def nbytes(self) -> int:
        """Memory the step holds."""
        return sum(change.nbytes for change in self.changes)


class History:
    """Finished steps, the ones taken back, and which of them is on disk.

    At least `MAX_STEPS` steps or `MAX_BYTES` of deltas are kept, whichever ends first; the newest
    step is always kept, however large it is.
    """

    def __init__(self, max_steps: int = MAX_STEPS, max_bytes: int = MAX_BYTES) -> None:
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._max_steps = max_steps
        self._max_bytes = max_bytes
        self._bytes = 0
        self._position = 0  # steps made so far, dropped ones included
        self._saved: int | None = 0

    def push(self, step: Step) -> None:
        """Adds a step; what had been taken back is gone."""
        if self._saved is not None and self._saved > self._position:
            self._saved = None  # the saved state can't be reached any more
        self._undone.clear()
        self._done.append(step)
        self._position += 1
        self._bytes += step.nbytes
        while len(self._done) > 1 and (
            len(self._done) > self._max_steps or self._bytes > self._max_bytes
        ):
            self._bytes -= self._done.popleft().nbytes

    def pop_undo(self) -> Step | None:
        """The step to take back now, or None."""
        if not self._done:
            return None
        step = self._done.pop()
        self._bytes -= step.nbytes
        self._undone.append(step)
        self._position -= 1
        return step

    def pop_redo(self) -> Step | None:
        """The step to make again now, or None."""
        if not self._undone:
            return None
        step = self._undone.pop()
        self._done.append(step)
        self._bytes += step.nbytes
        self._position += 1
        return step

    @property
    def undo_name(self) -> str:
        """Name of the step that undo takes back, or ""."""
        return self._done[-1].name if self._done else ""

    @property
    def redo_name(self) -> str:
        """Name of the step that redo makes again, or ""."""
        return self._undone[-1].name if self._undone else ""

    @property
    def nbytes(self) -> int:
        """Memory that the finished steps hold."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._done)

    @property
    def is_dirty(self) -> bool:
        """True if the present state is not the saved one."""
        return self._saved != self._position

    def mark_saved(self) -> None:
        """The present state is on disk."""
        self._saved = self._position

    def mark_unsaved(self) -> None:
        """No state of this history is on disk."""
        self._saved = None
