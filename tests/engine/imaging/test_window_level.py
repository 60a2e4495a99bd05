from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from engine.imaging.window_level import PRESETS, default_window, to_8bit


def volume(array, **options) -> Volume:
    return Volume(array, Grid(array.shape[:3], np.diag([-1.0, -1.0, 1.0, 1.0])), **options)


def test_the_ends_of_the_window_are_black_and_white():
    level, width = PRESETS["soft_tissue"]
    stored = np.array([-2000, 864, 1064, 1264, 3000], dtype=np.int16)  # HU + 1024
    grey = to_8bit(stored, 1.0, -1024.0, level, width)
    assert grey.tolist() == [0, 0, 128, 255, 255]
    inverted = to_8bit(stored, 1.0, -1024.0, level, width, inverted=True)
    assert inverted.tolist() == [255, 255, 128, 0, 0]


def test_8_bit_pictures_pass_unchanged_through_their_own_range():
    pixels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_8bit(pixels, 1.0, 0.0, 127.5, 255.0), pixels)


@given(
    stored=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]).flatmap(
        lambda t: arrays(t, array_shapes(max_dims=2, max_side=8))
    ),
    slope=st.floats(-3, 3).filter(lambda s: abs(s) > 0.01),
    level=st.floats(-2000, 2000),
    width=st.floats(0.5, 5000),
)
def test_the_table_of_small_integers_gives_what_the_formula_gives(stored, slope, level, width):
    by_table = to_8bit(stored, slope, -1024.0, level, width)
    by_formula = to_8bit(stored.astype(np.float64), slope, -1024.0, level, width)
    assert np.array_equal(by_table, by_formula)


def test_a_window_of_no_width_is_a_threshold():
    assert to_8bit(np.array([9, 11], np.int16), 1.0, 0.0, 10.0, 0.0).tolist() == [0, 255]


def test_the_files_window_comes_first():
    scan = volume(np.zeros((2, 3, 4), np.int16), window=(40.0, 400.0))
    assert default_window(scan) == (40.0, 400.0)


def test_percentiles_leave_out_padding_and_what_is_not_loaded():
    array = np.random.default_rng(0).integers(0, 1000, (3, 50, 60)).astype(np.int16)
    array[:, :30] = -2000
    array[2] = 30000
    loaded = np.array([True, True, False])
    level, width = default_window(volume(array, padding=-2000, loaded=loaded, slope=2.0))
    low, high = level - width / 2, level + width / 2
    assert low == pytest.approx(20, abs=15) and high == pytest.approx(1980, abs=15)


def test_pictures_begin_with_their_whole_range():
    grey = Volume(np.zeros((1, 3, 4), np.uint8), picture_grid(3, 4), modality="picture")
    assert default_window(grey) == (127.5, 255.0)
    wide = Volume(np.zeros((1, 3, 4, 3), np.uint16), picture_grid(3, 4), modality="picture")
    assert default_window(wide) == (32767.5, 65535.0)


def test_a_flat_scan_has_a_window_too():
    level, width = default_window(volume(np.full((2, 3, 4), 7, np.int16)))
    assert level == 7.0 and width > 0


def test_a_large_scan_is_sampled():
    array = np.tile(np.arange(1000, dtype=np.int16), (4, 1000, 1))
    level, width = default_window(volume(array))
    assert level == pytest.approx(500, abs=5) and width == pytest.approx(980, abs=5)
