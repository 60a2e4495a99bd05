"""One quiet bar above the picture instead of boxes that open by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget


@dataclass(frozen=True)
class Choice:
    """A button of a notice."""

    text: str
    act: Callable[[], None]


@dataclass(frozen=True)
class Notice:
    """What the bar says.

    Attributes:
        text: one or two sentences.
        kind: "info", "warning" or "error".
        choices: buttons; each closes the notice.
        key: a newer notice of the same key replaces this one.
    """

    text: str
    kind: str = "info"
    choices: tuple[Choice, ...] = ()
    key: str = ""


class Notifier(QObject):
    """Where the program says something to its user."""

    shown = Signal(object)  # Notice
    cleared = Signal(str)  # key
    status = Signal(str)

    def show(
        self, text: str, kind: str = "info", choices: tuple[Choice, ...] = (), key: str = ""
    ) -> None:
        """Shows a notice."""
        self.shown.emit(Notice(text, kind, choices, key))

    def error(self, message: str, hint: str = "") -> None:
        """Shows what went wrong and what to do."""
        self.show(f"{message} {hint}".strip(), "error", key="error")

    def clear(self, key: str) -> None:
        """Closes notices of a key."""
        self.cleared.emit(key)

    def say(self, text: str) -> None:
        """A short word in the status line."""
        self.status.emit(text)


class NoticeBar(QFrame):
    """Shows the newest notice; older ones come back when it is closed."""

    closed = Signal(object)  # Notice

    def __init__(self, notifier: Notifier, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("NoticeBar")
        self._notices: list[Notice] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(14, 6, 8, 6)
        self._row.setSpacing(8)
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._row.addWidget(self._text)
        self._buttons: list[QPushButton] = []
        notifier.shown.connect(self._add)
        notifier.cleared.connect(self._remove_key)
        self.hide()

    @property
    def current(self) -> Notice | None:
        """The notice that is shown."""
        return self._notices[-1] if self._notices else None

    def choose(self, text: str) -> None:
        """Presses a button by its text."""
        next(button for button in self._buttons if button.text() == text).click()

    def _add(self, notice: Notice) -> None:
        self._notices = [n for n in self._notices if not n.key or n.key != notice.key]
        self._notices.append(notice)
        self._render()

    def _remove_key(self, key: str) -> None:
        self._notices = [n for n in self._notices if n.key != key]
        self._render()

    def _close(self, notice: Notice) -> None:
        self._notices = [n for n in self._notices if n is not notice]
        self._render()
        self.closed.emit(notice)

    def _render(self) -> None:
        for button in self._buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._buttons = []
        notice = self.current
        self.setVisible(notice is not None)
        if notice is None:
            return
        self._text.setText(notice.text)
        self.setProperty("kind", notice.kind)
        self.style().unpolish(self)
        self.style().polish(self)
        for choice in notice.choices:
            self._add_button(notice, choice)
        self._add_button(notice, Choice("Close", _nothing))

    def _add_button(self, notice: Notice, choice: Choice) -> None:
        button = QPushButton(choice.text, self)

        def pressed() -> None:
            self._close(notice)
            choice.act()

        button.clicked.connect(pressed)
        self._row.addWidget(button)
        self._buttons.append(button)


def _nothing() -> None:
    """The act of Close."""
