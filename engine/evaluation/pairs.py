"""Pictures or volumes and their masks, as files; known without torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io import open_case, open_truth
from engine.io.kinds import kind_by_name, stem_of

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """One picture or volume and its mask.

    Attributes:
        name: the stem.
        image, mask: the files.
        slices: those of the scan's own plane that the mask tells about; None means all.
        box: the region that it tells about, or None for the whole.
    """

    name: str
    image: Path
    mask: Path
    slices: tuple[int, ...] | None = None
    box: Box | None = None

    def open(self) -> Volume:
        """The scan alone.

        Raises:
            UserError: it can't be read.
        """
        return open_case(self.image).scan

    def read(self, tell: Callable[[str], None] = lambda _: None) -> tuple[Volume, Labels]:
        """The scan, and its truth as class ids of the scan's shape.

        Values that are no class id (negative, or beyond 255) become background.

        Args:
            tell: called with what was odd about the mask.

        Raises:
            UserError: a file can't be read, or picture and mask differ in size.
        """
        scan, mask = self.open(), open_truth(self.mask, tell)
        if mask.is_colour or mask.grid.shape != scan.grid.shape:
            raise UserError(
                f"The mask {self.mask.name} does not have the size of {self.image.name}."
            )
        values = mask.real(mask.array).round()
        return scan, np.where((values >= 0) & (values <= 255), values, 0).astype(np.uint8)

    def indices(self, scan: Volume, axis: int) -> list[int]:
        """Slices along an axis that the mask tells about."""
        inside = (self.box or full_box(scan.grid.shape)).range_along(axis)
        chosen = None if self.slices is None or axis != scan.plane else {*self.slices}
        return [n for n in inside if chosen is None or n in chosen]


def read_names(split: Path) -> list[str]:
    """The stems a split file lists, one a line.

    Raises:
        UserError: it can't be read or is empty.
    """
    try:
        # Editors on Windows put a mark in front of the first name.
        lines = split.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"The split file {split.name} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"The split file {split.name} is not a text file in UTF-8.",
            hint="It lists stems, one a line. Save it again as UTF-8.",
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"The split file {split.name} lists no cases.")
    return names


def find_pairs(images: Path, masks: Path, names: list[str] | None, split: str = "") -> list[Pair]:
    """Picture and mask of each name, by stem; without names, of every picture.

    Raises:
        UserError: a folder is missing, or a name has no picture or no mask, or two.
    """
    found: list[dict[str, list[Path]]] = []
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder.name}.", hint="Check the path.")
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and kind_by_name(p)]
        found.append(_by_stem(files))
    wanted = names if names is not None else [stem_of(p) for v in found[0].values() for p in v]
    for name in wanted:
        for files, folder in zip(found, (images, masks), strict=True):
            _check_file(files.get(_folded(name), []), folder, name, split)
            if not files.get(_folded(name)):
                raise _not_there(files, folder, name, split)
    chosen = ((name, *(files[_folded(name)][0] for files in found)) for name in wanted)
    return [Pair(name, image, mask) for name, image, mask in chosen]


def _by_stem(files: list[Path]) -> dict[str, list[Path]]:
    """Files by their folded stem."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(_folded(stem_of(file)), []).append(file)
    return found


def composed(name: str) -> str:
    """An accent and its letter as one character; some disks and archives keep them apart."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    """In small letters, since some disks do not tell them apart."""
    return composed(name).casefold()


def _check_file(files: list[Path], folder: Path, name: str, split: str) -> None:
    """There are not two files of a name, capital letters included."""
    if len(files) > 1:
        raise UserError(
            f"{folder.name} has {files[0].name} and {files[1].name}; it is not clear which of "
            f"them {name} is.",
            hint="Rename or remove one of them; the ending does not count.",
        )
    if files and composed(stem_of(files[0])) != composed(name):
        raise UserError(
            f"{_where(name, folder, split)} has no file {name}.",
            hint=f"There is {files[0].name}: capital letters count.",
        )


def _not_there(
    found: Mapping[str, Sequence[Path]], folder: Path, name: str, split: str
) -> UserError:
    """No file of a name; the list may hold file names or paths where stems are wanted."""
    path = Path(name.replace("\\", "/"))
    stem = stem_of(path) if kind_by_name(path) else path.name
    hint = f"Write the stem alone: {stem}." if found.get(_folded(stem)) else ""
    return UserError(f"{_where(name, folder, split)} has no file {name}.", hint=hint)


def _where(name: str, folder: Path, split: str) -> str:
    return f"{split} names {name}, but {folder.name}" if split else folder.name


@contextmanager
def naming(pair: Pair) -> Iterator[None]:
    """Errors inside say which case they are about."""
    try:
        yield
    except UserError as error:
        if pair.image.name in error.message or pair.mask.name in error.message:
            raise
        raise UserError(f"{pair.image.name}: {error.message}", hint=error.hint) from error
