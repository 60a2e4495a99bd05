"""This process among several that `torchrun` or `accelerate launch` started."""

from __future__ import annotations

import os
import time

PATIENCE = 60.0  # seconds; on a busy machine the first takes a while to end


def is_first() -> bool:
    """True in the one process that speaks and writes; without a launcher there is no other."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def let_the_first_speak() -> None:
    """Called before an error is told: what all have met is told by the first process alone.

    When the first ends, its launcher ends the others, which wait here. One that is still there
    after a while has met something of its own and goes on to tell it.
    """
    if not is_first():
        time.sleep(PATIENCE)
