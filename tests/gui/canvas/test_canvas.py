"""Navigation, window, frame, hover and the look of the canvas."""

from __future__ import annotations

import numpy as np
import pytest
import qimage2ndarray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from engine.domain.box import Box
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from sdseg_gui.canvas.slice_canvas import SliceCanvas
from sdseg_gui.document import Document
from sdseg_gui.view_state import ViewState

Button, Modifier = Qt.MouseButton, Qt.KeyboardModifier


def pixel(bench, place) -> tuple[int, int, int]:
    """The colour seen at (row, column)."""
    at = bench.screen(place).toPoint()
    red, green, blue, _ = bench.canvas.grab_view().pixelColor(at).getRgb()
    return red, green, blue


def test_wheel_turns_slices_and_stops_at_the_ends(open_case) -> None:
    bench = open_case()
    bench.view.set_slice(0)
    bench.wheel(-1)
    assert bench.view.slice_index == 1
    bench.wheel(-0.5)
    assert bench.view.slice_index == 1
    bench.wheel(-0.5)
    assert bench.view.slice_index == 2
    bench.wheel(-20)
    assert bench.view.slice_index == 4
    bench.wheel(1)
    assert bench.view.slice_index == 3


def test_control_wheel_zooms_about_the_pointer(open_case) -> None:
    bench = open_case()
    before, index = bench.screen((10, 12)), bench.view.slice_index
    scale = bench.canvas.scene_view.look().scale
    bench.wheel(3, (10, 12), Modifier.ControlModifier)
    assert bench.canvas.scene_view.look().scale == pytest.approx(scale * 1.2**3)
    after = bench.screen((10, 12))
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()))
    assert bench.view.slice_index == index
    bench.canvas.fit()
    assert bench.canvas.scene_view.look().scale == pytest.approx(scale)


def test_wheel_zooms_a_single_picture(open_case) -> None:
    bench = open_case(shape=(1, 40, 50))
    scale = bench.canvas.scene_view.look().scale
    bench.wheel(1)
    assert bench.canvas.scene_view.look().scale > scale


def test_shift_wheel_changes_the_brush(open_case) -> None:
    bench = open_case()
    bench.view.set_brush_diameter(10.0)
    bench.wheel(1, keys=Modifier.ShiftModifier)
    assert bench.view.brush_diameter > 10.0
    bench.wheel(-2, keys=Modifier.ShiftModifier)
    assert bench.view.brush_diameter < 10.0


@pytest.mark.parametrize("how", ["middle", "space", "tool"])
def test_pan(open_case, how: str) -> None:
    bench = open_case()
    before = bench.screen((0, 0))
    if how == "space":
        bench.key(Qt.Key.Key_Space)
    if how == "tool":
        bench.view.set_tool("pan")
    start, button = (20.0, 20.0), Button.MiddleButton if how == "middle" else Button.LeftButton
    bench.press(start, button)
    bench.move((25.0, 28.0))
    bench.release((25.0, 28.0), button)
    after = bench.screen((0, 0))
    scale = bench.canvas.scene_view.look().scale
    assert after.x() - before.x() == pytest.approx(8 * scale, abs=0.01)
    assert after.y() - before.y() == pytest.approx(5 * scale, abs=0.01)
    assert bench.labels.sum() == 0


def test_right_drag_changes_window_and_level(open_case) -> None:
    bench = open_case()
    bench.view.set_window(40.0, 400.0)
    bench.drag((10, 10), (10, 20), button=Button.RightButton)
    level, width = bench.view.window
    assert level == pytest.approx(40.0)
    assert width > 400.0
    bench.drag((10, 10), (20, 10), button=Button.RightButton)
    assert bench.view.window[0] > 40.0
    assert bench.labels.sum() == 0


def test_w_and_a_left_drag_do_the_same(open_case) -> None:
    bench = open_case()
    bench.view.set_window(40.0, 400.0)
    bench.key(Qt.Key.Key_W)
    bench.drag((10, 10), (10, 20))
    assert bench.view.window[1] > 400.0
    assert bench.labels.sum() == 0
    bench.key(Qt.Key.Key_W, down=False)
    bench.drag((10, 10), (10, 20))
    assert bench.labels.sum() > 0


