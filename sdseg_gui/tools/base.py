"""What every tool of the canvas can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from sdseg_gui.document import Document
from sdseg_gui.tools.geometry import SliceGeometry
from sdseg_gui.view_state import ViewState


@dataclass(frozen=True)
class Pointer:
    """Where the mouse is on the slice.

    Attributes:
        row, column: in pixels of the slice; pixel n covers ``n <= row < n + 1``.
        control, shift: whether the key is held.
        reach: (rows, columns) within which a handle counts as hit.
    """

    row: float
    column: float
    control: bool = False
    shift: bool = False
    reach: tuple[float, float] = (0.5, 0.5)


class Tool(QObject):
    """Turns a drag on the slice into changes of the document."""

    shape_changed = Signal()  # the unfinished shape looks different now

    def __init__(self, document: Document, view: ViewState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._view = view

    @property
    def geometry(self) -> SliceGeometry | None:
        """Of the open case."""
        case = self._document.case
        return None if case is None else SliceGeometry.of(case.scan)

    def press(self, pointer: Pointer) -> None:
        """The left button went down."""

    def move(self, pointer: Pointer) -> None:
        """The pointer moved while the button was down."""

    def release(self, pointer: Pointer) -> None:
        """The button came up."""

    def cancel(self) -> bool:
        """Drops the unfinished shape; True if there was one."""
        return False

    def delete(self) -> bool:
        """The Delete key; True if the tool had something to delete."""
        return False

    def _slice_is_loaded(self) -> bool:
        case = self._document.case
        return case is not None and bool(case.scan.loaded[self._view.slice_index])
