"""BTCV and STS-3D: volumes, copied byte for byte; one volume is one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.kinds import Kind, stem_of, suffix_of
from engine.training.layouts.data_set import Choices, Item
from engine.training.layouts.sources import by_stem, class_ids, copy_as, find_folders, paired
from engine.training.layouts.splits import Split, alone, check_count, draw, share

ORGANS = {
    0: "background",
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}
BTCV_TEST = (
    "0001", "0002", "0003", "0004", "0008", "0022", "0025", "0029", "0032", "0035", "0036", "0038",
)  # fmt: skip
STS_TEST = ("Teeth_0010", "Teeth_0011", "Teeth_0012")


@dataclass(frozen=True)
class Volumes:
    """Volumes and their masks in two folders of the owner, with the authors' list for test.

    Attributes:
        salt: of the draw of val.
        title: in print.
        labels: class id -> name.
        folders: names of the owner's folders of volumes and masks.
        affixes: what of a stem is not the case's name.
        tested: names of the authors' test list.
        val, total: volumes for val, and in all.
        merged: True where every value but 0 is the one class.
    """

    salt: str
    title: str
    labels: Mapping[int, str]
    folders: tuple[str, str]
    affixes: re.Pattern[str]
    tested: tuple[str, ...]
    val: int
    total: int
    merged: bool = False

    def find(self, source: Path) -> list[Item]:
        """Volumes and masks of one number."""
        hint = f"Give the unpacked folder of {self.title}; docs/reproduce.md shows it."
        images, masks = find_folders(source, *self.folders, hint)
        return paired(self._by_name(images), self._by_name(masks), images)

    def split(self, source: Path, items: Sequence[Item], choices: Choices) -> Split:
        """By patient in both rules, since each has one volume."""
        names = [item.name for item in items]
        if choices.rule == "authors":
            check_count(self.title, len(names), self.total)
        test = [name for name in names if name in self.tested]
        if choices.rule == "authors" and len(test) != len(self.tested):
            missing = next(name for name in self.tested if name not in names)
            raise UserError(
                f"{self.title} lacks {missing}, which the authors test on.", hint="Get it again."
            )
        rule = (
            f"The authors' {len(test)} volumes for test; of the others the first in the order of "
            f"the SHA-256 of {self.salt}/NAME for val. One volume is one patient."
        )
        val = share(len(names) - len(test), self.val, self.total - len(self.tested))
        return draw(self.salt, alone(names), rule, val=val, test=test)

    def write(self, item: Item, images: Path, masks: Path, choices: Choices) -> set[int]:
        """Volume and mask as they are; a mask of merged values is written anew on its grid."""
        from engine.io import open_case, open_truth
        from engine.io.nifti_write import write_nifti

        scan, mask = open_case(item.image).scan, open_truth(item.mask)
        if not mask.grid.same_place(scan.grid):
            raise UserError(
                f"The mask {item.mask.name} does not lie on the grid of {item.image.name}.",
                hint="Get both files again.",
            )
        values = mask.real(mask.array)
        found = class_ids(values != 0) if self.merged else self._known(item, values)
        copy_as(item.name, item.image, images)
        if self.merged and not np.isin(values, (0, 1)).all():
            ending = suffix_of(item.mask)
            write_nifti(masks / f"{item.name}{ending}", (values != 0).astype(np.uint8), mask)
        else:
            copy_as(item.name, item.mask, masks)
        return found

    def _by_name(self, folder: Path) -> dict[str, Path]:
        files = by_stem(folder.iterdir(), Kind.NIFTI)
        named = {self.affixes.sub("", stem_of(path)): path for path in files.values()}
        if len(named) != len(files):
            raise UserError(f"Two files of {folder.name} are of one case.", hint="Keep one.")
        return named

    def _known(self, item: Item, values: NDArray[Any]) -> set[int]:
        odd = values[~np.isin(values, list(self.labels))]
        if odd.size:
            raise UserError(
                f"{item.mask.name} has the value {odd[0]:g}, which is no class of {self.title}.",
                hint="Get the file again.",
            )
        return class_ids(values)


BTCV = Volumes(
    "btcv", "BTCV", ORGANS, ("img", "label"), re.compile("^(img|label)"), BTCV_TEST, 2, 30
)
STS_3D = Volumes(
    "sts3d", "STS-3D", {0: "background", 1: "tooth"}, ("image", "label"), re.compile("_0000$"),
    STS_TEST, 1, 12, merged=True,
)  # fmt: skip
