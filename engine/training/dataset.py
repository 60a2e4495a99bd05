"""Slices and their masks, prepared once exactly as inference prepares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.domain.box import full_box, slice_box
from engine.domain.volume import PLANE_AXIS
from engine.errors import UserError
from engine.models.schema import Preprocessing
from engine.sdseg.preprocess import intensity_range, into_square, prepare
from engine.training.sources import CaseSource, LoadedCase

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class SliceDataset:
    """All slices of a split, in memory.

    Attributes:
        pictures: uint8 [N, 3, size, size]; 0..255 stands for [-1, 1].
        masks: uint8 [N, C, size, size]; 255 where a class fills the pixel. C is 1 where all
            foreground is one class.
        cases: index into `names` for each slice, int64 [N].
        names: one a case.
    """

    pictures: Tensor
    masks: Tensor
    cases: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.pictures.shape[-1]

    @property
    def class_count(self) -> int:
        """C, the classes that are told apart."""
        return self.masks.shape[1]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures float32 [B, 3, S, S] in [-1, 1] and masks float32 [B, C, S, S] in 0..1."""
        pictures = self.pictures[indices].float() / 127.5 - 1.0
        return pictures, self.masks[indices].float() / 255.0


def read_dataset(
    sources: Sequence[CaseSource],
    rules: Preprocessing,
    groups: Groups,
    plane: str = "scan",
    progress: Callable[[int, int], None] | None = None,
) -> SliceDataset:
    """Reads and prepares every slice of every case.

    Args:
        sources: the cases.
        rules: how pictures are prepared.
        groups: the mask values of each class.
        plane: "scan", "axial", "coronal" or "sagittal".
        progress: called with (cases done, cases in all).

    Raises:
        UserError: a file can't be read, picture and mask differ in size, or there is no slice.
    """
    pictures: list[Tensor] = []
    masks: list[Tensor] = []
    cases: list[int] = []
    for number, source in enumerate(sources):
        for picture, truth in _slices(source.load(), rules, groups, plane):
            pictures.append(picture)
            masks.append(truth)
            cases.append(number)
        if progress:
            progress(number + 1, len(sources))
    names = tuple(source.name for source in sources)
    if not pictures:
        raise UserError(f"No slice of {', '.join(names[:3]) or 'the cases'} can be read.")
    return SliceDataset(torch.stack(pictures), torch.stack(masks), torch.tensor(cases), names)


def _slices(
    case: LoadedCase, rules: Preprocessing, groups: Groups, plane: str
) -> Iterator[tuple[Tensor, Tensor]]:
    scan = case.scan
    axis = scan.plane if plane == "scan" else PLANE_AXIS[plane]
    box = case.box or full_box(scan.grid.shape)
    values = intensity_range(scan, rules, case.box)
    region = box.in_slice(axis)
    chosen = None if case.slices is None or axis != scan.plane else set(case.slices)
    for index in box.range_along(axis):
        if chosen is not None and index not in chosen:
            continue
        picture, placement = prepare(scan, index, region, rules, values, axis)
        classes = case.truth[slice_box(scan.grid.shape, axis, index).slices].squeeze(axis)[region]
        inside = np.stack([np.isin(classes, group) for group in groups]).astype(np.float32)
        turned = placement.turn.apply(torch.from_numpy(inside))
        truth = into_square(turned, placement, fill=0.0)
        as_bytes = ((torch.from_numpy(picture) + 1.0) * 127.5).round().to(torch.uint8)
        yield as_bytes, (truth * 255.0).round().to(torch.uint8)
