"""What `benchmarks.peers` measured of other networks, for tables 2 and 3."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.paper.plan import CPU_PER_MINUTE
from engine.errors import UserError

# Name here -> (data set there, target whose Dice is taken). CT is left out: there the organs are
# three targets, here they are one.
NAMES = {"polyp": ("polyp", "polyp"), "cup": ("disc-cup", "cup")}
PARTS = ("a", "b", "c")  # trained with the test list unseen; "t" tunes on val


@dataclass(frozen=True)
class Peer:
    """Mean Dice of a peer's runs of one length.

    Attributes:
        minutes: each of two minutes of processor time.
        dice: mean over the runs.
        runs: how many.
    """

    minutes: float
    dice: float
    runs: int


def read_peer(folder: Path, side: str, data_set: str, minutes: float) -> Peer | None:
    """The peer's runs whose length is nearest to `minutes`; None if there are none.

    Args:
        folder: of the peers' results.
        side: "unet", "fpn" or "dynunet".
        data_set: of `NAMES`.
        minutes: of the rows that it is set beside.

    Raises:
        UserError: a result is damaged.
    """
    name, target = NAMES[data_set]
    found: dict[float, list[float]] = defaultdict(list)
    for file in sorted(folder.glob(f"?-{name}-{side}-*.json")):
        if file.name[0] not in PARTS:
            continue
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            length = round(result["cpu_seconds"] / 60.0 / CPU_PER_MINUTE)
            found[length].append(float(result["test"]["targets"][target]))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{file.name} is no result of a peer.", "Remove it.") from error
    if not found:
        return None
    nearest = min(found, key=lambda length: abs(length - minutes))
    return Peer(nearest, fmean(found[nearest]), len(found[nearest]))
