"""Tiny models with random weights for the tests of scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.models.schema import TargetEntry
from engine.models.store import ModelEntry, read_entry
from engine.sdseg.config import TINY
from engine.sdseg.folder import save_model
from engine.sdseg.network import SDSegNetwork
from tests.tiny_model import tiny_info

CLASSES = 4  # background included
TARGETS = (
    TargetEntry(name="disc", class_ids=(1, 2)),
    TargetEntry(name="cup", class_ids=(2,)),
    TargetEntry(name="vessel", class_ids=(3,)),
)


def save_classes(folder: Path, seed: int = 1, **changes: Any) -> ModelEntry:
    """A tiny model of three classes and three targets, of which two overlap."""
    torch.manual_seed(seed)
    config = replace(TINY, unet=replace(TINY.unet, class_count=CLASSES))
    info = tiny_info(
        classes={1: "rim", 2: "cup", 3: "vessel"},
        targets=TARGETS,
        class_coding="embed",
        **changes,
    )
    save_model(folder, SDSegNetwork.build(config).eval(), info, "# Tiny\n")
    return read_entry(folder)
