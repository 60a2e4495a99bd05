"""Agreement of two masks, on whatever grid they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILE = 95.0
AUTHORS_SMOOTHING = 1e-10


def dice(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|), 0..1.

    Two empty masks agree (1); anything found where there is nothing scores 0. (The authors'
    script scores both the other way round.)
    """
    overlap, found, there = _counts(answer, truth)
    return 1.0 if found + there == 0 else 2.0 * overlap / (found + there)


def iou(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Intersection over union, 0..1; two empty masks agree (1)."""
    overlap, found, there = _counts(answer, truth)
    either = found + there - overlap
    return 1.0 if either == 0 else overlap / either


def authors_dice(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Dice as the authors' script has it: 0 for two empty masks, 1 for a find in an empty truth.

    Only for comparison with the paper's tables (`--definition authors`).
    """
    overlap, found, there = _counts(answer, truth)
    if found and not there:
        return 1.0
    return 2.0 * overlap / (found + there + AUTHORS_SMOOTHING)


def authors_iou(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Intersection over union as the authors' script has it: 0 for two empty masks."""
    overlap, found, there = _counts(answer, truth)
    return overlap / (found + there - overlap + AUTHORS_SMOOTHING)


def hd95(
    answer: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float] | None = None
) -> float | None:
    """95th percentile of the Hausdorff distance, with MONAI's surfaces and distances.

    The surface is made of voxel centres: those voxels of a mask that have a neighbour outside it
    (mask xor its erosion with the cross-shaped element; the edge of the array counts as outside).
    For each direction the 95th percentile of the distances to the other surface is taken; the
    larger one is the result, so it is symmetric. An array of three axes of which one has the
    length 1 is a picture, whose surface is its outline.

    Args:
        answer, truth: of the same shape, two or three axes; any value but 0 is foreground.
        spacing: distance between voxel centres along each axis; None means 1 (pixels). Of a
            sheared grid the lengths of its axes, so that distances are approximate.

    Returns:
        In the unit of `spacing`; None if either mask is empty.
    """
    a, b = answer.astype(bool), truth.astype(bool)
    if a.shape != b.shape:
        raise ValueError(f"masks of different shape: {a.shape} and {b.shape}")
    if not (a.any() and b.any()):
        return None
    # Takes seconds to import, which nobody who only wants a mask should wait for.
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    steps = [float(s) for s in spacing or (1.0,) * a.ndim]
    box = _common_box(a | b)
    a, b = a[box], b[box]
    if answer.ndim == 3 and 1 in answer.shape:
        thin = answer.shape.index(1)
        a, b = a.squeeze(thin), b.squeeze(thin)
        del steps[thin]
    edges = [np.asarray(e) for e in get_mask_edges(a, b, crop=False)]
    there_and_back = (edges, edges[::-1])
    distances = [get_surface_distance(x, y, spacing=steps) for x, y in there_and_back]
    return max(float(np.percentile(np.asarray(d), PERCENTILE)) for d in distances)


def _counts(answer: NDArray[Any], truth: NDArray[Any]) -> tuple[int, int, int]:
    """Voxels in both, in the answer, in the truth."""
    a, b = answer.astype(bool), truth.astype(bool)
    return int(np.logical_and(a, b).sum()), int(a.sum()), int(b.sum())


def _common_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(n for n in range(mask.ndim) if n != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)
