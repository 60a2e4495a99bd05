"""Facts about the computer, found without importing torch."""

from __future__ import annotations

import os
import sys


def available_memory() -> int:
    """Bytes that can still be taken without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def has_display() -> bool:
    """True if a window can be shown (on Linux, X11 or Wayland is there)."""
    if sys.platform != "linux":
        return True
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in {"offscreen", "minimal", "vnc"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
