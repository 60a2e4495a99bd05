"""Labels: what a number in the label map means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import UserError

MAX_LABEL_ID = 255
# Distinct on grey pictures and on red ones (endoscopy, fundus); the order is the order of use.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (64, 200, 235),
    (130, 220, 110),
    (250, 176, 60),
    (235, 110, 170),
    (170, 140, 250),
    (245, 225, 90),
    (90, 220, 190),
    (250, 120, 90),
)


@dataclass(frozen=True)
class Label:
    """One label.

    Attributes:
        id: 1..255, its value in the label map.
        name: what a person calls it.
        colour: (red, green, blue), 0..255.
        locked: a locked label is never written by a model or a brush.
        visible: shown on the canvas.
        concept: coded concept as (scheme, value, meaning), for example SNOMED CT ("SCT"), or None.
    """

    id: int
    name: str
    colour: tuple[int, int, int]
    locked: bool = False
    visible: bool = True
    concept: tuple[str, str, str] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.id <= MAX_LABEL_ID:
            raise UserError(
                f"A label's number must lie between 1 and {MAX_LABEL_ID}, not {self.id}."
            )


@dataclass(frozen=True)
class LabelList:
    """The labels of a case: a value; every change gives a new list (and is an undo step)."""

    labels: tuple[Label, ...] = ()

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def get(self, label_id: int) -> Label | None:
        """The label with this id, or None."""
        return next((label for label in self.labels if label.id == label_id), None)

    def named(self, name: str) -> Label | None:
        """The label with this name (case does not matter), or None."""
        wanted = name.casefold()
        return next((label for label in self.labels if label.name.casefold() == wanted), None)

    def added(self, name: str, colour: tuple[int, int, int] | None = None) -> LabelList:
        """With a new label under the first free id; the new label is the last one.

        Raises:
            UserError: all 255 ids are taken, or the name is empty.
        """
        if not name.strip():
            raise UserError("A label needs a name.")
        taken = {label.id for label in self.labels}
        free = next((n for n in range(1, MAX_LABEL_ID + 1) if n not in taken), None)
        if free is None:
            raise UserError("A case can hold 255 labels, and all are in use.")
        chosen = colour or PALETTE[(free - 1) % len(PALETTE)]
        return LabelList((*self.labels, Label(free, name.strip(), chosen)))

    def changed(self, label_id: int, **fields: Any) -> LabelList:
        """With the named fields of one label replaced."""
        return LabelList(
            tuple(replace(x, **fields) if x.id == label_id else x for x in self.labels)
        )

    def removed(self, label_id: int) -> LabelList:
        """Without this label."""
        return LabelList(tuple(label for label in self.labels if label.id != label_id))

    @property
    def locked_ids(self) -> frozenset[int]:
        """Ids that nothing may write."""
        return frozenset(label.id for label in self.labels if label.locked)
