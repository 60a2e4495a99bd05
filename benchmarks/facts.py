"""The day, the computer and the memory of a measurement."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")


def date_of_today() -> str:
    return datetime.now(UTC).date().isoformat()


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or "unknown"


def forget_peak() -> None:
    """The largest resident memory of this process is counted anew from here (Linux)."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(pid: int = 0) -> int:
    """Largest resident memory of a process, this one by default, in bytes.

    That of now where the system keeps no peak; 0 for a process that has ended.
    """
    pid = pid or os.getpid()
    try:
        if not STATUS.exists():
            return int(psutil.Process(pid).memory_info().rss)
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (OSError, psutil.Error):
        return 0
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM")), 0)
