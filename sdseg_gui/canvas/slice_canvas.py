"""The canvas: shows the case and lets the tools work on it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QVBoxLayout, QWidget

from engine.domain.box import Box
from engine.domain.case import Case
from engine.imaging.orientation import rows_run_up
from sdseg_gui.canvas.hover import Hover
from sdseg_gui.canvas.label_layer import OverlayStyle
from sdseg_gui.canvas.mouse import MouseRouter
from sdseg_gui.canvas.slice_view import SliceView
from sdseg_gui.canvas.words import box_caption, words_for
from sdseg_gui.document import Document
from sdseg_gui.tools.box import BoxTool
from sdseg_gui.tools.brush import BrushTool
from sdseg_gui.tools.geometry import SliceGeometry
from sdseg_gui.view_state import ViewState

_ZOOM_STEP = 1.25
_LOOK_AGAIN_MS = 200
_MISSING = "This slice is missing in its series"
_STILL_LOADING = "This slice is still being read"


class SliceCanvas(QWidget):
    """One slice of the open case, with its labels and what the mouse does to them.

    Signals:
        pointer_moved: (k, j, i) of the voxel under the pointer, or None.
    """

    pointer_moved = Signal(object)

    def __init__(self, document: Document, view: ViewState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document, self._view = document, view
        self._scene = SliceView(self)
        self._brush = BrushTool(document, view, self)
        self._box = BoxTool(document, view, self)
        tools = {"brush": self._brush, "eraser": self._brush, "box": self._box}
        self._mouse = MouseRouter(self._scene, document, view, tools, self)
        self._hover = Hover(self._scene, self._mouse, document, view, self._brush, self._box, self)
        # A slice that is still being read appears by itself.
        self._look_again = QTimer(self, interval=_LOOK_AGAIN_MS, singleShot=True)
        self._look_again.timeout.connect(self._show_slice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._scene)
        self.setFocusProxy(self._scene)
        self.setMinimumSize(240, 200)
        self._connect()
        self._open_case()

    def _connect(self) -> None:
        self._document.case_opened.connect(self._open_case)
        self._document.painted.connect(self._repaint)
        self._document.labels_changed.connect(self._restyle)
        self._document.box_changed.connect(self._place_frame)
        self._view.slice_changed.connect(self._show_slice)
        self._view.window_changed.connect(self._show_window)
        self._view.overlay_changed.connect(self._restyle)
        self._view.tool_changed.connect(self._place_frame)
        self._box.shape_changed.connect(self._place_frame)
        self._scene.camera_changed.connect(self._camera_changed)
        self._hover.voxel_changed.connect(self.pointer_moved)

    def fit(self) -> None:
        """Shows the whole slice."""
        self._scene.look().fit()
        self._scene.apply_camera()

    def zoom_in(self) -> None:
        """Enlarges the middle."""
        self._zoom(_ZOOM_STEP)

    def zoom_out(self) -> None:
        """The reverse."""
        self._zoom(1 / _ZOOM_STEP)

    def cancel_shape(self) -> bool:
        """Drops the unfinished stroke or box; True if there was one."""
        return self._brush.cancel() or self._box.cancel()

    def grab_view(self) -> QImage:
        """The canvas as it is seen."""
        return self._scene.grab().toImage()

    def set_open_key(self, key: str) -> None:
        """Names the key that opens a picture, for the hint of an empty canvas."""
        self._scene.open_key = key
        self._scene.viewport().update()

    @property
    def scene_view(self) -> SliceView:
        """The drawing area, for tests and measurements."""
        return self._scene

    def _zoom(self, factor: float) -> None:
        if self._document.case is not None:
            self._scene.look().zoom(factor)
            self._scene.apply_camera()

    def _open_case(self) -> None:
        case = self._document.case
        self._scene.set_empty(case is None)
        if case is None:
            self._scene.picture.show_slice(None, 0, self._view.window)
            self._scene.hatch.hide()
            self._scene.frame.hide()
            return
        scan = case.scan
        self._scene.look().look_at(SliceGeometry.of(scan), rows_run_up(scan.plane))
        self._restyle()
        self._show_slice()
        self._scene.apply_camera()

    def _index(self, case: Case) -> int:
        # The view state may still count the slices of the case before.
        return min(max(self._view.slice_index, 0), case.scan.slice_count - 1)

    def _show_slice(self) -> None:
        case = self._document.case
        if case is None:
            return
        index = self._index(case)
        is_loaded, is_missing = bool(case.scan.loaded[index]), index in case.scan.missing
        self._scene.picture.show_slice(case.scan, index, self._view.window)
        self._scene.labels.show_slice(case.label_map.slice(index))
        self._scene.hatch.setVisible(not is_loaded)
        self._scene.hatch.say(_MISSING if is_missing else _STILL_LOADING)
        if not is_loaded and not is_missing:
            self._look_again.start()
        self._place_frame()
        self._write()
        self._hover.refresh()

    def _show_window(self) -> None:
        self._scene.picture.set_window(self._view.window)
        self._write()

    def _restyle(self) -> None:
        case = self._document.case
        if case is not None:
            style = OverlayStyle(self._view.overlay_opacity, self._view.outline_only)
            self._scene.labels.set_style(case.labels, style)
            self._scene.labels.setVisible(self._view.overlay_visible)
            self._hover.refresh()

    def _repaint(self, box: Box) -> None:
        case = self._document.case
        if case is None:
            return
        index, plane = self._index(case), case.scan.plane
        if index in box.range_along(plane):
            # Asked for anew: a mask that was read from a file brings its own array.
            self._scene.labels.repaint_part(case.label_map.slice(index), *box.in_slice(plane))

    def _camera_changed(self) -> None:
        self._place_frame()
        self._write()
        self._hover.refresh()

    def _write(self) -> None:
        case = self._document.case
        if case is not None:
            camera = self._scene.look()
            self._scene.set_words(words_for(case, self._index(case), self._view.window, camera))

    def _place_frame(self) -> None:
        case, box, frame = self._document.case, self._box.box, self._scene.frame
        if case is None or box is None:
            frame.hide()
            return
        plane = case.scan.plane
        is_edited = self._view.tool == "box"
        caption = box_caption(case.scan, box) if is_edited else ""
        frame.set_frame(self._scene.screen_rect(*box.in_slice(plane)), caption, is_edited)
        frame.setVisible(self._index(case) in box.range_along(plane))
        self._hover.refresh()

    def leave_shape(self) -> None:
        """Ends an unfinished shape without keeping it, for the moment before the window closes."""
        self.cancel_shape()
        self._look_again.stop()
        self._scene.setCursor(Qt.CursorShape.ArrowCursor)
