"""Importing this module binds every command."""

from sdseg_gui.actions import (
    cases,
    exporting,
    finetuning,
    helping,
    mask_opening,
    projects,
    segmenting,
    viewing,
)
from sdseg_gui.actions.registry import BINDINGS

__all__ = [
    "BINDINGS",
    "cases",
    "exporting",
    "finetuning",
    "helping",
    "mask_opening",
    "projects",
    "segmenting",
    "viewing",
]
