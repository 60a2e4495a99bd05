"""Which device and precision a run uses, and what counts as out of memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch

from engine.errors import UserError
from engine.system.device import available_memory

Precision = Literal["fp32", "bf16", "fp16"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device of "auto", "cpu" or "cuda".

    Raises:
        UserError: CUDA was asked for and is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA GPU here.", hint="Use --device auto or --device cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of "auto", "fp32", "bf16" or "fp16" on a device.

    "auto" is fp32 on a CPU, where results are to be the same everywhere, and bf16 on a GPU that
    computes in it; older ones (the paper's V100) would only emulate it.
    """
    if name == "auto":
        return "bf16" if device.type == "cuda" and _has_bf16(device) else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise UserError("A CPU does not compute in fp16.", hint="Use --precision bf16 or fp32.")
    return {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}[name]  # type: ignore[return-value]


def choose_training_precision(name: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """The precision of "auto", "fp32" or "bf16" for training's forward pass on a device.

    "auto" is bf16 where the device has instructions for it. A CPU without them (AVX2 only) would
    need about a hundred times as long for a convolution as in fp32; measured on an AMD EPYC.
    """
    if name == "auto":
        return "bf16" if _has_bf16(device) else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def autocast(device: torch.device, precision: Precision) -> Any:
    """Autocast for encoder and decoder; the U-Net always runs in fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, TYPES[precision])


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within it, equal input gives equal bytes: no search for algorithms, no shortened fp32.

    TF32 would cut the U-Net's fp32 to ten bits, and its error grows 38.7 times at T-1.
    """
    if device.type != "cuda":
        yield
        return
    shortened = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = shortened


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return available_memory()


# Memory that CUDA or one of its libraries can't get is told by words in a plain RuntimeError, too.
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for a GPU's own error, and for those that are told from others by their words."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )
