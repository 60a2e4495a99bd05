"""What the engine is asked, and what it answers; threads share only these frozen things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
from engine.domain.volume import Volume


@dataclass(frozen=True, eq=False)
class SegmentRequest:
    """One segmentation of some slices of a scan.

    Attributes:
        scan: the scan; its array is not writeable.
        slices: indices along `plane`.
        target: name of one of the model's targets (its voxels become 1), or "" for the class ids.
        box: region of interest in voxels of the scan, or None for whole slices.
        plane: axis to slice along; None means the scan's own.
        seed: of the starting noise.
        samples: number of noises whose probabilities are averaged; from two on there is a
            stability map too.
        steps: of the reverse process; SDSeg takes one, more are DDIM.
        threshold: foreground is where the probability is greater; None means 0.5, and of several
            classes the most probable one.
        window: (level, width) in real values to use instead of the model's own, or None.
        batch: slices a batch; None means the model's default.
    """

    scan: Volume
    slices: range
    target: str = ""
    box: Box | None = None
    plane: int | None = None
    seed: int = 0
    samples: int = 1
    steps: int = 1
    threshold: float | None = None
    window: tuple[float, float] | None = None
    batch: int | None = None

    @property
    def axis(self) -> int:
        """The axis that is sliced."""
        return self.scan.plane if self.plane is None else self.plane

    @property
    def region(self) -> tuple[slice, slice]:
        """(rows, columns) of each slice that are segmented."""
        return (self.box or full_box(self.scan.grid.shape)).in_slice(self.axis)


@dataclass(frozen=True, eq=False)
class Proposal:
    """The engine's answer for one slice.

    Attributes:
        index: the slice, along `plane`.
        plane: the axis that was sliced.
        region: (rows, columns) of the slice that were segmented; the rest is background.
        labels: uint8 [rows, columns] of the region on the scan's own grid.
        probability: float32 [rows, columns] of the foreground, likewise on the scan's grid.
        model_sha256: hash of the model that answered.
        seed: of the starting noise.
        stability: float32 [rows, columns], the standard deviation of the probability over the
            samples; None for a single one.
    """

    index: int
    plane: int
    region: tuple[slice, slice]
    labels: NDArray[np.uint8]
    probability: NDArray[np.float32]
    model_sha256: str
    seed: int
    stability: NDArray[np.float32] | None = None
