"""Pairs of picture and mask, prepared once exactly as inference prepares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.domain.targets import Target
from engine.domain.volume import PLANE_AXIS, Volume
from engine.errors import UserError
from engine.io import open_case
from engine.models.schema import Preprocessing
from engine.sdseg.preprocess import intensity_range, into_square, prepare

WHOLE = (slice(None), slice(None))


@dataclass(frozen=True)
class Pair:
    """One picture or volume and its mask."""

    name: str
    image: Path
    mask: Path


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


def stem(path: Path) -> str:
    """File name without its ending (``.nii.gz`` is one ending)."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def read_names(split: Path) -> list[str]:
    """The stems a split file lists.

    Raises:
        UserError: it can't be read or is empty.
    """
    try:
        lines = split.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UserError(f"The split file {split.name} can't be read: {error.strerror}.") from error
    if not lines:
        raise UserError(f"The split file {split.name} lists no cases.")
    return lines


def find_pairs(images: Path, masks: Path, names: list[str], split: str) -> list[Pair]:
    """Picture and mask of each name, by stem.

    Raises:
        UserError: a name has no picture or no mask.
    """
    found = [{stem(p): p for p in folder.iterdir() if p.is_file()} for folder in (images, masks)]
    for name in names:
        for files, folder in zip(found, (images, masks), strict=True):
            if name not in files:
                raise UserError(f"{split} names {name}, but {folder.name} has no such file.")
    return [Pair(name, found[0][name], found[1][name]) for name in names]


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
        scan, mask = open_case(pair.image).scan, open_case(pair.mask).scan
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
        truth = into_square(inside, placement, fill=0.0)[0]
        as_bytes = ((torch.from_numpy(picture) + 1.0) * 127.5).round().to(torch.uint8)
        result.append((as_bytes, (truth * 255.0).round().to(torch.uint8)))
    return result
