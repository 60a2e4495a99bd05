"""Where the program keeps what belongs to its user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP_FOLDER = "SDSeg Studio"


def user_data_dir() -> Path:
    """The folder for the user's models, settings, logs and recovery copies; it need not exist.

    The environment variable SDSEG_HOME wins; else it is the usual place of the platform.
    """
    chosen = os.environ.get("SDSEG_HOME")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / APP_FOLDER
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / APP_FOLDER
    return Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share")) / "sdseg-studio"
