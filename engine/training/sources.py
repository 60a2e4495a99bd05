"""Where training cases come from: whatever can be read as a scan and its class ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box
from engine.domain.volume import Volume
from engine.evaluation.pairs import Pair
from engine.io import open_truth
from engine.training.truths import Known, check_known, check_place, class_ids, values_of


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case as training reads it.

    Attributes:
        scan: picture or volume.
        truth: class ids, uint8 of the scan's shape.
        slices: those of the scan's own plane to learn from; None means all.
        box: region of interest, or None for the whole.
        remarks: what was odd about the mask.
    """

    scan: Volume
    truth: NDArray[np.uint8]
    slices: Sequence[int] | None = None
    box: Box | None = None
    remarks: Sequence[str] = ()


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
    """A picture or volume and its mask, as files.

    Attributes:
        pair: the files.
        known: mask values that mean something; None lets every class id pass.
    """

    pair: Pair
    known: Known | None = None

    @property
    def name(self) -> str:
        """The stem."""
        return self.pair.name

    def load(self) -> LoadedCase:
        """Reads both files; see `CaseSource.load`."""
        image, file = self.pair.image, self.pair.mask
        remarks: list[str] = []
        scan, mask = self.pair.open(), open_truth(file, remarks.append)
        check_place(scan, mask, image, file)
        truth = class_ids(mask, file)
        if self.known is not None:
            check_known(values_of(truth), self.known, file)
        return LoadedCase(scan, truth, remarks=remarks)
