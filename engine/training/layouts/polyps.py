"""CVC-ClinicDB and Kvasir-SEG: colonoscopy frames with one class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.kinds import Kind
from engine.training.layouts.data_set import Choices, Item
from engine.training.layouts.groups import ALIKE, look_alikes, read_groups
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
from engine.training.layouts.splits import Split, alone, check_count, draw, share

LABELS = {0: "background", 1: "polyp"}
WHITE = 128  # what is brighter is polyp: masks are white on black, Kvasir's went through JPEG
METADATA = "metadata.csv"


@dataclass(frozen=True)
class Polyps:
    """Frames and masks in two folders of the owner; the split is drawn.

    Attributes:
        salt: of the draw.
        title: in print.
        folders: names of the owner's folders of pictures and masks.
        val, test, total: cases of the paper's split and in all; the rest is for training.
        own_groups: which cases belong together by what the owner gives, and a sentence on it.
    """

    salt: str
    title: str
    folders: tuple[str, str]
    val: int
    test: int
    total: int
    own_groups: Callable[[Sequence[Item]], tuple[dict[str, str], str]]

    @property
    def labels(self) -> dict[int, str]:
        """One class."""
        return LABELS

    def find(self, source: Path) -> list[Item]:
        """Frames and masks of one stem."""
        hint = f"Give the unpacked folder of {self.title}; docs/reproduce.md shows it."
        images, masks = find_folders(source, *self.folders, hint)
        return paired(
            by_stem(images.iterdir(), Kind.PICTURE), by_stem(masks.iterdir(), Kind.PICTURE), images
        )

    def split(self, source: Path, items: Sequence[Item], choices: Choices) -> Split:
        """The paper's counts over single frames, or whole groups."""
        names = [item.name for item in items]
        if choices.rule == "authors":
            check_count(self.title, len(names), self.total)
            return draw(self.salt, alone(names), self._authors_rule(), val=self.val, test=self.test)
        groups, told = self._groups(items, choices)
        rule = (
            f"Whole groups in the order of the SHA-256 of {self.salt}/GROUP, first test, then val. "
            f"{told}"
        )
        val, test = (share(len(names), part, self.total) for part in (self.val, self.test))
        return draw(self.salt, groups, rule, val=val, test=test)

    def write(self, item: Item, images: Path, masks: Path, choices: Choices) -> set[int]:
        """The picture as it is, the mask as PNG with 1 where it was bright."""
        image, mask = read_flat(item.image), _white(read_flat(item.mask))
        check_same_size(item, image, mask)
        copy_as(item.name, item.image, images)
        save_png(masks / f"{item.name}.png", mask)
        return class_ids(mask)

    def _authors_rule(self) -> str:
        return (
            f"Frames in the order of the SHA-256 of {self.salt}/STEM: {self.test} for test, "
            f"{self.val} for val, the rest for training. The paper's counts, not its lists, which "
            "followed the order of a file system. Frames of one patient can be on both sides."
        )

    def _groups(self, items: Sequence[Item], choices: Choices) -> tuple[dict[str, str], str]:
        """Groups of the cases, and what they are, for people."""
        if choices.groups is not None:
            return read_groups(choices.groups, items), f"Groups: {choices.groups.name}."
        return self.own_groups(items)


def _sequences(items: Sequence[Item]) -> tuple[dict[str, str], str]:
    """Of CVC-ClinicDB: 29 sequences, told by a table that only the copy on Kaggle carries."""
    folder = items[0].image.parent
    places = (folder.parent / METADATA, folder.parent.parent / METADATA)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise UserError(
            f"Nothing beside {folder.name} tells which frames are of one sequence.",
            hint=f"The copy on Kaggle has a {METADATA}; name it with --groups.",
        )
    return read_groups(file, items), f"Groups: the sequences of {METADATA}."


def _alike(items: Sequence[Item]) -> tuple[dict[str, str], str]:
    """Of Kvasir-SEG, whose owner says nothing about patients."""
    return look_alikes(items), (
        f"Groups: pictures whose thumbnails correlate by more than {ALIKE}. The owner names no "
        "patients, so other pictures of one patient may still be on both sides."
    )


CVC = Polyps(
    "cvc", "CVC-ClinicDB", ("Original", "Ground Truth"), 62, 62, 612, own_groups=_sequences
)
KVASIR = Polyps("kvasir", "Kvasir-SEG", ("images", "masks"), 100, 100, 1000, own_groups=_alike)


def _white(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """1 where a mask of 8 bits is bright, in grey or in all its colours."""
    grey = mask.mean(axis=2) if mask.ndim == 3 else mask
    return (grey > WHITE).astype(np.uint8)
