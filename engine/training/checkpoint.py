"""State of an unfinished run: safetensors with its JSON inside, replaced as a whole."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import UserError
from engine.io.kinds import writing
from engine.sdseg.weights import read_metadata, read_tensors, save_tensors
from engine.system.atomic import DRAFT_PREFIX, atomic_write, atomic_write_text

TENSORS = "checkpoint.safetensors"
STATE = "checkpoint.json"  # a copy for people; the one inside the tensors' file rules
SAFETENSORS_DRAFTS = ".tmp??????"
INSIDE = "state"  # its name there
FAILED = "failed_at"  # the step whose loss or gradient was not a number, after this checkpoint
ANEW = "Start the run anew, without --resume."


def make_run_folder(folder: Path) -> None:
    """Makes the folder of a run, where it is not there yet, and sees that it can be written to.

    Raises:
        UserError: it can't.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Writes the tensors' file, which carries the state too, so that the two can't part.

    Raises:
        UserError: it can't be written; the last checkpoint stays.
    """
    make_run_folder(folder)
    text = json.dumps(state, indent=1)
    # A copy each: tied or overlapping tensors can't be saved.
    kept = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic_write(folder / TENSORS) as draft:
        save_tensors(draft, kept, {INSIDE: text})
    atomic_write_text(folder / STATE, text)


def clear_drafts(folder: Path) -> None:
    """Removes what a run that was killed while it wrote has left behind.

    Both our drafts and safetensors' own, which it writes beside them under a name of its choice.
    """
    for pattern in (f"{DRAFT_PREFIX}*", SAFETENSORS_DRAFTS):
        for draft in folder.glob(pattern):
            draft.unlink(missing_ok=True)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The JSON of the last checkpoint, or None if there is none.

    Raises:
        UserError: it is damaged.
    """
    if not (folder / TENSORS).exists():
        return None
    try:
        return dict(json.loads(read_metadata(folder / TENSORS)[INSIDE]))
    except (UserError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{folder.name}/{TENSORS} is damaged.", hint=ANEW) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The last checkpoint, or None if there is none.

    Raises:
        UserError: it is damaged.
    """
    state = read_state(folder)
    if state is None:
        return None
    return read_tensors(folder / TENSORS), state


def note_failure(folder: Path, step: int) -> int | None:
    """Marks the last checkpoint as one after which the run failed.

    Args:
        folder: of the run.
        step: whose loss or gradient was not a number.

    Returns:
        The checkpoint's step, or None if there is none.
    """
    found = load_checkpoint(folder)
    if found is None:
        return None
    tensors, state = found
    save_checkpoint(folder, tensors, {**state, FAILED: step})
    return int(state["step"])


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
