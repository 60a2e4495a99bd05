"""REFUGE2: fundus photographs with disc and cup, as published or already cropped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.kinds import Kind, stem_of, suffix_of
from engine.training.layouts.data_set import Choices, Item
from engine.training.layouts.sources import (
    by_stem,
    check_same_size,
    class_ids,
    copy_as,
    find_folders,
    paired,
    read_flat,
    save_png,
)
from engine.training.layouts.splits import Split, alone, check_count, draw

RIM, CUP = 1, 2
OWNERS_VALUES = {0: CUP, 128: RIM, 255: 0}
NAME = re.compile(r"[gnVT][0-9]{4}", re.ASCII)  # glaucoma, none, validation, test
OWNERS_MASK = ".bmp"
FULL = 255
SALT = "refuge2"
TOTAL, VAL = 1200, 80
HINT = (
    "Give a folder with the unpacked parts Training400, REFUGE-Validation400 and Test400 and their "
    "annotations, or one with images/ and masks/ cropped to the disc; docs/reproduce.md shows both."
)


class Refuge2:
    """1200 photographs: 400 to train, and of another camera 400 to validate and 400 to test."""

    title = "REFUGE2"

    @property
    def labels(self) -> dict[int, str]:
        """Rim and cup; the disc is both."""
        return {0: "background", RIM: "optic disc rim", CUP: "optic cup"}

    def find(self, source: Path) -> list[Item]:
        """Looks for the owner's names in all folders, since downloads nest them differently."""
        files = [p for p in source.rglob("*") if NAME.fullmatch(stem_of(p))]
        files = [p for p in files if "__MACOSX" not in p.parts]
        masks = [p for p in files if suffix_of(p) == OWNERS_MASK]
        if masks:
            pictures = [p for p in files if suffix_of(p) in (".jpg", ".jpeg")]
            return paired(by_stem(pictures, Kind.PICTURE), by_stem(masks, Kind.PICTURE), source)
        folders = find_folders(source, "images", "masks", HINT)
        images, cropped = (by_stem(f.iterdir(), Kind.PICTURE) for f in folders)
        return paired(images, cropped, folders[0])

    def split(self, source: Path, items: Sequence[Item], choices: Choices) -> Split:
        """Test is the challenge's own in both rules."""
        parts: dict[str, list[str]] = {"train": [], "V": [], "T": []}
        for item in items:
            parts[item.name[0] if item.name[0] in parts else "train"].append(item.name)
        if not all(parts.values()):
            raise UserError(f"{source.name} lacks a part of {self.title}.", hint=HINT)
        if choices.rule == "leak-free":
            rule = "The challenge's own three parts; those for val and test are of another camera."
            return Split(tuple(parts["train"]), tuple(parts["V"]), tuple(parts["T"]), rule)
        check_count(self.title, len(items), TOTAL)
        rule = (
            "The 400 of the challenge's test for test; of the other 800, which the authors train "
            f"on, the first {VAL} in the order of the SHA-256 of {SALT}/STEM for val."
        )
        names = alone(item.name for item in items)
        return draw(SALT, names, rule, val=VAL, test=parts["T"])

    def write(self, item: Item, images: Path, masks: Path, choices: Choices) -> set[int]:
        """Class numbers as PNG; the picture as it is, or both cropped to the disc as PNG."""
        image, stored = read_flat(item.image), read_flat(item.mask)
        check_same_size(item, image, stored)
        is_owners = suffix_of(item.mask) == OWNERS_MASK
        mask = _of_grey(item, stored) if is_owners else _of_colours(item, stored)
        if is_owners and choices.crop:
            image, mask = (a[_around_disc(item, mask, choices.crop)] for a in (image, mask))
            save_png(images / f"{item.name}.png", image)
        else:
            copy_as(item.name, item.image, images)
        save_png(masks / f"{item.name}.png", mask)
        return class_ids(mask)


def _of_grey(item: Item, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """The owner's mask: black cup, grey rim, white background."""
    grey = stored[:, :, 0] if stored.ndim == 3 else stored
    mask = np.zeros(grey.shape, dtype=np.uint8)
    for value, class_id in OWNERS_VALUES.items():
        mask[grey == value] = class_id
    odd = ~np.isin(grey, list(OWNERS_VALUES))
    if odd.any():
        raise UserError(
            f"{item.mask.name} has the value {grey[odd][0]}, which is no class of REFUGE2.",
            hint="The owner's masks hold 0 (cup), 128 (rim) and 255.",
        )
    return mask


def _of_colours(item: Item, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """The mask of a cropped copy: green cup, red disc."""
    if stored.ndim != 3:
        raise UserError(
            f"{item.mask.name} is grey; in a cropped copy red is the disc and green the cup.",
            hint=HINT,
        )
    cup, disc = stored[:, :, 1] == FULL, stored[:, :, 0] == FULL
    return np.where(cup, CUP, np.where(disc, RIM, 0)).astype(np.uint8)


def _around_disc(item: Item, mask: NDArray[np.uint8], side: int) -> tuple[slice, slice]:
    """Rows and columns of a square inside the picture, the disc's own middle in its middle."""
    if not mask.any():
        raise UserError(
            f"{item.mask.name} shows no disc to crop to.", hint="--crop 0 keeps pictures whole."
        )
    side = min(side, *mask.shape)
    window: list[slice] = []
    for places, length in zip(np.nonzero(mask), mask.shape, strict=True):
        middle = (int(places.min()) + int(places.max()) + 1) // 2
        start = min(max(middle - side // 2, 0), length - side)
        window.append(slice(start, start + side))
    return window[0], window[1]


REFUGE2 = Refuge2()
