"""What a model finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Target:
    """A name and the class ids of a model that make it up (disc = rim + cup)."""

    name: str
    class_ids: tuple[int, ...]

    def of(self, classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where the target is in an array of class ids."""
        return np.isin(classes, self.class_ids)
