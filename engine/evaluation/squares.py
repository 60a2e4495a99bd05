"""Masks and scores at the network's own size, where the authors' script compares them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from engine.domain.volume import Volume
from engine.models.schema import ModelInfo, Preprocessing
from engine.sdseg.preprocess import place, spacing_in_slice, turn_of

Maps = NDArray[np.float32]


def square_labels(maps: Maps, info: ModelInfo) -> NDArray[np.uint8]:
    """Class ids of one slice, uint8 [size, size].

    Args:
        maps: probabilities [C, size, size]: of the foreground alone, or of each class with the
            background first.
        info: of the model, which names the class of a binary one.
    """
    if len(maps) == 1:
        return np.where(maps[0] > 0.5, np.uint8(info.class_ids[0]), np.uint8(0))
    return np.array((0, *info.class_ids), dtype=np.uint8)[maps.argmax(axis=0)]


def square_mask(maps: Maps) -> Maps:
    """Foreground of one slice, 0 or 1, [size, size]; of several classes all but background."""
    found = maps[0] > 0.5 if len(maps) == 1 else maps.argmax(axis=0) > 0
    return found.astype(np.float32)


def square_score(maps: Maps) -> Maps:
    """Probability of the foreground, 0..1, [size, size]."""
    return maps[0] if len(maps) == 1 else 1.0 - maps[0]


def truth_in_square(
    truth: NDArray[np.uint8], scan: Volume, axis: int, rules: Preprocessing
) -> NDArray[np.uint8]:
    """One slice of the truth where the network's picture has it, by nearest neighbour.

    Args:
        truth: class ids [rows, columns] of a slice along `axis`.
        scan: the case.
        axis: that was sliced.
        rules: the model's preprocessing.

    Returns:
        uint8 [size, size]; background around a picture that does not fill the square.
    """
    turn = turn_of(scan, axis, rules)
    turned = turn.apply(torch.tensor(np.ascontiguousarray(truth)))
    spacing = spacing_in_slice(scan, axis) if scan.grid.calibrated else None
    if spacing and turn.transpose:
        spacing = spacing[1], spacing[0]
    placement = place((turned.shape[0], turned.shape[1]), spacing, rules, turn)
    inner = F.interpolate(turned[None, None].float(), size=placement.inner, mode="nearest-exact")
    square = np.zeros((placement.size, placement.size), dtype=np.uint8)
    top, left = placement.offset
    rows, columns = placement.inner
    square[top : top + rows, left : left + columns] = inner[0, 0].byte().numpy()
    return square