def test_colour_has_no_window(open_case) -> None:
    pixels = np.zeros((1, 40, 50, 3), dtype=np.uint8)
    pixels[..., 0] = 200
    scan = Volume(pixels, picture_grid(40, 50), modality="picture")
    bench = open_case(scan)
    before = bench.view.window
    bench.drag((10, 10), (20, 20), button=Button.RightButton)
    assert bench.view.window == before
    assert pixel(bench, (20.5, 25.5)) == (200, 0, 0)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32])
def test_the_picture_is_seen_through_its_window(open_case, dtype: type) -> None:
    grid = Grid((3, 40, 50), np.diag([-1.0, -1.0, 1.0, 1.0]))
    values = np.full(grid.shape, 40, dtype=dtype)
    values[1] = 1000
    bench = open_case(Volume(values, grid))
    bench.view.set_window(520.0, 1200.0)  # -80 is black, 1120 is white
    bench.view.set_slice(0)
    assert pixel(bench, (20.5, 25.5)) == (26, 26, 26)
    bench.view.set_slice(1)
    assert pixel(bench, (20.5, 25.5)) == (230, 230, 230)
    bench.view.set_window(40.0, 400.0)
    assert pixel(bench, (20.5, 25.5)) == (255, 255, 255)


def test_labels_are_seen_in_their_colour_with_crisp_edges(open_case) -> None:
    bench = open_case()
    bench.view.set_window(1e6, 1.0)  # black picture
    bench.view.set_brush_diameter(9.0)
    bench.view.set_overlay(opacity=1.0)
    bench.drag((20.5, 25.5))
    bench.move((39, 49))
    colour = bench.document.case.labels.get(1).colour
    assert pixel(bench, (20.5, 25.5)) == colour
    assert pixel(bench, (20.5, 28.9)) == colour  # column 28 is in, 30 is out
    assert pixel(bench, (20.5, 30.1)) == (0, 0, 0)
    bench.view.set_overlay(outline=True)
    assert pixel(bench, (20.5, 25.5)) == (0, 0, 0)
    bench.view.set_overlay(visible=False, outline=False)
    assert pixel(bench, (20.5, 25.5)) == (0, 0, 0)


def test_undo_and_a_hidden_label_are_seen_at_once(open_case) -> None:
    bench = open_case()
    bench.view.set_window(1e6, 1.0)
    bench.view.set_brush_diameter(9.0)
    bench.drag((20.5, 25.5))
    bench.move((39, 49))
    assert pixel(bench, (20.5, 25.5)) != (0, 0, 0)
    bench.document.set_labels(bench.document.case.labels.changed(1, visible=False), "Hide")
    assert pixel(bench, (20.5, 25.5)) == (0, 0, 0)
    bench.document.undo()
    assert pixel(bench, (20.5, 25.5)) != (0, 0, 0)
    bench.document.undo()
    assert pixel(bench, (20.5, 25.5)) == (0, 0, 0)


def test_a_stroke_repaints_only_its_own_part(open_case, monkeypatch) -> None:
    bench = open_case(shape=(1, 400, 400))
    bench.press((200, 200))
    for place in (202, 204, 206):  # the first frames still belong to the opening of the case
        bench.move((place, place))
        QApplication.processEvents()
    layer, areas = bench.canvas.scene_view.labels, []
    coloured = layer._coloured

    def watched(values, ratio):
        areas.append(values.size)
        return coloured(values, ratio)

    monkeypatch.setattr(layer, "_coloured", watched)
    bench.canvas.scene_view.viewport().repaint()
    full = areas.pop()
    bench.move((210, 210))
    QApplication.processEvents()
    assert areas
    assert max(areas) < full / 10
    bench.release((210, 210))


