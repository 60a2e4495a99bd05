"""Dice and IoU: drawn by hand, and what holds for all masks; MONAI agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from engine.evaluation.metrics import dice, iou

Mask = NDArray[np.bool_]


def mask(drawing: str) -> Mask:
    return np.array([[c == "#" for c in line] for line in drawing.split()])


LEFT = mask("""
    ##..
    ##..
    ....""")
MIDDLE = mask("""
    .##.
    .##.
    .##.""")
RIGHT = mask("""
    ...#
    ...#
    ...#""")

two_masks = array_shapes(min_dims=1, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[arrays(np.bool_, shape)] * 2)
)
examples = settings(max_examples=200, deadline=None)


def test_hand_made_masks() -> None:
    # 4 and 6 pixels, 2 of them common: 2 * 2 / 10 and 2 / 8.
    assert dice(LEFT, MIDDLE) == pytest.approx(0.4) and iou(LEFT, MIDDLE) == pytest.approx(0.25)
    assert dice(LEFT, RIGHT) == iou(LEFT, RIGHT) == 0.0
    assert dice(MIDDLE, MIDDLE) == iou(MIDDLE, MIDDLE) == 1.0
    # 3 of 6, nothing beside: 2 * 3 / 9 and 3 / 6.
    half = mask(""".#.. .#.. .#..""")
    assert dice(half, MIDDLE) == pytest.approx(2 / 3) and iou(half, MIDDLE) == pytest.approx(0.5)


def test_two_empty_masks_agree_and_anything_against_nothing_scores_zero() -> None:
    empty = np.zeros_like(LEFT)
    assert dice(empty, empty) == iou(empty, empty) == 1.0
    for some in (LEFT, MIDDLE, RIGHT):
        assert dice(some, empty) == dice(empty, some) == 0.0
        assert iou(some, empty) == iou(empty, some) == 0.0


def test_any_value_but_zero_is_foreground() -> None:
    labels = LEFT.astype(np.uint8) * 200
    assert dice(labels, MIDDLE.astype(np.float32) * 0.5) == pytest.approx(0.4)
    assert iou(labels, MIDDLE) == pytest.approx(0.25)


def test_large_masks_do_not_overflow() -> None:
    large = np.ones((70_000,), dtype=np.uint8)
    assert dice(large, large) == iou(large, large) == 1.0
    assert dice(large, np.arange(70_000) < 35_000) == pytest.approx(2 / 3)


def test_masks_of_different_shape_are_never_compared() -> None:
    for score in (dice, iou):
        with pytest.raises(ValueError, match=r"shape|broadcast"):
            score(np.ones((2, 3)), np.ones((3, 2)))


@examples
@given(two_masks)
def test_both_are_symmetric_and_lie_in_0_to_1(masks: tuple[Mask, Mask]) -> None:
    a, b = masks
    assert dice(a, b) == dice(b, a) and iou(a, b) == iou(b, a)
    assert 0.0 <= iou(a, b) <= dice(a, b) <= 1.0


@examples
@given(two_masks)
def test_each_follows_from_the_other(masks: tuple[Mask, Mask]) -> None:
    overlap = iou(*masks)
    assert dice(*masks) == pytest.approx(2 * overlap / (1 + overlap))


@examples
@given(two_masks)
def test_one_means_equal_and_zero_means_apart(masks: tuple[Mask, Mask]) -> None:
    a, b = masks
    assert dice(a, a) == iou(a, a) == 1.0
    assert (dice(a, b) == 1.0) == np.array_equal(a, b)
    assert (iou(a, b) == 0.0) == (bool((a | b).any()) and not (a & b).any())


@examples
@given(two_masks)
def test_background_around_both_changes_nothing(masks: tuple[Mask, Mask]) -> None:
    a, b = masks
    wide = [np.pad(m, 3) for m in (a, b)]
    assert dice(*wide) == dice(a, b) and iou(*wide) == iou(a, b)


@examples
@given(two_masks, st.randoms(use_true_random=False))
def test_finding_one_more_right_pixel_never_lowers_a_score(
    masks: tuple[Mask, Mask], random: object
) -> None:
    answer, truth = masks
    missed = np.argwhere(truth & ~answer)
    if not len(missed):
        return
    better = answer.copy()
    better[tuple(missed[random.randrange(len(missed))])] = True  # type: ignore[attr-defined]
    assert dice(better, truth) > dice(answer, truth)
    assert iou(better, truth) > iou(answer, truth)


@examples
@given(two_masks)
def test_monai_agrees(masks: tuple[Mask, Mask]) -> None:
    from monai.metrics.meandice import compute_dice
    from monai.metrics.meaniou import compute_iou

    answer, truth = (torch.from_numpy(m)[None, None].float() for m in masks)
    assert dice(*masks) == pytest.approx(float(compute_dice(answer, truth, ignore_empty=False)))
    if masks[1].any():
        assert iou(*masks) == pytest.approx(float(compute_iou(answer, truth)))
