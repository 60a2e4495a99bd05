"""The box tool: drags a region of interest."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject

from engine.domain.box import Box
from sdseg_gui.document import Document
from sdseg_gui.tools import region
from sdseg_gui.tools.base import Pointer, Tool
from sdseg_gui.tools.region import Grip
from sdseg_gui.view_state import ViewState


@dataclass(frozen=True)
class _Drag:
    """How a drag began; `grip` is None while a new box is drawn."""

    start: Pointer
    grip: Grip | None
    box: Box | None
    index: int


class BoxTool(Tool):
    """Draws, moves, resizes and deepens the box of a case; each finished drag is an undo step.

    A drag outside draws a new box, the inside moves it, an edge or a corner resizes it. Shift and
    an edge changes the range of slices. In a case of one slice Shift does nothing.
    """

    def __init__(self, document: Document, view: ViewState, parent: QObject | None = None) -> None:
        super().__init__(document, view, parent)
        self._drag: _Drag | None = None
        self._draft: Box | None = None
        document.case_opened.connect(self.cancel)

    @property
    def box(self) -> Box | None:
        """The box as it would be if the drag ended now."""
        case = self._document.case
        return self._draft or (case.box if case else None)

    @property
    def is_dragging(self) -> bool:
        """True between press and release."""
        return self._drag is not None

    def covers_slice(self) -> bool:
        """True if the box covers the slice shown."""
        box, geometry = self.box, self.geometry
        if box is None or geometry is None:
            return False
        return self._view.slice_index in box.range_along(geometry.plane)

    def grip(self, pointer: Pointer) -> Grip | None:
        """What a press here would hold, or None if it would begin a new box."""
        if self._drag is not None:
            return self._drag.grip
        box, geometry = self.box, self.geometry
        if box is None or geometry is None or not self.covers_slice():
            return None
        return region.grip_at(box, geometry.plane, pointer.row, pointer.column, pointer.reach)

    def press(self, pointer: Pointer) -> None:
        """Begins a drag."""
        if self._drag is None and self._slice_is_loaded():
            self._drag = _Drag(pointer, self.grip(pointer), self.box, self._view.slice_index)

    def move(self, pointer: Pointer) -> None:
        """Shows what the drag would give."""
        if self._drag is not None:
            self._draft = self._dragged(self._drag, pointer)
            self.shape_changed.emit()

    def release(self, pointer: Pointer) -> None:
        """Keeps the box, if the drag changed it."""
        if self._drag is None:
            return
        self.move(pointer)
        draft, before = self._draft, self._drag.box
        self.cancel()
        if draft is not None and draft != before:
            self._document.set_box(draft)

    def cancel(self) -> bool:
        """Forgets the unfinished drag."""
        was_dragging = self._drag is not None
        self._drag = self._draft = None
        self.shape_changed.emit()
        return was_dragging

    def delete(self) -> bool:
        """Clears the box."""
        case = self._document.case
        if case is None or case.box is None:
            return False
        self.cancel()
        self._document.set_box(None)
        return True

    def _dragged(self, drag: _Drag, pointer: Pointer) -> Box | None:
        geometry = self.geometry
        if geometry is None:
            return None
        rows, columns = pointer.row - drag.start.row, pointer.column - drag.start.column
        if drag.grip is None or drag.box is None:
            if not _is_far(rows, columns, pointer.reach):
                return None
            start, end = (drag.start.row, drag.start.column), (pointer.row, pointer.column)
            return region.drawn(geometry, drag.index, start, end)
        if drag.grip.is_inside:
            return region.moved(geometry, drag.box, rows, columns)
        if drag.start.shift:
            if geometry.slice_count == 1:
                return drag.box
            return region.deepened(geometry, drag.box, drag.grip, rows, columns)
        return region.resized(geometry, drag.box, drag.grip, pointer.row, pointer.column)


def _is_far(rows: float, columns: float, reach: tuple[float, float]) -> bool:
    """False while the pointer has hardly moved: a click is no box."""
    return max(abs(rows) / reach[0], abs(columns) / reach[1]) > 0.5
