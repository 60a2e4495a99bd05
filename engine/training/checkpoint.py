"""State of an unfinished run: safetensors and JSON, replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.weights import read_tensors
from engine.system.atomic import atomic_write, atomic_write_text

TENSORS = "checkpoint.safetensors"
STATE = "checkpoint.json"
COUNTS = ("step", "ema_updates")


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Writes both files; the counts in the JSON are stamped on the tensors too."""
    folder.mkdir(parents=True, exist_ok=True)
    stamps = {f"checkpoint.{name}": torch.tensor(state[name]) for name in COUNTS}
    stamped = {**tensors, **stamps}
    with atomic_write(folder / TENSORS) as draft:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in stamped.items()}, draft)
    atomic_write_text(folder / STATE, json.dumps(state, indent=1))


def read_state(folder: Path) -> dict[str, Any] | None:
    """The JSON of the last checkpoint, or None if there is none.

    Raises:
        UserError: it is damaged.
    """
    if not (folder / STATE).exists():
        return None
    try:
        return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder.name}/{STATE} is damaged.", hint="Start the run anew.") from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The last checkpoint, or None if there is none.

    Raises:
        UserError: it is damaged.
    """
    state = read_state(folder)
    if state is None:
        return None
    tensors = read_tensors(folder / TENSORS)
    # A crash between the two files leaves newer tensors beside the older JSON; the tensors' counts
    # rule. Older checkpoints stamped the step alone.
    for name in COUNTS:
        if f"checkpoint.{name}" in tensors:
            state[name] = int(tensors.pop(f"checkpoint.{name}"))
    return tensors, state


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's moments and step counts under flat names."""
    found: dict[str, Tensor] = {}
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            found[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
