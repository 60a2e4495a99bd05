"""Help, diagnostics, quitting."""

from __future__ import annotations

import platform

from PySide6.QtWidgets import QApplication

from engine import __version__
from engine.system.paths import user_data_dir
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.registry import handles
from sdseg_gui.dialogs.help import AboutDialog, KeysDialog

LOG_FILE = "sdseg-studio.log"
LAST_LINES = 200


@handles("help.keys")
def show_keys(context: Context) -> None:
    """The cheat sheet."""
    KeysDialog(context.window).open()


@handles("help.about")
def show_about(context: Context) -> None:
    """About."""
    use = context.session.model_use
    device = use.device.upper() if use else "CUDA where there is a GPU, else the CPU"
    AboutDialog(device, context.window).open()


@handles("help.log")
def copy_log(context: Context) -> None:
    """The log's end and the system, into the clipboard."""
    file = user_data_dir() / LOG_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    head = f"SDSeg Studio {__version__}, Python {platform.python_version()}, {platform.platform()}"
    QApplication.clipboard().setText("\n".join([head, *lines[-LAST_LINES:]]))
    context.notifier.say("Diagnostics copied")


@handles("window.quit")
def quit_program(context: Context) -> None:
    """Closes the window, which asks about unsaved work."""
    context.window.close()
