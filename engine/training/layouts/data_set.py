"""What the modules of this package share: a case of a source, a data set, a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from engine.training.layouts.splits import Split

Rule = Literal["authors", "leak-free"]
DISC_SIDE = 600  # pixels


@dataclass(frozen=True)
class Item:
    """One case as its owner publishes it.

    Attributes:
        name: its stem in the data folder.
        image, mask: files of the owner.
    """

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Choices:
    """What can be chosen.

    Attributes:
        rule: "authors" for the counts of the paper's table 1, "leak-free" for lists that share no
            patient or sequence, as far as the owner tells them apart.
        groups: CSV file with the columns frame_id and sequence_id; None for the owner's own.
        crop: side in pixels of the square around the disc (REFUGE2); 0 keeps pictures whole.
    """

    rule: Rule = "authors"
    groups: Path | None = None
    crop: int = DISC_SIDE


class DataSet(Protocol):
    """One of the five."""

    @property
    def title(self) -> str:
        """Its name in print."""
        ...

    @property
    def labels(self) -> Mapping[int, str]:
        """Class id -> name, background included."""
        ...

    def find(self, source: Path) -> list[Item]:
        """The cases of a source, by name.

        Raises:
            UserError: the folders are not the owner's, or a picture has no mask.
        """
        ...

    def split(self, source: Path, items: Sequence[Item], choices: Choices) -> Split:
        """Which case goes into which list.

        Raises:
            UserError: cases are missing, or nothing tells which of them belong together.
        """
        ...

    def write(self, item: Item, images: Path, masks: Path, choices: Choices) -> set[int]:
        """Writes one case, as `item.name` and the endings that fit; returns its class ids.

        Raises:
            UserError: a file can't be read, or picture and mask don't go together.
        """
        ...
