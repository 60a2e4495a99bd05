"""`labels.json`: what the values of a data set's masks mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.domain.targets import Target
from engine.errors import UserError

LABELS = "labels.json"


def read_labels(file: Path) -> dict[int, str]:
    """Mask value -> name, without the background.

    Raises:
        UserError: it can't be read, or is not an object of numbers and names.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # editors on Windows write a mark in front
        content = json.loads(text, object_pairs_hook=_gathered)
        twice = next((n for n, names in content.items() if len(names) > 1), None)
        found = {n: names[0] for n, names in content.items()}
    except OSError as error:
        raise UserError(f"{file.name} can't be read: {error.strerror}.") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file.name} does not name mask values.",
            hint='It should look like {"0": "background", "1": "disc"}.',
        ) from error
    if twice is not None:
        raise UserError(f"{file.name} names the value {twice} twice.", hint="Keep one of them.")
    found.pop(0, None)
    if not found or not all(1 <= n <= 255 and name for n, name in found.items()):
        raise UserError(
            f"{file.name} does not name mask values.",
            hint="It needs a name for each value from 1 to 255 that the masks hold.",
        )
    return found


def _gathered(entries: list[tuple[str, Any]]) -> dict[int, list[str]]:
    """All names of each value: JSON itself lets the last of them win."""
    found: dict[int, list[str]] = {}
    for value, name in entries:
        found.setdefault(int(value), []).append(name.strip())
    return found


def targets_of(labels: dict[int, str]) -> tuple[Target, ...]:
    """A target for each name; values of one name belong together."""
    grouped: dict[str, list[int]] = {}
    for value, name in sorted(labels.items()):
        grouped.setdefault(name, []).append(value)
    return tuple(Target(name, tuple(values)) for name, values in grouped.items())
