"""What a training run tells while it goes on; it crosses from one process to another as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Stage = Literal["reading", "training", "scoring"]


@dataclass(frozen=True)
class TrainingNews:
    """How far a run is.

    Attributes:
        stage: "reading" data and model, "training", or "scoring" the finished model.
        step: number of finished updates.
        share: of the time for training that has passed, 0..1.
        seconds_left: of that time; scoring comes after it.
        loss: of the last update, None before the first.
        val_dice: on the validation cases, measured now; None when nothing was measured.
        base_dice: what the base model reached on them, measured alike; None while it is not known.
    """

    stage: Stage
    step: int = 0
    share: float = 0.0
    seconds_left: float | None = None
    loss: float | None = None
    val_dice: float | None = None
    base_dice: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingNews:
        """The reverse of `as_json`; what is not known here is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
