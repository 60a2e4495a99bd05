"""Reading safetensors without trusting them: sizes are checked before a byte is taken in."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import UserError
from engine.models.store import BROKEN

MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_TENSORS = 20_000
FLOATS = {"F32", "F16", "BF16"}


def check_header(file: Path) -> None:
    """Refuses a file whose header is missing, too large or longer than the file.

    Raises:
        UserError: with the file's name.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise UserError(f"{file.name} can't be read: {error.strerror}.", hint=BROKEN) from error
    header = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= header <= min(MAX_HEADER_BYTES, size - 8):
        raise UserError(f"{file.name} is not a valid safetensors file.", hint=BROKEN)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, list[str]]]:
    """A checked file and the names in it.

    Raises:
        UserError: it is broken, or holds too many tensors.
    """
    check_header(file)
    try:
        with safe_open(file, framework="pt", device="cpu") as stream:
            names = list(stream.keys())
            if len(names) > MAX_TENSORS:
                raise UserError(f"{file.name} holds {len(names)} tensors.", hint=BROKEN)
            yield stream, names
    except SafetensorError as error:
        raise UserError(f"{file.name} is not a valid safetensors file.", hint=BROKEN) from error


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, without reading the tensors.

    Raises:
        UserError: the file is broken.
    """
    with _opened(file) as (stream, names):
        return {name: tuple(stream.get_slice(name).get_shape()) for name in names}


def read_metadata(file: Path) -> dict[str, str]:
    """The words that a file's header carries beside its tensors.

    Raises:
        UserError: the file is broken.
    """
    with _opened(file) as (stream, _):
        return dict(stream.metadata() or {})


def read_tensors(
    file: Path,
    expected: dict[str, Tensor] | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> dict[str, Tensor]:
    """The tensors of a file, floats as float32.

    Args:
        file: a safetensors file.
        expected: if given, names and shapes (and float or not) must be these exactly; tensors on
            the meta device will do.
        wanted: if given, only the tensors whose names it accepts are read.

    Raises:
        UserError: the file is broken, does not match, or holds NaN or infinite values.
    """
    with _opened(file) as (stream, names):
        if expected is not None:
            _compare(file, _forms(stream, names), expected)
        chosen = names if wanted is None else filter(wanted, names)
        return {name: _checked(file, name, stream.get_tensor(name)) for name in chosen}


def check_form(module: nn.Module, file: Path) -> None:
    """Compares names, shapes and types with a module's; no tensor is read.

    Raises:
        UserError: the file is broken or does not match.
    """
    with _opened(file) as (stream, names):
        _compare(file, _forms(stream, names), module.state_dict())


def _forms(stream: Any, names: list[str]) -> dict[str, tuple[list[int], str]]:
    slices = {n: stream.get_slice(n) for n in names}
    return {n: (x.get_shape(), x.get_dtype()) for n, x in slices.items()}


def _compare(
    file: Path, found: dict[str, tuple[list[int], str]], expected: dict[str, Tensor]
) -> None:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    if missing or extra:
        which = f"{missing[0]} is missing" if missing else f"{extra[0]} is not expected"
        raise UserError(f"{file.name} does not fit its config.json: {which}.", hint=BROKEN)
    for name, (shape, dtype) in found.items():
        if list(expected[name].shape) != shape:
            wanted = list(expected[name].shape)
            raise UserError(
                f"{file.name}: {name} has shape {shape}, expected {wanted}.", hint=BROKEN
            )
        if expected[name].is_floating_point() != (dtype in FLOATS):
            raise UserError(f"{file.name}: {name} has the type {dtype}.", hint=BROKEN)


def _checked(file: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(f"{file.name}: {name} holds NaN or infinite values.", hint=BROKEN)
    return tensor


def save_tensors(
    file: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file.

    Raises:
        OSError: the disk refused; safetensors itself says it with an error of its own.
    """
    try:
        save_file(tensors, file, metadata=metadata)
    except SafetensorError as error:
        code = re.search(r"os error ([0-9]+)", str(error))
        told = (int(code[1]), os.strerror(int(code[1]))) if code else (str(error),)
        raise OSError(*told) from error


def load_into(module: nn.Module, file: Path) -> None:
    """Fills a module that may still lie on the meta device; every tensor must match.

    Raises:
        UserError: see `read_tensors`.
    """
    module.load_state_dict(read_tensors(file, module.state_dict()), strict=True, assign=True)
