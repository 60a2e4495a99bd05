"""Where training cases come from: whatever can be read as a scan and its class ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.evaluation.scoring import Pair
from engine.io import open_case, open_truth


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case as training reads it.

    Attributes:
        scan: picture or volume.
        truth: class ids, uint8 of the scan's shape.
        slices: those of the scan's own plane to learn from; None means all.
        box: region of interest, or None for the whole.
    """

    scan: Volume
    truth: NDArray[np.uint8]
    slices: Sequence[int] | None = None
    box: Box | None = None


class CaseSource(Protocol):
    """Something that can be read as a training case."""

    @property
    def name(self) -> str:
        """What messages and the card call it."""
        ...

    def load(self) -> LoadedCase:
        """Reads it.

        Raises:
            UserError: it can't be read, or picture and mask do not belong together.
        """
        ...


@dataclass(frozen=True)
class PairSource:
    """A picture or volume and its mask, as files."""

    pair: Pair

    @property
    def name(self) -> str:
        """The stem."""
        return self.pair.name

    def load(self) -> LoadedCase:
        """Reads both files; see `CaseSource.load`."""
        scan, mask = open_case(self.pair.image).scan, open_truth(self.pair.mask)
        if mask.is_colour or mask.grid.shape != scan.grid.shape:
            raise UserError(
                f"The mask {self.pair.mask.name} does not have the size of {self.pair.image.name}."
            )
        return LoadedCase(scan, mask.real(mask.array).round().astype(np.uint8))
