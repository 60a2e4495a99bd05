"""What is being done for long, for the status line."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal


class UnderWay(QObject):
    """How far each long piece of work is; what was begun last is what is shown.

    Signals:
        changed: the text to show, "" when nothing is under way.
    """

    changed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._texts: dict[str, str] = {}

    @property
    def text(self) -> str:
        """Of what was begun last, or ""."""
        return next(reversed(self._texts.values()), "")

    def tell(self, work: str, text: str) -> None:
        """A piece of work was begun, or is further than it was."""
        self._texts[work] = text
        self.changed.emit(self.text)

    def end(self, work: str) -> None:
        """It is done, or was given up."""
        if self._texts.pop(work, None) is not None:
            self.changed.emit(self.text)
