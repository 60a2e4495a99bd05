"""What all readers of headers check and say alike."""

from __future__ import annotations

from pathlib import Path

from engine.errors import UserError

MAX_BYTES = 16 * 2**30
DEFLATE_LIMIT = 1040  # gzip and zlib shrink by at most 1032 times


def cut_short(path: Path, what: str = "voxels") -> UserError:
    """The error of a file that ends too early."""
    return UserError(
        f"{path.name} is cut short: it holds fewer {what} than its header says.",
        hint="Copy the file again from where it came.",
    )


def check_size(path: Path, nbytes: int) -> None:
    """Refuses what is larger than anything that opens.

    Raises:
        UserError: the voxels take more than `MAX_BYTES`.
    """
    if nbytes > MAX_BYTES:
        raise UserError(
            f"{path.name} has {nbytes / 2**30:.0f} GB of voxels, "
            f"more than the {MAX_BYTES >> 30} GB that open."
        )


def other_unit(path: Path, unit: str) -> str:
    """What is said of a file whose lengths are not in mm; most of them only say so wrongly."""
    return f"{path.name} says its lengths are in {unit}; they are read as mm."
