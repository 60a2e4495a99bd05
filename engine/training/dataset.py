"""Pairs of picture and mask, prepared once exactly as inference prepares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.domain.targets import Target
from engine.domain.volume import PLANE_AXIS, Volume
from engine.errors import UserError
from engine.evaluation.scoring import Pair
from engine.io import open_case, open_truth
from engine.models.schema import Preprocessing
from engine.sdseg.preprocess import intensity_range, into_square, prepare

WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class SliceDataset:
    """All slices of a split, in memory.

    Attributes:
        pictures: uint8 [N, 3, size, size]; 0..255 stands for [-1, 1].
        masks: uint8 [N, size, size]; 255 where the target fills the pixel.
        cases: index into `names` for each slice, int64 [N].
        names: one a case.
    """

    pictures: Tensor
    masks: Tensor
    cases: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures float32 [B, 3, S, S] in [-1, 1] and masks float32 [B, 1, S, S] in 0..1."""
        pictures = self.pictures[indices].float() / 127.5 - 1.0
        return pictures, self.masks[indices].float()[:, None] / 255.0


def read_dataset(
    pairs: list[Pair],
    rules: Preprocessing,
    target: Target,
    plane: str = "scan",
    progress: Callable[[int, int], None] | None = None,
) -> SliceDataset:
    """Reads and prepares every slice of every pair.

    Raises:
        UserError: a file can't be read, or picture and mask differ in size.
    """
    pictures: list[Tensor] = []
    masks: list[Tensor] = []
    cases: list[int] = []
    for number, pair in enumerate(pairs):
        scan, mask = open_case(pair.image).scan, open_truth(pair.mask)
        if mask.is_colour or mask.grid.shape != scan.grid.shape:
            raise UserError(
                f"The mask {pair.mask.name} does not have the size of {pair.image.name}."
            )
        for picture, truth in _slices(scan, mask, rules, target, plane):
            pictures.append(picture)
            masks.append(truth)
            cases.append(number)
        if progress:
            progress(number + 1, len(pairs))
    names = tuple(pair.name for pair in pairs)
    return SliceDataset(torch.stack(pictures), torch.stack(masks), torch.tensor(cases), names)


def _slices(
    scan: Volume, mask: Volume, rules: Preprocessing, target: Target, plane: str
) -> list[tuple[Tensor, Tensor]]:
    axis = scan.plane if plane == "scan" else PLANE_AXIS[plane]
    values = intensity_range(scan, rules, None)
    result: list[tuple[Tensor, Tensor]] = []
    for index in range(scan.grid.shape[axis]):
        picture, placement = prepare(scan, index, WHOLE, rules, values, axis)
        classes = mask.real(mask.slice(index, axis)).round().astype(np.uint8)
        inside = torch.from_numpy(target.of(classes).astype(np.float32))[None]
        truth = into_square(placement.turn.apply(inside), placement, fill=0.0)[0]
        as_bytes = ((torch.from_numpy(picture) + 1.0) * 127.5).round().to(torch.uint8)
        result.append((as_bytes, (truth * 255.0).round().to(torch.uint8)))
    return result
