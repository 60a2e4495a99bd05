"""A real network of a few thousand random weights, saved as a model folder, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.domain.grid import Grid, picture_grid
from engine.domain.volume import Volume
from engine.models.schema import FitStatistic, ModelInfo, Preprocessing, TargetEntry
from engine.models.store import ModelEntry, read_entry
from engine.sdseg.config import TINY
from engine.sdseg.fit import fit_features, fit_statistic, trunk_sha256
from engine.sdseg.folder import save_model
from engine.sdseg.network import SDSegNetwork


def tiny_network(seed: int = 1) -> SDSegNetwork:
    torch.manual_seed(seed)
    return SDSegNetwork.build(TINY).eval()


def tiny_info(**changes: Any) -> ModelInfo:
    settings: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny model",
        "preset": "compact",
        "kind": "stripes",
        "classes": {1: "disc"},
        "targets": (TargetEntry(name="disc", class_ids=(1,)),),
        "preprocessing": Preprocessing(size=64),
        "prediction_type": "sample",
        "scale_factor": 1.0,
    }
    return ModelInfo(**{**settings, **changes})


def save_tiny(folder: Path, seed: int = 1, **changes: Any) -> ModelEntry:
    """A tiny model without a fit statistic."""
    save_model(folder, tiny_network(seed), tiny_info(**changes), "# Tiny\n")
    return read_entry(folder)


def save_two_class(folder: Path, **changes: Any) -> ModelEntry:
    """A tiny model of two classes, 2 "rim" and 5 "cup", with targets "disc" (both) and "cup"."""
    torch.manual_seed(3)
    network = SDSegNetwork.build(replace(TINY, channel_classes=2)).eval()
    settings: dict[str, Any] = {
        "classes": {2: "rim", 5: "cup"},
        "targets": (
            TargetEntry(name="disc", class_ids=(2, 5)),
            TargetEntry(name="cup", class_ids=(5,)),
        ),
        "class_coding": "channels",
        "softmax_temperature": 0.3,
    }
    save_model(folder, network, tiny_info(**{**settings, **changes}), "# Two\n")
    return read_entry(folder)


def save_fitted_tiny(
    folder: Path, pictures: torch.Tensor, modalities: tuple[str, ...] = ("picture",), **changes: Any
) -> ModelEntry:
    """A tiny model whose fit statistic was measured on pictures [N, 3, 64, 64] in [-1, 1]."""
    features = fit_features(pictures)
    middle = 3 * len(features) // 4
    cloud, threshold = fit_statistic(features[:middle], features[middle:], middle)
    statistic = FitStatistic(
        threshold=threshold,
        modalities=modalities,
        colour=changes.pop("colour", None),
        trunk_sha256=trunk_sha256(),
    )
    info = tiny_info(fit=statistic, **changes)
    save_model(folder, tiny_network(), info, "# Tiny\n", cloud.tensors())
    return read_entry(folder)


def picture_scan(height: int = 50, width: int = 70, seed: int = 0) -> Volume:
    values = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3)).astype(np.uint8)
    return Volume(values, picture_grid(height, width), modality="picture")


def mr_scan(depth: int = 6, height: int = 40, width: int = 48, seed: int = 0) -> Volume:
    values = np.random.default_rng(seed).integers(0, 900, (depth, height, width)).astype(np.int16)
    grid = Grid((depth, height, width), np.diag([-1.0, -1.5, 2.0, 1.0]))
    return Volume(values, grid, modality="MR")
