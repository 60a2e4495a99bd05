"""How a large series opens in the real window: when it is seen, when it is whole, how smooth.

    python -m benchmarks.window_loading [--slices 2000] [--json FILE]

The DICOM series of `benchmarks.loading` is opened three times, every time in a fresh process, and
read to its end while somebody scrolls through the slices. A gap is the time between two turns of
the window's event loop, asked for every 10 ms: how long a key or the mouse may have to wait. It
works without a display (QT_QPA_PLATFORM=offscreen); other programs should not run beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import run_command
from benchmarks.facts import date_of_today, forget_peak, peak_memory, processor
from benchmarks.loading import ROOT, RUNS, WARM, check_room, write_series
from engine.system.atomic import atomic_write_text

PATIENCE_S = 600.0
SCROLL_S = 0.1  # a slice further, as with a wheel that is turned
TICK_MS = 10
SETTLE_S = 1.0  # after the warm-up: what Qt still has to draw


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.window_loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--slices", type=int, default=2000, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.slices < 20:
        parser.error("--slices must be at least 20")
    if args.child:
        print(json.dumps(opened(*args.child)))
        return 0
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="window-loading-") as folder:
        check_room(Path(folder), args.slices)
        whole, warm = Path(folder) / "whole", Path(folder) / "warm"
        write_series(whole, args.slices)
        write_series(warm, WARM)
        runs = [measure(whole, warm, Path(folder) / f"home{n}") for n in range(RUNS)]
    figures = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    figures["gap_max_ms"] = max(run["gap_max_ms"] for run in runs)
    figures["times_the_array"] = max(run["times_the_array"] for run in runs)
    print("\n".join(f"{name:20} {value:.2f}" for name, value in figures.items()))
    report = {
        "date": date_of_today(), "cpu": processor(), "slices": args.slices, **figures, "runs": runs,
    }  # fmt: skip
    if args.json:
        atomic_write_text(args.json, json.dumps(report, indent=1) + "\n")
    return 0


def measure(whole: Path, warm: Path, home: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.window_loading", "--child", str(whole), str(warm)]
    platform = os.environ.get("QT_QPA_PLATFORM", "offscreen")
    environment = {**os.environ, "QT_QPA_PLATFORM": platform, "SDSEG_HOME": str(home)}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    figures: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return figures


def opened(path: Path, warm: Path) -> dict[str, float]:
    """In a child: seconds until it is seen and until it is whole, gaps in ms, memory."""
    from PySide6.QtWidgets import QApplication

    from sdseg_gui.app import create_window

    app = QApplication.instance() or QApplication([])
    window = create_window()
    window.resize(1400, 860)
    window.show()
    loop = Loop()
    document = window.document
    window.commands["case.open"].trigger(path=warm)
    loop.until(lambda: document.case is not None and not window.is_busy)  # the engine is imported
    settled = time.perf_counter() + SETTLE_S
    loop.until(lambda: time.perf_counter() > settled)
    first = document.case
    start = _resident()
    forget_peak()
    loop.gaps.clear()
    begun = time.perf_counter()
    window.commands["case.open"].trigger(path=path)
    loop.until(lambda: document.case is not first and document.case is not None)
    seen = time.perf_counter() - begun
    scroll = Scroll(window.view)
    loop.until(lambda: scroll.turn() or document.case.scan.is_complete)
    whole = time.perf_counter() - begun
    more = peak_memory() - start
    size = document.case.scan.array.nbytes
    gaps = 1000 * np.array(loop.gaps)
    window.shutdown(discard=True)
    del app
    return {
        "seen_s": seen, "whole_s": whole, "gap_median_ms": float(np.median(gaps)),
        "gap_p99_ms": float(np.percentile(gaps, 99)), "gap_max_ms": float(gaps.max()),
        "peak_mb": more / 2**20, "times_the_array": more / size,
    }  # fmt: skip


class Loop:
    """Runs the event loop, and notes how long it takes from one turn to the next."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    def until(self, is_done: Callable[[], bool]) -> None:
        from PySide6.QtCore import QEventLoop, Qt, QTimer

        loop, timer, last = QEventLoop(), QTimer(), time.perf_counter()
        end = last + PATIENCE_S

        def turn() -> None:
            nonlocal last
            now = time.perf_counter()
            self.gaps.append(now - last)
            last = now
            if is_done() or now > end:
                loop.quit()

        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(turn)
        timer.start(TICK_MS)
        loop.exec()
        if last > end:
            raise TimeoutError(f"not done within {PATIENCE_S:.0f} s")


class Scroll:
    """A person who goes on through the slices."""

    def __init__(self, view: Any) -> None:
        self._view, self._last = view, time.perf_counter()

    def turn(self) -> bool:
        """A slice further when it is time; never done."""
        if time.perf_counter() - self._last > SCROLL_S:
            self._last = time.perf_counter()
            self._view.set_slice((self._view.slice_index + 1) % self._view.slice_count)
        return False


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    sys.exit(main())
