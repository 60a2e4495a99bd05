"""What follows the pointer: the brush ring, its preview, the mouse cursor, the voxel's name."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor

from engine.domain.box import Index3
from engine.domain.labels import PALETTE
from sdseg_gui.canvas.mouse import Drag, MouseRouter
from sdseg_gui.canvas.slice_view import SliceView
from sdseg_gui.document import Document
from sdseg_gui.tools.base import Pointer
from sdseg_gui.tools.box import BoxTool
from sdseg_gui.tools.brush import BrushTool
from sdseg_gui.tools.region import Grip
from sdseg_gui.view_state import ViewState

Shape = Qt.CursorShape
_ERASER = QColor(244, 246, 248)


class Hover(QObject):
    """Keeps the pointer's companions up to date; paints nothing into the label map."""

    voxel_changed = Signal(object)  # (k, j, i) or None

    def __init__(
        self,
        canvas: SliceView,
        mouse: MouseRouter,
        document: Document,
        view: ViewState,
        brush: BrushTool,
        box: BoxTool,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas, self._mouse, self._document, self._view = canvas, mouse, document, view
        self._brush, self._box = brush, box
        self._voxel: Index3 | None = None
        mouse.hovered.connect(self.refresh)
        view.brush_changed.connect(self.refresh)
        view.tool_changed.connect(self.refresh)
        view.active_label_changed.connect(self.refresh)
        document.case_opened.connect(self.refresh)

    def refresh(self) -> None:
        """Looks again at where the pointer is."""
        pointer = self._mouse.pointer()
        self._follow_brush(pointer)
        self._canvas.viewport().setCursor(self._cursor(pointer))
        voxel = None if pointer is None else self._voxel_under(pointer)
        if voxel != self._voxel:
            self._voxel = voxel
            self.voxel_changed.emit(voxel)

    def _follow_brush(self, pointer: Pointer | None) -> None:
        ring, footprint = self._canvas.ring, self._canvas.footprint
        is_shown = pointer is not None and self._brush_is_next()
        ring.setVisible(is_shown)
        stroke = None
        if pointer is not None and is_shown:
            erases, blocked = self._brush.erases(pointer.control), self._brush.is_blocked
            colour = _ERASER if erases else self._label_colour()
            radius = self._view.brush_diameter / 2 * self._canvas.look().scale
            ring.set_brush(radius, colour, erases=erases, blocked=blocked and not erases)
            at = self._mouse.at()
            if at is not None:
                ring.setPos(at)
            if self._mouse.drag is Drag.NONE and not erases and not blocked:
                stroke = self._brush.footprint(pointer)
                if stroke is not None:
                    footprint.set_stroke(stroke, colour)
        footprint.setVisible(stroke is not None)

    def _brush_is_next(self) -> bool:
        if self._mouse.drag is Drag.NONE:
            return self._mouse.current_tool is self._brush and not self._mouse.pans_next
        return self._mouse.drag is Drag.TOOL and self._mouse.current_tool is self._brush

    def _label_colour(self) -> QColor:
        case = self._document.case
        label = case.labels.get(self._view.active_label) if case else None
        return QColor(*(label.colour if label else PALETTE[0]))

    def _cursor(self, pointer: Pointer | None) -> Qt.CursorShape:
        if pointer is None:
            return Shape.ArrowCursor
        if self._mouse.drag is Drag.PAN:
            return Shape.ClosedHandCursor
        if self._mouse.drag is Drag.WINDOW:
            return Shape.SizeAllCursor
        if self._mouse.pans_next:
            return Shape.OpenHandCursor
        if self._mouse.current_tool is self._brush:
            return Shape.CrossCursor
        if self._mouse.current_tool is self._box:
            return self._box_cursor(self._box.grip(pointer))
        return Shape.ArrowCursor

    def _box_cursor(self, grip: Grip | None) -> Qt.CursorShape:
        if grip is None:
            return Shape.CrossCursor
        if grip.is_inside:
            return Shape.SizeAllCursor
        if grip.columns == 0:
            return Shape.SizeVerCursor
        if grip.rows == 0:
            return Shape.SizeHorCursor
        down = -grip.rows if self._canvas.look().rows_run_up else grip.rows
        return Shape.SizeFDiagCursor if down == grip.columns else Shape.SizeBDiagCursor

    def _voxel_under(self, pointer: Pointer) -> Index3 | None:
        geometry = self._brush.geometry
        if geometry is None:
            return None
        rows, columns = geometry.slice_shape
        if not (0 <= pointer.row < rows and 0 <= pointer.column < columns):
            return None
        index = min(self._view.slice_index, geometry.slice_count - 1)
        return geometry.voxel(index, int(pointer.row), int(pointer.column))
