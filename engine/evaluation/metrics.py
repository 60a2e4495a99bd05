"""Overlap of two masks, on whatever grid they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|), 0..1.

    Two empty masks agree (1); anything found where there is nothing scores 0. (The authors'
    script scores both the other way round.)
    """
    a, b = answer.astype(bool), truth.astype(bool)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int(np.logical_and(a, b).sum()) / total


def iou(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Intersection over union, 0..1; two empty masks agree (1)."""
    a, b = answer.astype(bool), truth.astype(bool)
    either = int(np.logical_or(a, b).sum())
    return 1.0 if either == 0 else int(np.logical_and(a, b).sum()) / either
