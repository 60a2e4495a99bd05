"""The images of one DICOM file: itself, or the frames of a multi-frame file.

An enhanced file tells the place and the scale of its frames in functional groups: those that are
shared by all, and those of each frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from engine.errors import UserError

MAX_FRAMES = 100_000
_SHARED, _EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


class Elements:
    """The elements that hold for one image: its own first, then those of the whole file.

    Args:
        datasets: looked through in this order.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._datasets = tuple(datasets)

    def get(self, name: str) -> Any:
        """The value of an element by its keyword; None where it is missing or empty."""
        tag = _tag(name)
        for ds in self._datasets:
            if tag in ds:
                value = ds[tag].value
                if value is not None:
                    return value
        return None

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None


@cache
def _tag(name: str) -> BaseTag:
    """Looked up once: pydicom would turn the keyword into a tag at every call."""
    return Tag(name)


def frames_of(path: Path, ds: Dataset, count: int) -> list[Elements]:
    """The elements of each frame; those of a file of one image stand alone.

    Args:
        path: for the sentences.
        ds: of the file.
        count: what it says about its frames.

    Raises:
        UserError: the functional groups are not those of so many frames.
    """
    if count > MAX_FRAMES:
        raise UserError(f"{path.name} says it has {count} frames: it is damaged.")
    if _EACH not in ds:
        return [Elements([*_groups(ds.get(_SHARED)), ds])] * count
    each = list(ds.get(_EACH) or [])
    if len(each) != count:
        raise UserError(
            f"{path.name} is damaged: it says it has {count} frames and describes {len(each)}.",
            hint="Copy the file again.",
        )
    shared = _groups(ds.get(_SHARED))
    return [Elements([*_inner(item), *shared, ds]) for item in each]


def _groups(sequence: Any) -> list[Dataset]:
    return _inner(sequence[0]) if sequence else []


def _inner(item: Dataset) -> list[Dataset]:
    """The items of the functional groups in one item of the outer sequence; each has one.

    A maker's private groups are left out: they may hold a whole header of the frame's own.
    """
    return [
        element.value[0]
        for element in item
        if element.VR == "SQ" and element.value and not element.tag.is_private
    ]
