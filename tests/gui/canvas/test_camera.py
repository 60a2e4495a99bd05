"""The camera: true proportions, zoom about a point, nothing gets lost."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF

from sdseg_gui.canvas.camera import Camera
from sdseg_gui.tools.geometry import SliceGeometry


def camera_on(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    plane: int = 0,
    up: bool = False,
) -> Camera:
    camera = Camera()
    camera.resize(800, 600)
    camera.look_at(SliceGeometry(shape, spacing, plane), up)
    return camera


def test_anisotropic_pixels_keep_their_proportions() -> None:
    camera = camera_on((1, 100, 100), (1.0, 2.0, 0.5))
    assert camera.pixel_size[0] == pytest.approx(4 * camera.pixel_size[1])
    seen = camera.slice_on_screen()
    assert seen.height() == pytest.approx(580)
    assert seen.center().x() == pytest.approx(400)


def test_zoom_keeps_the_point_under_the_pointer() -> None:
    camera = camera_on((1, 512, 512), (1.0, 0.7, 0.7))
    at = QPointF(350, 240)
    before = camera.to_slice(at)
    camera.zoom(1.7, at)
    assert camera.to_slice(at) == pytest.approx(before)
    assert not camera.is_fitted


def test_head_is_up_in_coronal_slices() -> None:
    camera = camera_on((200, 50, 100), (1.0, 1.0, 1.0), plane=1, up=True)
    assert camera.to_screen(199, 50).y() < camera.to_screen(0, 50).y()
    row, column = camera.to_slice(camera.to_screen(17.25, 33.5))
    assert (row, column) == pytest.approx((17.25, 33.5))


def test_limits_of_zoom_and_pan() -> None:
    camera = camera_on((1, 512, 512), (1.0, 1.0, 1.0))
    for _ in range(100):
        camera.zoom(1.5)
    assert camera.magnification == pytest.approx(96.0)
    for _ in range(100):
        camera.zoom(0.5)
    assert camera.slice_on_screen().width() == pytest.approx(48.0)
    camera.pan(1e6, -1e6)
    assert camera.slice_on_screen().left() == pytest.approx(400.0)
    assert camera.slice_on_screen().bottom() == pytest.approx(300.0)


def test_a_fitted_slice_follows_the_window_and_a_zoomed_one_keeps_its_scale() -> None:
    camera = camera_on((1, 100, 100), (1.0, 1.0, 1.0))
    camera.resize(1200, 1000)
    assert camera.scale == pytest.approx(9.8)
    camera.zoom(2.0)
    camera.resize(400, 300)
    assert camera.scale == pytest.approx(19.6)
