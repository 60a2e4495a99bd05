"""What can't be done with slices that lie unevenly."""

from __future__ import annotations

from pathlib import Path

from engine.domain.volume import Volume
from engine.errors import UserError


def require_even(scan: Volume, path: Path) -> None:
    """Refuses a format that has one distance for all slices, where they lie unevenly.

    Args:
        scan: whose mask is written.
        path: to be written.

    Raises:
        UserError: the slices lie unevenly.
    """
    if scan.is_even:
        return
    raise UserError(
        f"{path.name} can't be written: the slices lie unevenly, and this format has one distance "
        "for all of them.",
        hint="Export the mask as DICOM SEG (.dcm), which has each slice's own place, or as a "
        "folder of PNGs.",
    )
