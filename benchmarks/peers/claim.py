"""Two commands side by side don't do the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

NAME = "running.pid"
SAME_START = 1.0  # seconds: a process's start is not told alike to the last digit every time


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """True if nobody else is at work in the folder; then it is ours until the end.

    What a process left behind that is no more is taken over. Numbers of processes come again,
    above all after a restart: the note holds its process's start too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / NAME
    mine = _take(file)
    if not mine and not _is_alive(file):
        file.unlink(missing_ok=True)
        mine = _take(file)
    try:
        yield mine
    finally:
        if mine:
            file.unlink(missing_ok=True)


def _take(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as stream:
        stream.write(f"{os.getpid()} {psutil.Process().create_time()}")
    return True


def _is_alive(file: Path) -> bool:
    try:
        number, started = file.read_text().split()
        return abs(psutil.Process(int(number)).create_time() - float(started)) < SAME_START
    except (OSError, ValueError, psutil.NoSuchProcess):
        return False
