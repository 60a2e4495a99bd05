"""Facts about the computer, found without importing torch."""

from __future__ import annotations

import os
import sys


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping, or None where it is not known."""
    if sys.platform == "linux":
        try:
            with open("/proc/meminfo", encoding="ascii") as stream:
                for line in stream:
                    if line.startswith("MemAvailable:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            return None
    return None


def has_display() -> bool:
    """True if a window can be shown (on Linux, X11 or Wayland is there)."""
    if sys.platform != "linux":
        return True
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in {"offscreen", "minimal", "vnc"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
