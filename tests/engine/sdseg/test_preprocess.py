"""Into the network's square and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.box import Box
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from engine.models.schema import Preprocessing
from engine.sdseg.preprocess import intensity_range, place, prepare, restore

WHOLE = (slice(None), slice(None))


def grey(array: np.ndarray, **fields) -> Volume:
    return Volume(array[None], picture_grid(*array.shape), modality="picture", **fields)


def volume(array: np.ndarray, spacing=(1.0, 1.0, 1.0), **fields) -> Volume:
    k, j, i = spacing
    return Volume(array, Grid(array.shape, np.diag([-i, -j, k, 1.0])), **fields)


@given(
    rows=st.integers(1, 400),
    columns=st.integers(1, 400),
    fit=st.sampled_from(["squeeze", "pad"]),
    field=st.one_of(st.none(), st.floats(10, 500)),
    row_mm=st.floats(0.2, 5),
)
def test_a_region_always_lies_inside_the_square(rows, columns, fit, field, row_mm) -> None:
    rules = Preprocessing(size=64, fit=fit, field_mm=field)
    placement = place((rows, columns), (row_mm, 1.0), rules)
    for inner, offset in zip(placement.inner, placement.offset, strict=True):
        assert 1 <= inner <= 64 and offset >= 0 and offset + inner <= 64


@pytest.mark.parametrize("fit", ["squeeze", "pad"])
@pytest.mark.parametrize("shape", [(64, 64), (100, 37), (31, 200), (500, 600)])
def test_a_smooth_map_comes_back_where_it_was(fit, shape) -> None:
    rules = Preprocessing(size=128, fit=fit)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    ramp = (100.0 + 80.0 * rows / shape[0] + 40.0 * columns / shape[1]).astype(np.uint8)
    picture, placement = prepare(grey(ramp), 0, WHOLE, rules, (0.0, 255.0))
    back = (restore(picture[0], placement) + 1.0) / 2.0 * 255.0
    assert back.shape == shape
    assert np.abs(back - ramp).max() < 6.0


def test_padding_is_the_lowest_value_and_keeps_proportions() -> None:
    rules = Preprocessing(size=64, fit="pad")
    picture, placement = prepare(grey(np.full((20, 40), 255, np.uint8)), 0, WHOLE, rules, (0, 255))
    assert placement.inner == (32, 64) and placement.offset == (16, 0)
    assert (picture[:, 16:48] == 1.0).all()
    assert (picture[:, :16] == -1.0).all() and (picture[:, 48:] == -1.0).all()


def test_a_training_field_keeps_true_size() -> None:
    rules = Preprocessing(size=64, fit="pad", field_mm=64.0)
    assert place((32, 16), (1.0, 1.0), rules).inner == (32, 16)
    assert place((16, 16), (2.0, 1.0), rules).inner == (32, 16)
    assert place((128, 64), (1.0, 1.0), rules).inner == (64, 32)


def test_colour_becomes_grey_by_luma_for_a_grey_model() -> None:
    array = np.zeros((1, 8, 8, 3), np.uint8)
    array[..., 1] = 255
    scan = Volume(array, picture_grid(8, 8), modality="picture")
    rules = Preprocessing(size=32, channels="grey")
    picture, _ = prepare(scan, 0, WHOLE, rules, (0.0, 255.0))
    assert picture == pytest.approx(0.587 * 2 - 1, abs=1e-5)


def test_neighbours_are_the_three_slices_and_ends_repeat() -> None:
    array = np.arange(3, dtype=np.int16)[:, None, None] * np.ones((3, 8, 8), np.int16)
    rules = Preprocessing(size=32, channels="neighbours")
    scan = volume(array)
    values = [prepare(scan, k, WHOLE, rules, (0.0, 2.0))[0][:, 0, 0].tolist() for k in range(3)]
    assert values == [[-1, -1, 0], [-1, 0, 1], [0, 1, 1]]


def test_values_are_real_ones_and_a_chosen_window_wins() -> None:
    array = np.full((1, 8, 8), 1064, np.int16)
    scan = volume(array, intercept=-1024.0, unit="HU", modality="CT")
    rules = Preprocessing(size=32, intensity="window", window=(40.0, 400.0))
    assert intensity_range(scan, rules, None) == (-160.0, 240.0)
    assert intensity_range(scan, rules, None, window=(40.0, 80.0)) == (0.0, 80.0)
    picture, _ = prepare(scan, 0, WHOLE, rules, (-160.0, 240.0))
    assert picture == pytest.approx(0.0, abs=1e-6)


def test_percentiles_look_at_the_box_and_leave_padding_out() -> None:
    array = np.full((4, 20, 20), -2000, np.int16)
    array[1:3, 5:15, 5:15] = np.linspace(0, 100, 200).reshape(2, 10, 10)
    scan = volume(array, padding=-2000.0)
    rules = Preprocessing(size=32, intensity="percentile")
    low, high = intensity_range(scan, rules, None)
    assert low == pytest.approx(1, abs=1.5) and high == pytest.approx(99, abs=1.5)
    box = Box((1, 5, 5), (2, 15, 15))
    assert intensity_range(scan, rules, box)[1] < 55.0


def test_a_constant_slice_has_a_usable_range() -> None:
    scan = volume(np.full((1, 8, 8), 7, np.int16))
    low, high = intensity_range(scan, Preprocessing(size=32, intensity="percentile"), None)
    assert high > low


def test_slices_along_another_axis() -> None:
    array = np.zeros((4, 6, 8), np.int16)
    array[:, 2, :] = 10
    scan = volume(array)
    rules = Preprocessing(size=32)
    picture, placement = prepare(scan, 2, WHOLE, rules, (0.0, 10.0), axis=1)
    assert placement.native == (4, 8)
    assert (picture == 1.0).all()
