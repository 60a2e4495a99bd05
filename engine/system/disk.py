"""Room on a disk, asked for before much is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.errors import UserError

SPARE = 200_000_000  # bytes that are left to the rest of the computer
GB = 1e9


def require_space(folder: Path, size: int) -> None:
    """Makes sure that `size` bytes fit where a folder is, or will be.

    Raises:
        UserError: they don't.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free
    if size + SPARE > free:
        raise UserError(
            f"The disk of {there} has {free / GB:.1f} GB left, and {(size + SPARE) / GB:.1f} GB "
            "are needed.",
            hint="Free some space, or let SDSEG_HOME name a folder on another disk.",
        )
