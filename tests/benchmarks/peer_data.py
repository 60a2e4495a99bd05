"""A data set of six pictures, and a setting of the comparison around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peers.results import Results
from benchmarks.peers.setting import Setting


def write_data(folder: Path) -> Path:
    """Discs on a ramp: four pictures to train on, one each for val and test."""
    data = folder / "polyp"
    names = [f"p{n}" for n in range(6)]
    rows, columns = np.mgrid[:48, :64]
    for n, name in enumerate(names):
        disc = (rows - 20 - n) ** 2 + (columns - 25 - 2 * n) ** 2 < 80
        picture = np.stack([columns * 2, rows * 2, 60 + 120 * disc], axis=-1).astype(np.uint8)
        for part, pixels in (("images", picture), ("masks", disc.astype(np.uint8))):
            (data / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(data / part / f"{name}.png")
    for split, part in (("train", names[:4]), ("val", names[4:5]), ("test", names[5:])):
        (data / f"{split}.txt").write_text("\n".join(part))
    return folder


def setting_of(folder: Path, **changes: Any) -> Setting:
    base = Setting(
        write_data(folder / "data"), folder / "work", Results(folder / "results"),
        seconds=1.0, say=lambda _: None,
    )  # fmt: skip
    return replace(base, **changes)
