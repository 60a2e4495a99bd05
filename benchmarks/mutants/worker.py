"""A process that opens mutants and may well die of it; `runner` starts it and reads its lines.

Its first line is "ready"; each further one tells how one mutant ended, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.facts import forget_peak, peak_memory
from benchmarks.mutants.formats import Format, chosen
from benchmarks.mutants.makers import Files
from engine.errors import UserError
from engine.io import open_case, read_mask

MOST_S, TRIES = 5.0, 3  # promise 4
PAUSE_S = 15.0  # before it is tried again; a decoder that was ended starts anew meanwhile
OPENED, REFUSED, ERROR = "opened", "refused", "error"
Opener = Callable[[Path], None]


def main(argv: list[str]) -> int:
    """Opens the mutants `first` to `last` - 1 of a format."""
    name, seed, first, last, folder = argv
    fmt, work = chosen([name])[0], Path(folder)
    # What a library prints must not come between the lines.
    tell = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    files = fmt.files()
    opened = opener(fmt, work)
    opened(put(work / "valid", files, fmt))  # also loads what opening needs
    start = psutil.Process().memory_info().rss
    print("ready", file=tell, flush=True)
    for number in range(int(first), int(last)):
        here = work / str(number)
        path = put(here, fmt.mutant(files, int(seed), number), fmt)
        found = {"n": number, **measured(opened, path, start)}
        print(json.dumps(found), file=tell, flush=True)
        shutil.rmtree(here)
    return 0


def put(folder: Path, files: Files, fmt: Format) -> Path:
    """Writes the files; the path to open."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / fmt.opens


def opener(fmt: Format, work: Path) -> Opener:
    """Opens a path and looks at what came of it."""
    if fmt.on is None:
        return check_case
    folder = work / "case"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in fmt.on().items():
        (folder / name).write_bytes(content)
    case = open_case(folder)

    def check_mask(path: Path) -> None:
        array, _ = read_mask(path, case, threshold=0.5, overlap="first")
        if array.shape != case.scan.grid.shape or array.dtype != np.uint8:
            raise ValueError(f"a mask of {array.shape} {array.dtype}")
        array.sum()

    return check_mask


def check_case(path: Path) -> None:
    """Opens a case; every slice of it can be touched, and its grid makes sense."""
    case = open_case(path)
    scan = case.scan
    numbers = [scan.slope, scan.intercept, *(scan.window or ()), *scan.grid.affine.ravel()]
    if scan.array.size == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"a scan of {scan.array.shape} with {numbers}")
    if abs(np.linalg.det(scan.grid.affine)) == 0 or len(scan.loaded) != scan.slice_count:
        raise ValueError(f"a scan with {scan.grid.affine} and {len(scan.loaded)} flags")
    for n in range(scan.slice_count):
        values = scan.array[(slice(None),) * scan.plane + (n,)]
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise ValueError(f"slice {n} holds what is no number")


def measured(opened: Opener, path: Path, start: int) -> dict[str, Any]:
    """How opening ended, its seconds, and MB of memory at most above the start.

    What takes too long is opened again, and the shortest time counts: the computer has other work.
    """
    forget_peak()
    outcome, text, seconds = timed(opened, path)
    for _ in range(TRIES - 1):
        if seconds > MOST_S:
            time.sleep(PAUSE_S)
            seconds = min(seconds, timed(opened, path)[2])
    more = (peak_memory() - start) / 2**20
    helpers = [peak_memory(child) / 2**20 for child in children_of_main()]
    found = {"outcome": outcome, "seconds": seconds, "mb": more, "helper_mb": max(helpers or [0])}
    return {**found, "text": text}


def timed(opened: Opener, path: Path) -> tuple[str, str, float]:
    """Outcome, what was said, and seconds."""
    text = ""
    began = time.perf_counter()
    try:
        opened(path)
        outcome = OPENED
    except UserError as error:
        outcome, text = REFUSED, error.message
    except Exception:  # noqa: BLE001, whatever else it raises is what is looked for
        outcome, text = ERROR, traceback.format_exc()
    return outcome, text, time.perf_counter() - began


def children_of_main() -> list[int]:
    """Process numbers of the children; psutil would read those of all processes (Linux)."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(number) for number in text.split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
