"""Condition latents of the cases at work, so that asking again does not encode again."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from torch import Tensor

from engine.domain.box import Box
from engine.domain.volume import Volume
from engine.sdseg.preprocess import Placement

Latent = tuple[Tensor, Placement]
MOST_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Setting:
    """Everything but the slice that a condition latent of a model depends on, to the last bit.

    Attributes:
        axis, box: what is cut out of the scan.
        values: the real values that become -1 and 1.
        device, precision, batch, threads: how it is computed.
    """

    axis: int
    box: Box | None
    values: tuple[float, float]
    device: str
    precision: str
    batch: int
    threads: int


class ConditionCache:
    """Latents of one model by scan and slice; a scan that is closed takes its own along.

    A latent of 4 x 32 x 32 in fp32 takes 16 KiB, one of 16 channels 64 KiB. Beyond `MOST_BYTES`
    nothing more is kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: weakref.WeakKeyDictionary[Volume, tuple[Setting, dict[int, Latent]]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def count(self) -> int:
        """Latents that are kept; all of one model are of one size."""
        return sum(len(latents) for _, latents in self._kept.values())

    def of(self, scan: Volume, setting: Setting) -> dict[int, Latent]:
        """The latents of a scan so far, by slice; another setting than the last one drops them."""
        kept = self._kept.get(scan)
        if kept is None or kept[0] != setting:
            kept = (setting, {})
            self._kept[scan] = kept
        return kept[1]

    def keep(self, latents: dict[int, Latent], index: int, latent: Latent) -> None:
        """Adds one slice to what `of` returned."""
        if (self.count + 1) * latent[0].nbytes <= self.most_bytes:
            latents[index] = latent
