"""A pickled checkpoint's tensors as safetensors, made in a child process that may fail.

A pickle is a program. `torch.load` runs only a harmless part of it (`weights_only=True`); classes
that it does not know become inert stand-ins, and everything happens in a child with a memory limit,
so that the process with the window never unpickles.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.weights import MAX_TENSORS

TENSORS_FILE = "tensors.safetensors"
FACTS_FILE = "facts.json"
MAX_PROGRAM_BYTES = 64 * 1024 * 1024
ROOM_BYTES = 2 * 1024**3  # beyond twice the file: the pickle's own objects, torch's buffers
DTYPES = {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32}
Progress = Callable[[int, int], None]
HINT = "Only checkpoints of the authors' code and of latent diffusion can be imported."


def limit_memory(source: Path) -> None:
    """Caps this process at what it uses now, twice a file and some room; on Linux only."""
    if sys.platform != "linux":
        return
    import resource

    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    more = 2 * source.stat().st_size + ROOM_BYTES
    limit = used * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


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
    tensors = dict(_tensors(source, state, progress))
    save_file(tensors, folder / TENSORS_FILE)
    step = content.get("global_step")
    facts = {"global_step": step if isinstance(step, int) else 0}
    (folder / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")


def _load(source: Path) -> Mapping[str, Any]:
    _check_archive(source)
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


def _check_archive(source: Path) -> None:
    """Refuses what is no archive of torch, or unpacks to more than it is."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{source.name} is damaged, or no checkpoint.", hint=HINT) from error
    programs = [m for m in members if m.filename.endswith("/data.pkl")]
    packed = any(m.compress_type != zipfile.ZIP_STORED for m in members)
    if len(programs) != 1 or packed or programs[0].file_size > MAX_PROGRAM_BYTES:
        raise UserError(f"{source.name} is no checkpoint of PyTorch.", hint=HINT)


def _tensors(
    source: Path, state: Mapping[Any, Any], progress: Progress | None
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, each checked, contiguous and apart from the others."""
    found = {n: t for n, t in state.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if not found or len(found) > MAX_TENSORS:
        raise UserError(f"{source.name} holds {len(found)} tensors.", hint=HINT)
    seen: set[int] = set()
    for number, (name, tensor) in enumerate(found.items()):
        plain = _plain(source, name, tensor)
        place = plain.untyped_storage().data_ptr()
        # Tensors that are whole are left where the file is mapped: a copy of each would need the
        # file's size once more.
        yield name, plain.clone() if place in seen or plain.storage_offset() else plain
        seen.add(place)
        if progress:
            progress(number + 1, len(found))


def _plain(source: Path, name: str, tensor: Tensor) -> Tensor:
    """A dense, finite tensor of its own, in at most 32 bits.

    Raises:
        UserError: it is something else.
    """
    odd = tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu"
    if odd or tensor.dtype not in DTYPES:
        raise UserError(f"{source.name}: {name} is not a plain tensor.", hint=HINT)
    if any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape, strict=True)):
        raise UserError(f"{source.name}: {name} repeats one value.", hint=HINT)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{source.name}: {name} holds NaN or infinite values.", hint=HINT)
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    return tensor.detach().contiguous()
