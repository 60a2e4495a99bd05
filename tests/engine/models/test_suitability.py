"""What tells without a network that a model is not meant for a scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.box import Box
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from engine.models.schema import FitStatistic, ModelInfo, Preprocessing
from engine.models.suitability import looks_grey, mismatch, needs_box, slicing_axis
from tests.tiny_model import mr_scan, picture_scan, tiny_info


def colour_scan(values: np.ndarray) -> Volume:
    return Volume(values[None], picture_grid(*values.shape[:2]), modality="picture")


def grey_values(dtype: type = np.uint8) -> np.ndarray:
    top = int(np.iinfo(dtype).max)
    values = np.random.default_rng(0).integers(0, top, (60, 80, 1), endpoint=True)
    return values.repeat(3, axis=2).astype(dtype)


def fitted(modalities: tuple[str, ...], colour: bool | None = None, **changes: object) -> ModelInfo:
    fit = FitStatistic(threshold=1.0, modalities=modalities, colour=colour)
    return tiny_info(fit=fit, **changes)


# Grey or colour


def test_one_channel_is_grey() -> None:
    assert looks_grey(mr_scan())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_three_equal_channels_are_grey(dtype: type) -> None:
    assert looks_grey(colour_scan(grey_values(dtype)))


def test_a_colour_picture_is_not_grey() -> None:
    assert not looks_grey(picture_scan())


@pytest.mark.parametrize(("levels", "expected"), [(5, True), (8, False)])
def test_the_few_levels_that_jpeg_adds_do_not_make_a_picture_coloured(
    levels: int, expected: bool
) -> None:
    values = grey_values().clip(0, 200)
    values[:, :, 0] += np.uint8(levels)
    assert looks_grey(colour_scan(values)) is expected


def test_sixteen_bits_are_judged_by_their_own_range() -> None:
    values = grey_values(np.uint16).clip(0, 60_000)
    values[:, :, 2] += np.uint16(1000)  # 1.5 % of full scale; far beyond 255
    assert looks_grey(colour_scan(values))
    values[:, :, 2] += np.uint16(1000)
    assert not looks_grey(colour_scan(values))


@pytest.mark.parametrize(("side", "expected"), [(18, True), (45, False)])
def test_a_small_coloured_mark_on_a_grey_picture_is_no_colour_picture(
    side: int, expected: bool
) -> None:
    values = grey_values().repeat(3, axis=0).repeat(3, axis=1)  # 180 x 240
    values[60 : 60 + side, 80 : 80 + side] = (255, 0, 0)
    assert looks_grey(colour_scan(values)) is expected


# Modality


def test_a_model_that_was_never_measured_says_nothing() -> None:
    assert mismatch(tiny_info(), mr_scan()) == ""


def test_another_modality_is_named() -> None:
    info = fitted(("CR", "DX", "picture"))
    assert mismatch(info, picture_scan()) == ""
    assert mismatch(info, mr_scan()) == "it was made for CR or DX or picture, and this is MR"


def test_an_unknown_modality_is_given_the_benefit_of_the_doubt() -> None:
    assert mismatch(fitted(("MR",)), replace(mr_scan(), modality="")) == ""


def test_colour_and_grey_are_told_apart_only_where_the_model_minds() -> None:
    grey, coloured = colour_scan(grey_values()), picture_scan()
    assert mismatch(fitted(("picture",), True), coloured) == ""
    assert mismatch(fitted(("picture",), False), grey) == ""
    assert mismatch(fitted(("picture",), True), grey) == "it was made for colour pictures"
    assert mismatch(fitted(("picture",), False), coloured) == "it was made for grey pictures"
    for scan in (grey, coloured):
        assert mismatch(fitted(("picture",), None), scan) == ""


# Plane and size


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_model_slices_along_the_scan_or_along_its_own_plane(plane: int) -> None:
    scan = replace(mr_scan(), plane=plane, loaded=np.ones(mr_scan().grid.shape[plane], bool))
    assert slicing_axis(tiny_info(), scan) == plane
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        assert slicing_axis(tiny_info(plane=name), scan) == axis


def with_field(field_mm: float | None, plane: str = "scan") -> ModelInfo:
    return tiny_info(preprocessing=Preprocessing(size=64, field_mm=field_mm), plane=plane)


def block(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Volume:
    k, j, i = spacing
    grid = Grid(shape, np.diag([-i, -j, k, 1.0]))
    return Volume(np.zeros(shape, np.int16), grid, modality="MR")


def test_a_box_is_wanted_from_one_and_a_half_fields_on() -> None:
    scan = block((40, 60, 90), (10.0, 1.0, 1.0))  # slices of 60 x 90 mm
    assert not needs_box(with_field(60.0), scan, None)
    assert needs_box(with_field(59.9), scan, None)
    assert not needs_box(with_field(None), scan, None)


def test_only_lengths_within_the_slices_that_the_model_cuts_count() -> None:
    scan = block((40, 60, 90), (10.0, 1.0, 1.0))  # 400 mm from slice to slice
    assert not needs_box(with_field(60.0, "axial"), scan, None)
    assert needs_box(with_field(60.0, "coronal"), scan, None)
    assert needs_box(with_field(60.0, "sagittal"), scan, None)


def test_millimetres_count_and_not_pixels() -> None:
    assert needs_box(with_field(64.0), block((4, 100, 100), (1.0, 1.0, 1.0)), None)
    assert not needs_box(with_field(64.0), block((4, 100, 100), (1.0, 0.5, 0.5)), None)


def test_a_box_that_is_small_enough_does() -> None:
    scan = block((40, 200, 200), (1.0, 1.0, 1.0))
    assert needs_box(with_field(64.0), scan, None)
    assert not needs_box(with_field(64.0), scan, Box((5, 10, 10), (35, 70, 100)))
    assert needs_box(with_field(64.0), scan, Box((5, 10, 10), (35, 70, 120)))


def test_a_picture_of_unknown_size_never_wants_a_box() -> None:
    assert not needs_box(with_field(10.0), picture_scan(500, 700), None)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 5.0)] * 3),
    field=st.floats(1.0, 200.0),
    plane=st.sampled_from(["scan", "axial", "coronal", "sagittal"]),
)
def test_the_whole_as_a_box_is_no_different_from_no_box(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], field: float, plane: str
) -> None:
    scan, info = block(shape, spacing), with_field(field, plane)
    assert needs_box(info, scan, Box((0, 0, 0), shape)) == needs_box(info, scan, None)
    if not needs_box(info, scan, None):
        assert not needs_box(with_field(field * 2, plane), scan, None)
