"""Overlay opacity, outline, brush size."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDoubleSpinBox, QFormLayout, QSlider, QWidget

from sdseg_gui.document import Document
from sdseg_gui.panels.parts import column, heading
from sdseg_gui.view_state import LARGEST_BRUSH, SMALLEST_BRUSH, ViewState


class DisplayPanel(QWidget):
    """What is set now and then with the mouse."""

    def __init__(self, document: Document, view: ViewState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document, self._view = document, view
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setRange(0, 100)
        self._opacity.setToolTip("How strongly labels cover the picture; O shows edges only")
        self._opacity.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._brush = QDoubleSpinBox()
        self._brush.setRange(SMALLEST_BRUSH, LARGEST_BRUSH)
        self._brush.setDecimals(1)
        self._brush.setMinimumHeight(28)
        self._brush.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self._brush.setToolTip("Diameter of the brush; [ and ], or Shift and the wheel")
        self._brush.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        layout = column(self)
        layout.addWidget(heading("Display and brush"))
        form = QFormLayout()
        form.addRow("Labels", self._opacity)
        form.addRow("Brush", self._brush)
        layout.addLayout(form)
        self._opacity.valueChanged.connect(self._set_opacity)
        self._brush.valueChanged.connect(view.set_brush_diameter)
        view.overlay_changed.connect(self._show)
        view.brush_changed.connect(self._show)
        document.case_opened.connect(self._show)
        self._show()

    def _set_opacity(self, percent: int) -> None:
        self._view.set_overlay(opacity=percent / 100.0)

    def _show(self) -> None:
        case = self._document.case
        calibrated = case is not None and case.scan.grid.calibrated
        self._brush.setSuffix(" mm" if calibrated else " px")
        for widget, value in (
            (self._opacity, round(self._view.overlay_opacity * 100)),
            (self._brush, self._view.brush_diameter),
        ):
            widget.blockSignals(True)
            widget.setValue(value)  # type: ignore[arg-type]
            widget.blockSignals(False)
