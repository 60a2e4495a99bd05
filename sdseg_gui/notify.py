"""Quiet bars above the picture instead of boxes that open by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

ROWS = 3  # shown at a time, until all are asked for


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


class NoticeBar(QWidget):
    """The notices, newest first; a line says how many do not fit, and shows them all or hides them.

    They come back by themselves too, as others are closed.
    """

    closed = Signal(object)  # Notice

    def __init__(self, notifier: Notifier, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notices: list[Notice] = []
        self._rows: list[_Row] = []
        self._shows_all = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.more = QPushButton(self)
        self.more.setObjectName("More")
        self.more.clicked.connect(self._turn)
        self._column.addWidget(self.more)
        notifier.shown.connect(self._add)
        notifier.cleared.connect(self._remove_key)
        self.hide()

    @property
    def current(self) -> Notice | None:
        """The newest notice."""
        return self._notices[-1] if self._notices else None

    @property
    def texts(self) -> list[str]:
        """What is shown, newest first."""
        return [notice.text for notice in self._visible()]

    def _visible(self) -> list[Notice]:
        """Those that have a row, newest first."""
        return self._notices[::-1][: None if self._shows_all else ROWS]

    def choose(self, text: str) -> None:
        """Presses a button of the newest notice that has it.

        Raises:
            StopIteration: none has.
        """
        buttons = (button for row in self._rows for button in row.buttons)
        next(button for button in buttons if button.text() == text).click()

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
        for row in self._rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        hidden = len(self._notices) - ROWS
        self._shows_all = self._shows_all and hidden > 0
        self._rows = [_Row(notice, self._close, self) for notice in self._visible()]
        for place, row in enumerate(self._rows):
            self._column.insertWidget(place, row)
        self.more.setText("Show fewer" if self._shows_all else f"{hidden} more")
        self.more.setVisible(hidden > 0)
        self.setVisible(bool(self._rows))

    def _turn(self) -> None:
        """Shows all notices, or the newest alone."""
        self._shows_all = not self._shows_all
        self._render()


class _Row(QFrame):
    """One notice with its buttons."""

    def __init__(self, notice: Notice, close: Callable[[Notice], None], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("Notice")
        self.setProperty("kind", notice.kind)
        self._notice, self._close = notice, close
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(14, 6, 8, 6)
        self._line.setSpacing(8)
        text = QLabel(notice.text, self)
        text.setWordWrap(True)
        policy = text.sizePolicy()  # kept as it is: its height depends on its width
        policy.setHorizontalPolicy(QSizePolicy.Policy.Expanding)
        text.setSizePolicy(policy)
        self._line.addWidget(text)
        self.buttons = [self._button(choice) for choice in (*notice.choices, CLOSE)]

    def _button(self, choice: Choice) -> QPushButton:
        button = QPushButton(choice.text, self)

        def pressed() -> None:
            self._close(self._notice)
            choice.act()

        button.clicked.connect(pressed)
        self._line.addWidget(button)
        return button


def _nothing() -> None:
    """The act of Close."""


CLOSE = Choice("Close", _nothing)
