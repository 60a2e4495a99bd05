"""Menus, toolbar and shortcuts, made from the command table."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QSize, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QApplication, QMainWindow, QToolBar, QToolButton

from sdseg_gui.actions.all import BINDINGS
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.registry import STILL_LOADING, carry_out
from sdseg_gui.commands import COMMANDS, MENUS, Command
from sdseg_gui.theme import icon

TOOLBAR = (
    ("case.open", "case.open_folder", "project.save", "export.mask"),
    ("case.previous", "case.next"),
    ("edit.undo", "edit.redo"),
    ("tool.pan", "tool.brush", "tool.eraser", "tool.box"),
    ("view.toggle_overlay", "view.outline", "view.fit"),
    ("segment.slice", "segment.volume", "segment.cancel"),
)
WITH_TEXT = ("segment.slice", "segment.volume")
_TYPING = ("QLineEdit", "QDoubleSpinBox", "QSpinBox", "QTextEdit")


class WindowCommand(QObject):
    """One command of the window, for menus and for scripts."""

    def __init__(self, command: Command, context: Context, parent: QObject) -> None:
        super().__init__(parent)
        self.command = command
        self._context = context
        self.action = QAction(command.title, parent)
        self.action.setObjectName(command.id)
        self.action.setShortcuts([QKeySequence(key) for key in command.keys])
        self.action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        self.action.setCheckable(command.checkable)
        self.action.setStatusTip(command.tip)
        self.action.setToolTip(_tool_tip(command))
        if command.icon:
            self.action.setIcon(icon(command.icon))
        self.action.triggered.connect(self._triggered)

    @property
    def enabled(self) -> bool:
        """Whether it can be used now."""
        return BINDINGS[self.command.id].enabled(self._context)

    def trigger(self, **arguments: Any) -> None:
        """Carries it out, if it can be used now."""
        carry_out(self._context, self.command.id, **arguments)
        self._context.changed()

    def _triggered(self, _checked: bool = False) -> None:
        self.trigger()

    def refresh(self) -> None:
        """Brings menu entry and button up to date."""
        binding = BINDINGS[self.command.id]
        self.action.setEnabled(binding.enabled(self._context))
        if binding.whole:
            reason = STILL_LOADING if binding.waits(self._context) else ""
            self.action.setToolTip(_tool_tip(self.command, reason))
        if binding.checked is not None:
            self.action.setChecked(binding.checked(self._context))


def _tool_tip(command: Command, reason: str = "") -> str:
    """Title, keys, what it does, and why it can't be used now."""
    keys = ", ".join(
        QKeySequence(k).toString(QKeySequence.SequenceFormat.NativeText) for k in command.keys
    )
    title = f"<b>{command.plain_title}</b>{f' ({keys})' if keys else ''}"
    return f"{title}<br>{command.tip}" + (f"<br><i>Not now: {reason}.</i>" if reason else "")


def build_commands(window: QMainWindow, context: Context) -> dict[str, WindowCommand]:
    """All commands, with menus; shortcuts work in the whole window."""
    found = {c.id: WindowCommand(c, context, window) for c in COMMANDS}
    groups: dict[str, QActionGroup] = {}
    for name in MENUS:
        menu = window.menuBar().addMenu(name)
        previous = ""
        for command in COMMANDS:
            if command.menu != name:
                continue
            family = command.id.split(".")[0]
            if previous and family != previous:
                menu.addSeparator()
            previous = family
            action = found[command.id].action
            menu.addAction(action)
            window.addAction(action)
            if command.group:
                group = groups.setdefault(command.group, QActionGroup(window))
                group.addAction(action)
    return found


def build_toolbar(window: QMainWindow, commands: dict[str, WindowCommand]) -> QToolBar:
    """The toolbar above the picture."""
    bar = QToolBar("Toolbar", window)
    bar.setObjectName("toolbar")
    bar.setMovable(False)
    bar.setIconSize(QSize(20, 20))
    for number, group in enumerate(TOOLBAR):
        if number:
            bar.addSeparator()
        for name in group:
            bar.addAction(commands[name].action)
            button = bar.widgetForAction(commands[name].action)
            if isinstance(button, QToolButton):
                button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                if name in WITH_TEXT:
                    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
                if name == "segment.slice":
                    button.setObjectName("Primary")
    window.addToolBar(bar)
    return bar


def is_typing() -> bool:
    """True while a text field has the keyboard, so that single letters are not commands."""
    widget = QApplication.focusWidget()
    return widget is not None and any(widget.inherits(name) for name in _TYPING)
