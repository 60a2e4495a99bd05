"""Brush and eraser."""

from __future__ import annotations

from PySide6.QtCore import QObject

from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.editing.brush import Stroke, stroke_mask
from sdseg_gui.document import Document
from sdseg_gui.history import Step
from sdseg_gui.tools.base import Pointer, Tool
from sdseg_gui.tools.geometry import SliceGeometry
from sdseg_gui.view_state import ViewState

Spot = tuple[int, float, float]  # slice, row, column


class BrushTool(Tool):
    """Paints the active label, or erases, with a disc; one stroke is one undo step."""

    def __init__(self, document: Document, view: ViewState, parent: QObject | None = None) -> None:
        super().__init__(document, view, parent)
        self._step: Step | None = None  # of the stroke being painted
        self._value = 0
        self._last: Spot | None = None
        document.case_opened.connect(self._forget)
        document.undoing.connect(self._forget)

    def erases(self, control: bool) -> bool:
        """True if a stroke begun now would erase."""
        return control or self._view.tool == "eraser"

    def footprint(self, pointer: Pointer) -> Stroke | None:
        """(rows, columns, mask) that a single click here would set; None without a case."""
        geometry = self.geometry
        return None if geometry is None else self._stroke(geometry, [(pointer.row, pointer.column)])

    @property
    def is_blocked(self) -> bool:
        """True if the active label is locked, so that the brush can't paint."""
        case = self._document.case
        label = case.labels.get(self._view.active_label) if case else None
        return label is not None and label.locked

    def press(self, pointer: Pointer) -> None:
        """Begins a stroke."""
        if self._step is not None or not self._slice_is_loaded():
            return
        erases = self.erases(pointer.control)
        if not erases and self.is_blocked:
            return
        if not self._view.overlay_visible:
            self._view.set_overlay(visible=True)  # nobody should paint what they can't see
        self._step = self._document.begin_step("Erase" if erases else "Paint")
        self._value = 0 if erases else self._label_to_paint()
        self._last = None
        self._paint(pointer)

    def move(self, pointer: Pointer) -> None:
        """Goes on with the stroke, without gaps however fast the pointer is."""
        if self._step is not None:
            if self._document.step is not self._step:  # saving has closed it: the rest is another
                self._step = self._document.begin_step(self._step.name)
            self._paint(pointer)

    def release(self, pointer: Pointer) -> None:
        """Ends the stroke."""
        step = self._step
        self._forget()
        if step is not None:
            self._document.end_step(step)

    def cancel(self) -> bool:
        """Takes the unfinished stroke back."""
        step = self._step
        self._forget()
        if step is not None:
            self._document.cancel_step(step)
        return step is not None

    def _forget(self) -> None:
        self._step = None
        self._last = None

    def _label_to_paint(self) -> int:
        """The active label's id; a case without labels gets its first one."""
        case = self._document.case
        assert case is not None
        if case.labels.get(self._view.active_label) is None:
            self._activate_some_label(case.labels)
        return self._view.active_label

    def _activate_some_label(self, labels: LabelList) -> None:
        free = next((label for label in labels if not label.locked), None)
        if free is None:
            labels = labels.added(f"Label {len(labels) + 1}")
            free = labels.labels[-1]
            self._document.set_labels(labels, f"Add {free.name}")
        self._view.set_active_label(free.id)

    def _paint(self, pointer: Pointer) -> None:
        geometry, case = self.geometry, self._document.case
        if geometry is None or case is None or not self._slice_is_loaded():
            return
        index = self._view.slice_index
        points = [(pointer.row, pointer.column)]
        if self._last is not None and self._last[0] == index:
            points.insert(0, self._last[1:])
        self._last = (index, pointer.row, pointer.column)
        rows, columns, mask = self._stroke(geometry, points)
        if mask.any():
            box = geometry.box(range(index, index + 1), rows, columns)
            edit = case.label_map.make_edit(
                box, geometry.lifted(mask), self._value, Origin.HAND, case.labels.locked_ids
            )
            self._document.add(edit)

    def _stroke(self, geometry: SliceGeometry, points: list[tuple[float, float]]) -> Stroke:
        # A pointer at 3.5 is on the centre of pixel 3, which the stroke calls 3.0.
        centred = [(row - 0.5, column - 0.5) for row, column in points]
        radius = self._view.brush_diameter / 2
        return stroke_mask(centred, radius, geometry.slice_shape, geometry.pixel_spacing)
