"""Two commands side by side don't do the same work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def claim(folder: Path, wait: bool = False) -> Iterator[bool]:
    """True if nobody else is at work in a folder; then it is ours until the end.

    The system itself lets go of what a process held that is no more. The lock lies beside the
    folder, so that the folder may be deleted meanwhile.

    Args:
        folder: need not be there; what holds it is made.
        wait: until it is ours, instead of answering False.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
