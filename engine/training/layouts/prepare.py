"""Writing the data folder that `train --data` reads, all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.io.kinds import writing
from engine.system.atomic import draft_beside, publish_folder
from engine.training.layouts.data_set import Choices, DataSet, Item
from engine.training.layouts.polyps import CVC, KVASIR
from engine.training.layouts.refuge2 import REFUGE2
from engine.training.layouts.splits import Split
from engine.training.layouts.volumes import BTCV, STS_3D

DATA_SETS: Mapping[str, DataSet] = {
    "cvc": CVC,
    "kvasir": KVASIR,
    "refuge2": REFUGE2,
    "btcv": BTCV,
    "sts3d": STS_3D,
}
RECORD = "prepared.json"
Progress = Callable[[int, int], object]


def prepare_data(
    kind: str, source: Path, output: Path, choices: Choices, progress: Progress | None = None
) -> dict[str, Any]:
    """Makes a data folder of an owner's folder, which is only read.

    Args:
        kind: a key of `DATA_SETS`.
        source: the owner's folder.
        output: the folder to make; `images/`, `masks/` with class numbers, three lists,
            `labels.json`, and `prepared.json` with what this function returns.
        choices: which lists, and what of the pictures.
        progress: called with (cases done, cases in all).

    Returns:
        What was made: data set, split and its rule, cases a list, cases that show each class.

    Raises:
        UserError: the source is not what its owner publishes, or the disk refused; nothing is left
            behind.
    """
    _check_places(source, output)
    data_set = DATA_SETS[kind]
    try:
        items = data_set.find(source)
    except OSError as error:
        raise UserError(f"{source.name} can't be read: {error.strerror}.") from error
    split = data_set.split(source, items, choices)
    with draft_beside(output) as draft, writing(output):
        shown = _write_cases(data_set, items, draft, choices, progress)
        report = _report(kind, data_set, split, choices, shown)
        _write_texts(draft, data_set, split, report)
        publish_folder(draft, output)
    return report


def _check_places(source: Path, output: Path) -> None:
    if not source.is_dir():
        raise UserError(f"There is no folder {source.name}.", hint="Unpack the download first.")
    if output.exists():
        raise UserError(f"{output.name} exists already.", hint="Choose another --output.")
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"{output.name} would lie inside {source.name}, where nothing is written.",
            hint="Choose another --output.",
        )


def _write_cases(
    data_set: DataSet,
    items: list[Item],
    draft: Path,
    choices: Choices,
    progress: Progress | None,
) -> dict[int, int]:
    """Writes all cases; class id -> number of cases that show it."""
    images, masks = draft / "images", draft / "masks"
    images.mkdir()
    masks.mkdir()
    shown = dict.fromkeys((n for n in data_set.labels if n), 0)
    for number, item in enumerate(items, start=1):
        for class_id in data_set.write(item, images, masks, choices):
            shown[class_id] += 1
        if progress:
            progress(number, len(items))
    if not any(shown.values()):
        raise UserError(
            f"No mask shows anything of {data_set.title}; the first is {items[0].mask.name}.",
            hint="These may be other masks than the owner's; docs/reproduce.md shows those.",
        )
    return shown


def _report(
    kind: str, data_set: DataSet, split: Split, choices: Choices, shown: Mapping[int, int]
) -> dict[str, Any]:
    return {
        "format": "sdseg-data",
        "data_set": kind,
        "title": data_set.title,
        "split": choices.rule,
        "rule": split.rule,
        "cases": {name: len(cases) for name, cases in split.lists().items()},
        "classes": {data_set.labels[n]: count for n, count in shown.items()},
    }


def _write_texts(draft: Path, data_set: DataSet, split: Split, report: dict[str, Any]) -> None:
    for name, cases in split.lists().items():
        (draft / f"{name}.txt").write_text("".join(f"{c}\n" for c in cases), encoding="utf-8")
    labels = {str(n): name for n, name in data_set.labels.items()}
    for name, content in (("labels.json", labels), (RECORD, report)):
        (draft / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
