"""Into the network's square and back."""

import tracemalloc
from itertools import permutations

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.domain.box import Box
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from engine.io import open_case
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


def test_a_neighbour_that_is_not_loaded_is_not_looked_at() -> None:
    array = np.arange(5, dtype=np.int16)[:, None, None] * np.ones((5, 32, 32), np.int16)
    loaded = np.array([True, True, False, True, True])
    rules = Preprocessing(size=32, channels="neighbours")
    scan = volume(array, loaded=loaded)
    for index, expected in {1: (0, 1, 1), 3: (3, 3, 4)}.items():
        picture, _ = prepare(scan, index, WHOLE, rules, (0.0, 4.0))
        assert [(c.mean() + 1) * 2 for c in picture] == pytest.approx(expected)
    scan = volume(array.transpose(1, 2, 0).copy(), loaded=np.arange(32) != 9)
    picture, _ = prepare(scan, 1, WHOLE, rules, (0.0, 4.0), axis=2)
    assert [(c.mean() + 1) * 2 for c in picture] == pytest.approx((0, 1, 2))


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_the_range_leaves_out_what_is_not_loaded_also_in_a_box(plane: int) -> None:
    array = np.random.default_rng(0).integers(100, 164, (20, 20, 20)).astype(np.int16)
    gap = [slice(None)] * 3
    gap[plane] = slice(15, 16)
    array[tuple(gap)] = -3000
    scan = volume(array, plane=plane, loaded=np.arange(20) != 15)
    start, stop = [0, 0, 0], [20, 20, 20]
    start[plane], stop[plane] = 12, 18
    rules = Preprocessing(size=32, intensity="percentile")
    for box in (None, Box(tuple(start), tuple(stop))):
        assert intensity_range(scan, rules, box) == pytest.approx((100, 163), abs=1)


def test_a_gap_hardly_changes_the_sample_of_a_large_scan() -> None:
    """Both are sampled; before, a single gap had every voxel of the scan sorted."""
    array = np.random.default_rng(1).integers(0, 1000, (90, 256, 256)).astype(np.int16)
    rules = Preprocessing(size=32, intensity="percentile")
    whole = intensity_range(volume(array), rules, None)
    tracemalloc.start()
    broken = intensity_range(volume(array, loaded=np.arange(90) != 40), rules, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert broken == pytest.approx(whole, abs=2)
    assert peak < array.nbytes / 2


@pytest.mark.parametrize(("slope", "intercept"), [(1 / 255, 0.0), (2.0, -100.0), (-1.0, 255.0)])
def test_all_of_8_bits_is_all_of_the_real_range(tmp_path, slope: float, intercept: float) -> None:
    stored = (np.arange(1024) // 4).astype(np.uint8).reshape(32, 32, 1)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(slope, intercept)
    nibabel.save(image, tmp_path / "a.nii")
    scan = open_case(tmp_path / "a.nii").scan
    assert scan.array.dtype == np.uint8
    rules = Preprocessing(size=32, intensity="full")
    low, high = intensity_range(scan, rules, None)
    ends = (intercept, 255 * slope + intercept)
    assert (low, high) == pytest.approx((min(ends), max(ends)))
    picture, _ = prepare(scan, 0, WHOLE, rules, (low, high))
    assert picture.min() == pytest.approx(-1) and picture.max() == pytest.approx(1)
    brightest = np.unravel_index(picture[0].argmax(), (32, 32))
    assert scan.real(scan.array[0])[brightest] == pytest.approx(max(ends))


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


# As the authors prepare their pictures

PILLOW = {
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("how", PILLOW)
def test_pillow_s_own_resampling_is_repeated_to_the_bit(how: str) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (90, 130, 3)).astype(np.uint8)
    scan = Volume(colours[None], picture_grid(90, 130), modality="picture")
    rules = Preprocessing(size=64, resample=how)
    picture, _ = prepare(scan, 0, WHOLE, rules, intensity_range(scan, rules, None))
    expected = np.asarray(Image.fromarray(colours).resize((64, 64), PILLOW[how]))
    assert np.array_equal(np.rint((picture + 1.0) * 127.5), expected.transpose(2, 0, 1))


def test_corners_are_sampled_as_a_spline_zoom_of_order_one() -> None:
    values = np.random.default_rng(2).normal(size=(40, 1)) * np.ones((40, 30))
    scan = volume(values[None].astype(np.float32))
    rules = Preprocessing(size=64, intensity="window", window=(0.0, 20.0), resample="corners")
    picture, _ = prepare(scan, 0, WHOLE, rules, intensity_range(scan, rules, None))
    expected = np.interp(np.linspace(0, 39, 64), np.arange(40), values[:, 0]) / 10.0
    assert np.abs(picture[0] - expected[:, None]).max() < 1e-5


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_the_file_s_layout_is_what_nibabel_shows(tmp_path, order, signs) -> None:
    stored = np.random.default_rng(3).integers(0, 200, (64, 64, 64)).astype(np.uint8)
    affine = np.zeros((4, 4))
    for axis in range(3):
        affine[order[axis], axis] = signs[axis]
    affine[3, 3] = 1.0
    nibabel.Nifti1Image(stored, affine).to_filename(tmp_path / "a.nii")
    scan = open_case(tmp_path / "a.nii").scan
    rules = Preprocessing(size=64, layout="file", intensity="window", window=(100.0, 200.0))
    axis = scan.stored.axes.index(2)  # along the file's third axis
    number = 63 - 5 if scan.stored.flipped[axis] else 5
    picture, placement = prepare(scan, number, WHOLE, rules, (0.0, 200.0), axis)
    assert np.array_equal(np.rint((picture[0] + 1.0) * 100.0), stored[:, :, 5])
    back = restore(picture[0], placement)
    assert np.allclose((back + 1.0) * 100.0, scan.slice(number, axis), atol=1e-3)


def test_extremes_are_those_of_the_clipped_scan() -> None:
    rules = Preprocessing(size=64, intensity="window_extremes", window=(75.0, 400.0))
    wide = volume(np.array([-1000, 0, 900], np.int16).reshape(1, 1, 3))
    narrow = volume(np.array([-50, 0, 120], np.int16).reshape(1, 1, 3))
    outside = volume(np.full((1, 1, 3), 900, np.int16))
    assert intensity_range(wide, rules, None) == (-125.0, 275.0)
    assert intensity_range(narrow, rules, None) == (-50.0, 120.0)
    assert intensity_range(outside, rules, None) == (-125.0, 275.0)
