"""Quiet bars above the picture instead of boxes that open by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

ROWS = 3  # shown at a time, until all are asked for
LEAST_HEIGHT, MOST_HEIGHT = 130, 360  # in pixels, where they need more: the rest scrolls


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

    They come back by themselves too, as others are closed. They scroll where they would take the
    picture's place.
    """

    closed = Signal(object)  # Notice

    def __init__(self, notifier: Notifier, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notices: list[Notice] = []
        self._rows: list[_Row] = []
        self._shows_all = False
        self._scroll = _Scroll(self)
        self._column = self._scroll.column
        self.more = QPushButton(self)
        self.more.setObjectName("More")
        self.more.clicked.connect(self._turn)
        layout = _bare_column(self)
        layout.addWidget(self._scroll)
        layout.addWidget(self.more)
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
        self._scroll.fit()

    def _turn(self) -> None:
        """Shows all notices, or the newest alone."""
        self._shows_all = not self._shows_all
        self._render()


def _bare_column(widget: QWidget) -> QVBoxLayout:
    """Rows one below the other, without a margin."""
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    return column


class _Scroll(QScrollArea):
    """Rows as high as their text needs at this width, or less where the window is too low."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._height = 0
        self._inner = QWidget()
        self.column = _bare_column(self._inner)
        self.setWidget(self._inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def fit(self) -> None:
        """Asks for the height that the text needs; a scroll area does not by itself."""
        self.column.activate()
        needed = self.column.totalHeightForWidth(self.viewport().width())
        needed = max(needed, self.column.totalMinimumSize().height())  # -1 where nothing is broken
        self._inner.setMinimumHeight(needed)  # or it would be squeezed instead of scrolled
        self._height = min(needed, MOST_HEIGHT)
        self.setMaximumHeight(self._height)
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """All rows, if they are not too high."""
        return QSize(self._inner.sizeHint().width(), self._height)

    def minimumSizeHint(self) -> QSize:
        """As wide as the widest row."""
        width = self._inner.minimumSizeHint().width()
        return QSize(width, min(self._height, LEAST_HEIGHT))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width breaks the text into other lines."""
        super().resizeEvent(event)
        self.fit()


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
