"""Names for models that a person made from another one: telling, and not in use yet."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from itertools import count

from engine.models.records import MAX_TITLE, store_folder
from engine.models.store import ModelEntry, list_models

MADE = ", fine-tuned "


def finetuned_title(base: ModelEntry, day: date) -> str:
    """``Polyps in colonoscopy, fine-tuned 2026-11-25``, with a number if that is taken."""
    taken = {text.casefold() for entry in list_models()[0] for text in (entry.title, entry.name)}
    ending = f"{MADE}{day.isoformat()}"
    root = base.title.split(MADE)[0][: MAX_TITLE - len(ending) - 6]
    return _free(f"{root}{ending}", " (%d)", taken)


def finetuned_name(base: ModelEntry, day: date) -> str:
    """The identifier likewise, which is also the name of its folder in the user's store."""
    taken = {entry.name.casefold() for entry in list_models()[0]}
    if store_folder().is_dir():
        taken |= {path.name.casefold() for path in store_folder().iterdir()}
    root = base.name.split("-finetuned-")[0]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", root).strip("-")[:60] or "model"
    return _free(f"{plain}-finetuned-{day.isoformat()}", "-%d", taken)


def _free(wanted: str, number: str, taken: Collection[str]) -> str:
    names = (wanted if n == 1 else wanted + number % n for n in count(1))
    return next(name for name in names if name.casefold() not in taken)
