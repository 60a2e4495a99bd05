"""Shifted pictures: what changes, what must not, and that it is the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.peers import shifts
from benchmarks.peers.shifts import KINDS, Shift, shifts_for
from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume


def scan_of(kind: str) -> Volume:
    random = np.random.default_rng(3)
    if kind == "volume":
        ramp = np.linspace(100, 900, 12 * 20 * 16).reshape(12, 20, 16)
        array = (ramp + random.normal(0, 20, ramp.shape)).astype(np.int16)
        return Volume(array, Grid((12, 20, 16), np.diag([-1.0, -1.0, 1.0, 1.0])))
    shape = (1, 160, 240, 3) if kind == "colour" else (1, 160, 240)
    ramp = np.linspace(40, 200, 240)[None, None, :, None if kind == "colour" else ...]
    array = (ramp + random.normal(0, 15, shape)).clip(0, 255).astype(np.uint8)
    return Volume(array, picture_grid(160, 240), modality="picture")


KINDS_OF_SCAN = ("colour", "grey", "volume")


@pytest.mark.parametrize("kind", KINDS_OF_SCAN)
def test_every_shift_changes_the_values_alone_and_always_alike(kind: str) -> None:
    scan = scan_of(kind)
    before = scan.array.copy()
    for shift in shifts_for(scan):
        first, second = shift.apply(scan, "case"), shift.apply(scan, "case")
        assert (first.array == second.array).all(), shift.name
        assert first.array.dtype == scan.array.dtype and first.grid is scan.grid, shift.name
        assert np.abs(first.array.astype(float) - before).mean() > 0.5, shift.name
    assert (scan.array == before).all()


@pytest.mark.parametrize("kind", KINDS_OF_SCAN)
def test_names_are_unique_and_kinds_have_a_column(kind: str) -> None:
    found = shifts_for(scan_of(kind))
    assert len({s.name for s in found}) == len(found)
    assert {s.kind for s in found} <= set(KINDS)


def test_noise_differs_between_cases() -> None:
    scan = scan_of("grey")
    noise = next(s for s in shifts_for(scan) if s.kind == "noise")
    assert (noise.apply(scan, "one").array != noise.apply(scan, "two").array).any()


def test_brightness_is_a_factor_of_stored_values() -> None:
    scan = scan_of("grey")
    darker = next(s for s in shifts_for(scan) if s.name == "brightness: x 0.6").apply(scan, "case")
    assert np.abs(darker.array - 0.6 * scan.array.astype(float)).max() <= 0.51


def test_tone_curves_never_invert() -> None:
    ramp = torch.linspace(0.0, 1.0, 256)[None, None]
    for shift in shifts.GREY_SHIFTS:
        curve = shift.change(ramp, torch.Generator())[0, 0]
        assert (curve.diff() >= 0).all()
        assert curve[0] == 0 and curve[-1] == 1


def test_a_turn_of_hues_leaves_grey_alone_and_moves_red_to_green() -> None:
    turn = Shift("colours", "120", shifts._camera((1.0, 1.0, 1.0), 120.0, 1.0))
    scan = scan_of("grey")
    grey = replace(scan, array=np.repeat(scan.array[..., None], 3, axis=-1))
    moved = turn.apply(grey, "case").array.astype(int)
    assert np.abs(moved - grey.array).max() <= 1
    red = replace(grey, array=np.broadcast_to(np.uint8([200, 0, 0]), grey.array.shape).copy())
    assert turn.apply(red, "case").array[0, 0, 0].tolist() == [0, 200, 0]


def test_blur_keeps_the_mean_and_smooths_along_every_axis() -> None:
    point = torch.zeros(15, 15, 15)
    point[7, 7, 7] = 1.0
    blurred = shifts._volume_blur(1.0)(point, torch.Generator())
    assert blurred.sum().item() == pytest.approx(1.0, abs=1e-4)
    for axis in range(3):
        assert torch.allclose(blurred, blurred.flip(axis), atol=1e-6)
    assert blurred[8, 7, 7] == pytest.approx(blurred[7, 8, 7].item(), abs=1e-6)
    assert blurred[7, 7, 7] < 0.1


def test_a_bias_field_is_within_its_strength() -> None:
    field = shifts._bias_field(0.7)(torch.ones(9, 10, 11), torch.Generator().manual_seed(1))
    assert field.max().log().abs() == pytest.approx(0.7, abs=1e-4)
    assert (field > 0).all()
