"""Finding pictures and masks in folders of others; nothing is written there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.kinds import Kind, kind_by_name, stem_of, suffix_of, writing
from engine.training.layouts.data_set import Item

DEEPEST = 4  # folders of a download that lie inside each other


def find_folders(source: Path, images: str, masks: str, hint: str) -> tuple[Path, Path]:
    """The first two neighbouring folders of these names, in the source or below it.

    Raises:
        UserError: there are none.
    """
    for folder in _folders(source):
        if (folder / images).is_dir() and (folder / masks).is_dir():
            return folder / images, folder / masks
    raise UserError(f"{source.name} holds no folder {images} beside a folder {masks}.", hint=hint)


def _folders(source: Path) -> Iterator[Path]:
    """The source and what is below it, the nearer first, each level by name."""
    level = [source]
    for _ in range(DEEPEST):
        yield from level
        level = sorted(
            child
            for folder in level
            for child in folder.iterdir()
            if child.is_dir() and not child.name.startswith((".", "__MACOSX"))
        )


def by_stem(files: Iterable[Path], kind: Kind) -> dict[str, Path]:
    """Files of a kind by their stems, sorted.

    Raises:
        UserError: two have one stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(files):
        if not path.is_file() or path.name.startswith(".") or kind_by_name(path) is not kind:
            continue
        name = stem_of(path)
        if name in found:
            raise UserError(
                f"{found[name].name} is there twice: in {found[name].parent} and in {path.parent}.",
                hint="Give a folder that holds each case once.",
            )
        found[name] = path
    return found


def paired(images: dict[str, Path], masks: dict[str, Path], where: Path) -> list[Item]:
    """Picture and mask of each name.

    Raises:
        UserError: there is none, or one is without the other.
    """
    if not images:
        raise UserError(f"{where.name} holds no picture or volume.", hint="Unpack it again.")
    for name, image in images.items():
        if name not in masks:
            raise UserError(f"{image.name} has no mask.", hint="Get the missing file.")
    for name, mask in masks.items():
        if name not in images:
            raise UserError(
                f"The mask {mask.name} in {mask.parent.name} belongs to no picture.",
                hint="Get the missing file.",
            )
    return [Item(name, images[name], masks[name]) for name in sorted(images)]


def copy_as(name: str, file: Path, folder: Path) -> None:
    """Copies a file byte for byte, under another stem.

    Raises:
        UserError: the disk refused.
    """
    with writing(folder / file.name):
        shutil.copyfile(file, folder / f"{name}{suffix_of(file)}")


def read_flat(path: Path) -> NDArray[Any]:
    """A picture as ``[j, i]`` or ``[j, i, 3]``, upright.

    Raises:
        UserError: it can't be read.
    """
    from engine.io.raster import read_picture

    return read_picture(path)[0].array[0]


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes an upright picture or mask into a draft, which is flushed as a whole later."""
    from PIL import Image

    with writing(path):
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def check_same_size(item: Item, image: NDArray[Any], mask: NDArray[Any]) -> None:
    """Picture and mask must cover the same pixels.

    Raises:
        UserError: they don't.
    """
    if image.shape[:2] != mask.shape[:2]:
        sizes = [f"{a.shape[1]} x {a.shape[0]}" for a in (mask, image)]
        raise UserError(
            f"The mask {item.mask.name} has {sizes[0]} pixels, {item.image.name} {sizes[1]}.",
            hint="Get both files again.",
        )


def class_ids(mask: NDArray[Any]) -> set[int]:
    """The classes that a mask shows, without background."""
    return {int(value) for value in np.unique(mask)} - {0}
