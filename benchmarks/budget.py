"""Processor time that a run may use, and the learning rate that follows from it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Counts the process's own processor time, and only where it is told to.

    Work beside it on the same computer doesn't count, reading, checkpoints and scoring neither.

    Attributes:
        seconds: in all.
        begun: what was spent when the schedule of the rate began (SDSeg's autoencoder comes
            before).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = 0.0
        self._spent = 0.0
        self._since: float | None = None

    def go_on(self, spent: float, begun: float) -> None:
        """Where a stopped run left it."""
        self._spent, self.begun = spent, begun

    @property
    def spent(self) -> float:
        """Seconds so far."""
        running = 0.0 if self._since is None else time.process_time() - self._since
        return self._spent + running

    @property
    def is_over(self) -> bool:
        """True when nothing is left."""
        return self.spent >= self.seconds

    @property
    def share(self) -> float:
        """Of the time that is spent, 0..1."""
        return min(self.spent / self.seconds, 1.0)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """What happens inside is paid for."""
        self._since = time.process_time()
        try:
            yield
        finally:
            self._spent, self._since = self.spent, None

    def begin_schedule(self) -> None:
        """From here to the end the rate falls."""
        self.begun = self.spent

    def rate_factor(self, step: int, warmup: int) -> float:
        """Linear warm-up by steps, times a cosine to zero by time."""
        share = (self.spent - self.begun) / max(self.seconds - self.begun, 1e-9)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
        return cosine * min(1.0, (step + 1) / max(warmup, 1))