def test_voxel_under_the_pointer(open_case) -> None:
    bench = open_case(shape=(30, 24, 20), plane=2)
    bench.view.set_slice(3)
    seen: list[object] = []
    bench.canvas.pointer_moved.connect(seen.append)
    bench.move((12.5, 7.5))
    bench.view.set_slice(4)
    bench.move((-3.0, 7.5))
    assert seen == [(12, 7, 3), (12, 7, 4), None]


def test_brush_ring_has_the_true_size(open_case) -> None:
    bench = open_case(spacing=(1.0, 2.0, 0.5))
    bench.view.set_tool("brush")
    bench.view.set_brush_diameter(12.0)
    bench.move((20, 25))
    view = bench.canvas.scene_view
    assert view.ring.isVisible()
    across = bench.screen((20, 25 + 6 / 0.5)).x() - bench.screen((20, 25)).x()
    assert view.ring.radius == pytest.approx(across)
    preview = qimage2ndarray.alpha_view(view.footprint.image)
    rows, columns = np.nonzero(preview)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (6, 24)
    bench.view.set_tool("box")
    assert not view.ring.isVisible()


def test_box_is_dragged_moved_resized_and_cleared(open_case) -> None:
    bench = open_case(shape=(20, 40, 50), spacing=(4.0, 1.0, 1.0))
    bench.view.set_slice(10)
    bench.view.set_tool("box")
    bench.drag((10.2, 12.2), (20, 20), (25.7, 27.6))
    assert bench.document.case.box == Box((8, 10, 12), (13, 26, 28))
    assert bench.canvas.scene_view.frame.isVisible()
    bench.drag((18, 20), (21, 22))
    assert bench.document.case.box == Box((8, 13, 14), (13, 29, 30))
    bench.drag((29, 30), (35, 40))
    assert bench.document.case.box == Box((8, 13, 14), (13, 35, 40))
    bench.drag((35, 25), (43, 25), keys=Modifier.ShiftModifier)
    assert bench.document.case.box == Box((8, 13, 14), (15, 35, 40))
    bench.view.set_slice(2)
    assert not bench.canvas.scene_view.frame.isVisible()
    bench.key(Qt.Key.Key_Delete)
    assert bench.document.case.box is None
    for _ in range(5):
        bench.document.undo()
    assert bench.document.case.box is None
    bench.document.redo()
    assert bench.document.case.box == Box((8, 10, 12), (13, 26, 28))
    assert bench.labels.sum() == 0


def test_escape_forgets_an_unfinished_box(open_case) -> None:
    bench = open_case()
    bench.view.set_tool("box")
    bench.press((5, 5))
    bench.move((20, 20))
    assert bench.canvas.scene_view.frame.isVisible()
    assert bench.canvas.cancel_shape()
    bench.release((20, 20))
    assert bench.document.case.box is None
    assert not bench.document.can_undo
    assert not bench.canvas.scene_view.frame.isVisible()


def test_a_slice_appears_when_it_is_loaded(open_case, qtbot) -> None:
    loaded = np.array([True, True, False, True, True])
    bench = open_case(loaded=loaded)
    bench.view.set_slice(2)
    assert bench.canvas.scene_view.hatch.isVisible()
    assert not bench.canvas.scene_view.picture.isVisible()
    bench.case.scan.loaded[2] = True
    qtbot.waitUntil(lambda: not bench.canvas.scene_view.hatch.isVisible(), timeout=2000)
    assert bench.canvas.scene_view.picture.isVisible()


def test_no_copy_of_the_volume_is_made(open_case) -> None:
    bench = open_case()
    layer = bench.canvas.scene_view.labels
    assert np.shares_memory(layer._values, bench.labels)


def test_an_empty_canvas_shows_a_hint_and_takes_no_harm(qtbot) -> None:
    canvas = SliceCanvas(Document(), ViewState())
    qtbot.addWidget(canvas)
    canvas.resize(640, 480)
    canvas.show()
    canvas.zoom_in()
    canvas.fit()
    assert not canvas.cancel_shape()
    image = canvas.grab_view()  # the array is a view of its memory
    seen = qimage2ndarray.rgb_view(image)
    assert seen.max() > 150  # something is written
    assert np.median(seen) < 20  # and it is quiet
