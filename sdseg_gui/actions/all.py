"""Importing this module binds every command."""

from sdseg_gui.actions import (
    cases,
    exporting,
    finetuning,
    helping,
    mask_opening,
    projects,
    segmenting,
    time_points,
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
    "time_points",
    "viewing",
]
