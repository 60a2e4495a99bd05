"""Picture and label layers: what is computed before Qt draws it."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QTransform

from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from sdseg_gui.canvas.label_layer import premultiplied, sample_screen
from sdseg_gui.canvas.picture_layer import grey_of, reduced


def test_sampling_takes_the_label_under_each_screen_pixel() -> None:
    values = np.arange(1, 7, dtype=np.uint8).reshape(2, 3)
    zoom = QTransform(2.0, 0.0, 0.0, 2.0, 10.0, 20.0)
    sample = sample_screen(values, zoom, QRectF(0, 0, 100, 100), 1.0)
    assert sample is not None
    seen, left, top = sample
    assert (left, top) == (10, 20)
    assert (seen == np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)).all()


def test_sampling_turns_rows_that_run_up_and_respects_device_pixels() -> None:
    values = np.array([[1], [2]], dtype=np.uint8)
    upward = QTransform(1.0, 0.0, 0.0, -1.0, 0.0, 2.0)
    sample = sample_screen(values, upward, QRectF(0, 0, 5, 5), 2.0)
    assert sample is not None
    assert sample[0][:, 0].tolist() == [2, 2, 1, 1]
    assert sample[0].shape == (4, 2)


def test_only_the_exposed_part_is_sampled() -> None:
    values = np.ones((1000, 1000), dtype=np.uint8)
    sample = sample_screen(values, QTransform(), QRectF(100, 200, 10, 20), 1.0)
    assert sample is not None
    assert sample[0].shape == (28, 18)  # four pixels more on each side, for the outline
    assert sample_screen(values, QTransform(), QRectF(2000, 0, 10, 10), 1.0) is None


def test_colours_are_multiplied_by_alpha() -> None:
    table = np.array([[255, 128, 0, 128], [9, 9, 9, 0]], dtype=np.uint8)
    assert [hex(x) for x in premultiplied(table)] == ["0x80804000", "0x0"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_reduction_is_the_mean_of_blocks(dtype: type) -> None:
    stored = np.array([[0, 4, 8], [8, 4, 8]], dtype=dtype)
    small = reduced(stored, 2)
    assert small.dtype == stored.dtype
    assert small.tolist() == [[4, 8]]
    assert reduced(stored, 2, mean=False).tolist() == [[0, 8]]
    assert reduced(stored, 1) is stored


def test_window_is_exact_for_stored_integers_and_floats() -> None:
    grid = Grid((1, 1, 4), np.diag([-1.0, -1.0, 1.0, 1.0]))
    whole = np.array([[[-1000, 0, 40, 3000]]], dtype=np.int16)
    scan = Volume(whole, grid, slope=1.0, intercept=0.0)
    assert grey_of(scan, scan.slice(0), (40.0, 400.0)).tolist() == [[0, 102, 128, 255]]
    real = Volume(whole.astype(np.float32), grid)
    assert grey_of(real, real.slice(0), (40.0, 400.0)).tolist() == [[0, 102, 128, 255]]


def test_padding_is_never_bright() -> None:
    grid = Grid((1, 1, 3), np.diag([-1.0, -1.0, 1.0, 1.0]))
    values = np.array([[[5000, 0, 100]]], dtype=np.int16)
    scan = Volume(values, grid, padding=5000)
    assert grey_of(scan, scan.slice(0), (50.0, 100.0)).tolist() == [[0, 0, 255]]
    inverted = Volume(values, grid, padding=0, inverted=True)
    assert grey_of(inverted, inverted.slice(0), (50.0, 100.0)).tolist() == [[0, 0, 0]]


def test_deep_colour_is_shown_by_its_high_bytes() -> None:
    pixels = np.full((1, 2, 2, 3), 0xAB12, dtype=np.uint16)
    scan = Volume(pixels, picture_grid(2, 2), modality="picture")
    assert (grey_of(scan, scan.slice(0), (0.0, 1.0)) == 0xAB).all()
