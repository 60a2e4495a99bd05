"""What a saved mask is made of, for the manifest beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

RESEARCH_USE = "Research use only. Not a medical device."


@dataclass(frozen=True)
class ModelUse:
    """Which model wrote, and how.

    Attributes:
        name, sha256: of the model.
        target: what was asked for; "" means all classes.
        seed, samples, steps: of the reverse process.
        threshold: of the probability; None means the model's own rule.
        device, precision, batch: how it was computed; memory may have lowered the batch.
        plane: axis of the array that was sliced along.
        box: region of interest in voxels (k, j, i), half-open: start, stop; None for all.
        window: (level, width) in real values that a person chose; None means the model's rule.
        fit: whether slices were squeezed to the network's square or padded.
        size: side of that square in pixels.
    """

    name: str
    sha256: str
    target: str
    seed: int
    threshold: float | None
    samples: int = 1
    steps: int = 1
    device: str = ""
    precision: str = ""
    batch: int = 1
    plane: int | None = None
    box: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None
    window: tuple[float, float] | None = None
    fit: str = ""
    size: int = 0


@dataclass(frozen=True)
class Manifest:
    """Provenance of one exported mask; holds no patient data and no folder names.

    Attributes:
        application: name and version of the program.
        source: file name of the scan, without its folder.
        source_sha256: hash of the scan's stored values.
        labels: id -> name.
        voxels: label id -> {"total", "hand", "model"}.
        removed_by_hand: voxels that a person set back to background.
        model: who proposed, or None for a mask drawn by hand.
        review: state of the case.
    """

    application: str
    source: str
    source_sha256: str
    labels: dict[int, str]
    voxels: dict[int, dict[str, int]]
    removed_by_hand: int = 0
    model: ModelUse | None = None
    review: str = "new"
    warnings: tuple[str, ...] = ()
    notice: str = field(default=RESEARCH_USE)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`."""
        return {"format": "sdseg-manifest", "version": 1, **asdict(self)}
