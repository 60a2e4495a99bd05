"""HD95 against all pairs of surface voxels, measured one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from engine.evaluation.metrics import hd95

Mask = NDArray[np.bool_]
examples = settings(max_examples=100, deadline=None)
two_masks = array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.bool_, shape)] * 2)
)
steps = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 2.5, 5.0])] * 3)


def surface(mask: Mask) -> list[tuple[int, ...]]:
    """Voxels with a neighbour outside, face to face; outside is also beyond the array."""
    inside = {tuple(int(n) for n in v) for v in np.argwhere(mask)}
    moves = [
        tuple(step if a == axis else 0 for a in range(mask.ndim))
        for axis, step in product(range(mask.ndim), (-1, 1))
    ]
    return [v for v in inside if any(tuple(np.add(v, m).tolist()) not in inside for m in moves)]


def brute(a: Mask, b: Mask, spacing: tuple[float, ...]) -> float:
    ends = [np.array(surface(m), dtype=float) * spacing for m in (a, b)]
    distances = np.linalg.norm(ends[0][:, None] - ends[1][None], axis=2)
    return max(float(np.percentile(distances.min(axis=n), 95)) for n in (0, 1))


@examples
@given(two_masks, steps)
def test_all_pairs_of_surface_voxels_give_the_same(
    masks: tuple[Mask, Mask], spacing: tuple[float, float, float]
) -> None:
    a, b = masks
    mine = spacing[: a.ndim]
    found = hd95(a, b, mine)
    if not (a.any() and b.any()):
        assert found is None
        return
    assert found == pytest.approx(brute(a, b, mine), rel=1e-5)
    assert found == hd95(b, a, mine)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call
@examples
@given(two_masks, steps)
def test_it_is_what_monai_computes(
    masks: tuple[Mask, Mask], spacing: tuple[float, float, float]
) -> None:
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    a, b = masks
    if not (a.any() and b.any()):
        return
    mine = spacing[: a.ndim]
    tensors = [torch.from_numpy(m)[None, None].float() for m in masks]
    theirs = compute_hausdorff_distance(
        *tensors, include_background=True, percentile=95, spacing=list(mine)
    )
    # Theirs interpolates between two distances in single precision.
    assert hd95(a, b, mine) == pytest.approx(float(theirs), rel=1e-4)


@examples
@given(two_masks)
def test_background_around_both_changes_nothing(masks: tuple[Mask, Mask]) -> None:
    a, b = masks
    assert hd95(np.pad(a, 3), np.pad(b, 3)) == hd95(a, b)


def test_two_dots_lie_as_far_apart_as_the_spacing_says() -> None:
    a, b = (np.zeros((4, 5, 6), dtype=bool) for _ in range(2))
    a[0, 1, 1] = b[2, 1, 5] = True
    assert hd95(a, b) == pytest.approx((4 + 16) ** 0.5)
    assert hd95(a, b, (3.0, 9.0, 0.5)) == pytest.approx((36 + 4) ** 0.5)
    assert hd95(a, a, (3.0, 9.0, 0.5)) == 0.0


def test_one_far_voxel_in_a_hundred_does_not_count() -> None:
    a = np.zeros((12, 120), dtype=bool)
    a[5, 0:100] = True
    b = a.copy()
    b[11, 0] = True  # 6 pixels away: the Hausdorff distance is 6, its 95th percentile 0
    assert hd95(a, b) == 0.0


def test_a_picture_has_an_outline_though_its_array_has_three_axes() -> None:
    a, b = (np.zeros((1, 20, 20), dtype=bool) for _ in range(2))
    a[0, 2:18, 2:18] = True
    b[0, 6:14, 6:14] = True
    # Outlines 4 pixels apart, corners a little more; were every pixel surface, b would be inside.
    assert hd95(a, b) == hd95(a[0], b[0]) == pytest.approx(brute(a[0], b[0], (1.0, 1.0)))
    assert hd95(b, b) == 0.0
    hollow = a & ~b
    assert hd95(hollow, a) == pytest.approx(brute(hollow[0], a[0], (1.0, 1.0))) != 0.0
    for axis in (1, 2):
        turned = [np.moveaxis(m, 0, axis) for m in (hollow, a)]
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = 7.0
        assert hd95(*turned, spacing) == hd95(hollow, a)


def test_a_single_slice_of_a_volume_is_a_plate() -> None:
    a = np.zeros((3, 20, 20), dtype=bool)
    a[1, 2:18, 2:18] = True
    hollow = a.copy()
    hollow[1, 6:14, 6:14] = False
    # Above and below is nothing, so every voxel is surface, also where the other has its hole.
    assert hd95(hollow, a) == pytest.approx(brute(hollow, a, (1.0, 1.0, 1.0)))


def test_an_empty_mask_has_no_distance() -> None:
    some, none = np.ones((3, 4), dtype=bool), np.zeros((3, 4), dtype=bool)
    assert hd95(some, none) is hd95(none, some) is hd95(none, none) is None


def test_masks_of_different_shape_are_never_compared() -> None:
    with pytest.raises(ValueError, match="shape"):
        hd95(np.ones((1, 3)), np.ones((3, 3)))


def test_a_small_find_in_a_large_volume_is_quick_to_measure() -> None:
    import time

    a = np.zeros((300, 512, 512), dtype=np.uint8)
    a[100:110, 200:220, 200:220] = 1
    hd95(a[:, :8, :8] + 1, a[:, :8, :8] + 1)  # MONAI is imported by now
    started = time.perf_counter()
    assert hd95(a, np.roll(a, 3, axis=1)) == 3.0
    assert time.perf_counter() - started < 10.0
