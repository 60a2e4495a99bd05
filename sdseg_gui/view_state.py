"""How the case is looked at: slice, window, tool, active label, overlay."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from engine.domain.case import Case

TOOLS = ("brush", "eraser", "box", "pan")
SMALLEST_BRUSH = 0.2
LARGEST_BRUSH = 500.0


class ViewState(QObject):
    """What the canvas and the panels share; nothing here is saved with a case."""

    slice_changed = Signal(int)
    window_changed = Signal()
    tool_changed = Signal(str)
    overlay_changed = Signal()
    brush_changed = Signal()
    active_label_changed = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._slice_index = 0
        self._slice_count = 0
        self._window = (127.5, 255.0)
        self._tool = "pan"
        self._brush_diameter = 10.0
        self._active_label = 0
        self._overlay_visible = True
        self._overlay_opacity = 0.45
        self._outline_only = False

    @property
    def slice_index(self) -> int:
        """Index of the shown slice, along the scan's plane."""
        return self._slice_index

    @property
    def slice_count(self) -> int:
        """Number of slices; 0 without a case."""
        return self._slice_count

    @property
    def window(self) -> tuple[float, float]:
        """(level, width) in real values."""
        return self._window

    @property
    def tool(self) -> str:
        """One of `TOOLS`."""
        return self._tool

    @property
    def brush_diameter(self) -> float:
        """In mm, or in pixels where the scan is not calibrated."""
        return self._brush_diameter

    @property
    def active_label(self) -> int:
        """Id of the label that the brush paints; 0 if there is none."""
        return self._active_label

    @property
    def overlay_visible(self) -> bool:
        """False hides all labels."""
        return self._overlay_visible

    @property
    def overlay_opacity(self) -> float:
        """0..1."""
        return self._overlay_opacity

    @property
    def outline_only(self) -> bool:
        """True shows the labels' edges alone."""
        return self._outline_only

    def set_slice(self, index: int) -> None:
        """Shows another slice; clipped to the scan."""
        index = min(max(index, 0), max(self._slice_count - 1, 0))
        if index != self._slice_index:
            self._slice_index = index
            self.slice_changed.emit(index)

    def set_window(self, level: float, width: float) -> None:
        """Window and level in real values; the width stays positive."""
        window = (float(level), max(float(width), 1e-6))
        if window != self._window:
            self._window = window
            self.window_changed.emit()

    def set_tool(self, name: str) -> None:
        """One of `TOOLS`."""
        if name not in TOOLS:
            raise ValueError(name)
        if name != self._tool:
            self._tool = name
            self.tool_changed.emit(name)

    def set_brush_diameter(self, diameter: float) -> None:
        """In mm, or in pixels where the scan is not calibrated."""
        diameter = min(max(float(diameter), SMALLEST_BRUSH), LARGEST_BRUSH)
        if diameter != self._brush_diameter:
            self._brush_diameter = diameter
            self.brush_changed.emit()

    def set_active_label(self, label_id: int) -> None:
        """The label that the brush paints; 0 for none."""
        if label_id != self._active_label:
            self._active_label = label_id
            self.active_label_changed.emit(label_id)

    def set_overlay(
        self,
        visible: bool | None = None,
        opacity: float | None = None,
        outline: bool | None = None,
    ) -> None:
        """Changes what is named."""
        before = (self._overlay_visible, self._overlay_opacity, self._outline_only)
        if visible is not None:
            self._overlay_visible = visible
        if opacity is not None:
            self._overlay_opacity = min(max(opacity, 0.0), 1.0)
        if outline is not None:
            self._outline_only = outline
        if before != (self._overlay_visible, self._overlay_opacity, self._outline_only):
            self.overlay_changed.emit()

    def reset_for(self, case: Case | None) -> None:
        """The state to start a case with: middle slice, its window, a brush that suits its size."""
        from engine.imaging.window_level import default_window

        self._slice_count = case.scan.slice_count if case else 0
        self._slice_index = self._first_slice(case)
        if case is not None:
            self._window = default_window(case.scan)
            rows, columns = case.scan.slice_shape
            pixel = min(case.scan.slice_spacing) if case.scan.grid.calibrated else 1.0
            self._brush_diameter = max(round(min(rows, columns) * pixel / 40.0, 1), 2.0 * pixel)
        first = next(iter(case.labels), None) if case else None
        self._active_label = first.id if first else 0
        self.slice_changed.emit(self._slice_index)
        self.window_changed.emit()
        self.brush_changed.emit()
        self.active_label_changed.emit(self._active_label)

    @staticmethod
    def _first_slice(case: Case | None) -> int:
        if case is None:
            return 0
        if case.box is not None:
            span = case.box.range_along(case.scan.plane)
            return span[len(span) // 2]
        return case.scan.slice_count // 2
