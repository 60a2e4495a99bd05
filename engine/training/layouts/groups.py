"""Which pictures belong together: told by a file, or guessed from how they look."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.io.kinds import reading, stem_of
from engine.training.layouts.data_set import Item

FRAME, SEQUENCE = ("frame_id", "png_image_path", "tif_image_path"), "sequence_id"
COLUMNS = "It is a CSV file with the columns frame_id and sequence_id."
THUMBNAIL = 16  # pixels a side
ALIKE = 0.95  # correlation of two thumbnails


def read_groups(file: Path, items: Sequence[Item]) -> dict[str, str]:
    """The sequence, or patient, of every case.

    Raises:
        UserError: the file can't be read, or does not name a case.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file.name} can't be read as a table.", hint=COLUMNS) from error
    column = next((c for c in FRAME if rows and c in rows[0]), None)
    if column is None or SEQUENCE not in rows[0]:
        raise UserError(f"{file.name} does not tell the sequence of a frame.", hint=COLUMNS)
    told = {_frame(row[column]): (row[SEQUENCE] or "").strip() for row in rows}
    missing = next((item.name for item in items if not told.get(item.name)), None)
    if missing is not None:
        raise UserError(f"{file.name} tells no sequence of {missing}.", hint=COLUMNS)
    return {item.name: told[item.name] for item in items}


def _frame(cell: str | None) -> str:
    """``7``, ``PNG/Original/7.png`` -> ``7``."""
    return stem_of(Path(PurePosixPath((cell or "").strip().replace("\\", "/")).name or "?"))


def look_alikes(items: Sequence[Item]) -> dict[str, str]:
    """Groups of pictures that look nearly the same, each named by its first case.

    Two pictures belong together if their grey thumbnails correlate by more than `ALIKE`, or if a
    third one links them. That finds frames of one moment, not all pictures of one patient.

    Raises:
        UserError: a picture can't be read.
    """
    rows = np.stack([_thumbnail(item.image) for item in items])
    alike = rows @ rows.T > ALIKE
    group = np.full(len(items), -1)
    for first in range(len(items)):
        waiting = [first] if group[first] < 0 else []
        while waiting:
            place = waiting.pop()
            if group[place] < 0:
                group[place] = first
                waiting += np.flatnonzero(alike[place] & (group < 0)).tolist()
    return {item.name: items[n].name for item, n in zip(items, group, strict=True)}


def _thumbnail(path: Path) -> NDArray[np.float64]:
    """Grey values of a small copy, mean 0 and length 1 (all 0 for a blank picture)."""
    from PIL import Image

    with reading(path), Image.open(path) as image:
        small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        values = np.asarray(small, dtype=np.float64).ravel()
    values -= values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-9)
