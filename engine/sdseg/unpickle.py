"""A pickled checkpoint's tensors as safetensors; runs in the child that `contained` starts.

`torch.load` runs only a harmless part of a pickle (`weights_only=True`); classes that it does not
know become inert stand-ins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.contained import FACTS_FILE, HINT, TENSORS_FILE, check_archive
from engine.sdseg.weights import MAX_TENSORS

DTYPES = {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32}
Progress = Callable[[int, int], None]


def extract(source: Path, folder: Path, progress: Progress | None = None) -> None:
    """Writes a checkpoint's tensors as safetensors and its few facts as JSON.

    Args:
        source: the checkpoint.
        folder: gets TENSORS_FILE and FACTS_FILE.
        progress: called with (tensors read, tensors in all).

    Raises:
        MemoryError: it needs more than it may use.
        UserError: it is no checkpoint, or holds what no checkpoint should.
    """
    content = _load(source)
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise UserError(f"{source.name} holds no weights.", hint=HINT)
    found = _found(source, state)
    step = content.get("global_step")
    shapes = {name: list(tensor.shape) for name, tensor in found.items()}
    facts = {"global_step": step if isinstance(step, int) else 0, "shapes": shapes}
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    save_file(dict(_tensors(source, found, progress)), folder / TENSORS_FILE)


def _load(source: Path) -> Mapping[str, Any]:
    check_archive(source)
    try:
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(source)
        inert = [(type("Inert", (), {}), name) for name in unknown]
        with torch.serialization.safe_globals(inert):  # type: ignore[arg-type]
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except MemoryError:
        raise
    except Exception as error:  # anything may come of a forged file
        if "alloc" in str(error).lower():  # torch's own words for too little memory
            raise MemoryError from error
        raise UserError(f"{source.name} is damaged, or no checkpoint.", hint=HINT) from error
    if not isinstance(content, Mapping):
        raise UserError(f"{source.name} holds no weights.", hint=HINT)
    return content


def _found(source: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a state; together they are not much larger than the file they come from."""
    found = {n: t for n, t in state.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if not found or len(found) > MAX_TENSORS:
        raise UserError(f"{source.name} holds {len(found)} tensors.", hint=HINT)
    for name, tensor in found.items():
        _check_form(source, name, tensor)
    if sum(t.nbytes for t in found.values()) > 2 * source.stat().st_size:
        raise UserError(f"{source.name} repeats its tensors many times over.", hint=HINT)
    return found


def _tensors(
    source: Path, found: dict[str, Tensor], progress: Progress | None
) -> Iterator[tuple[str, Tensor]]:
    """The tensors, each checked, contiguous and apart from the others."""
    seen: set[int] = set()
    if progress:
        progress(0, len(found))
    for number, (name, tensor) in enumerate(found.items()):
        plain = _plain(source, name, tensor)
        place = plain.untyped_storage().data_ptr()
        # Tensors that are whole are left where the file is mapped: a copy of each would need the
        # file's size once more.
        yield name, plain.clone() if place in seen or plain.storage_offset() else plain
        seen.add(place)
        if progress:
            progress(number + 1, len(found))


def _check_form(source: Path, name: str, tensor: Tensor) -> None:
    """Refuses what is not dense and plain, before a value of it is read."""
    odd = tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu"
    if odd or tensor.dtype not in DTYPES:
        raise UserError(f"{source.name}: {name} is not a plain tensor.", hint=HINT)
    if any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape, strict=True)):
        raise UserError(f"{source.name}: {name} repeats one value.", hint=HINT)


def _plain(source: Path, name: str, tensor: Tensor) -> Tensor:
    """A finite tensor of its own, in at most 32 bits.

    Raises:
        UserError: it holds NaN or infinite values.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{source.name}: {name} holds NaN or infinite values.", hint=HINT)
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    return tensor.detach().contiguous()
