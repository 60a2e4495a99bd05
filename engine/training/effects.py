"""MONAI's random transforms of intensity, as further augmentation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from engine.training.randomness import Draw

# Name -> what it imitates; `_transforms` makes them.
EFFECTS = {
    "bias_field": "uneven sensitivity or lighting",
    "low_resolution": "a coarser detector",
    "gibbs": "ringing at edges (MR)",
    "histogram": "another film or sensor curve",
    "sharpen": "sharpening by the device",
    "rician": "noise of MR magnitudes",
    "dropout": "parts that are hidden",
}


@cache
def _transforms() -> dict[str, Any]:
    from monai.transforms.intensity.array import (
        RandBiasField,
        RandCoarseDropout,
        RandGaussianSharpen,
        RandGibbsNoise,
        RandHistogramShift,
        RandRicianNoise,
    )
    from monai.transforms.spatial.array import RandSimulateLowResolution

    return {
        "bias_field": RandBiasField(degree=3, coeff_range=(-0.25, 0.25), prob=1.0),
        "low_resolution": RandSimulateLowResolution(
            prob=1.0, zoom_range=(0.35, 0.9), upsample_mode="bilinear"
        ),
        "gibbs": RandGibbsNoise(prob=1.0, alpha=(0.2, 0.7)),
        "histogram": RandHistogramShift(num_control_points=(4, 8), prob=1.0),
        "sharpen": RandGaussianSharpen(prob=1.0),
        "rician": RandRicianNoise(prob=1.0, std=0.04),
        "dropout": RandCoarseDropout(
            holes=1, max_holes=6, spatial_size=(8, 8), max_spatial_size=(48, 48), prob=1.0
        ),
    }


def apply_effects(unit: Tensor, chances: tuple[tuple[str, float], ...], draw: Draw) -> Tensor:
    """Each effect on each picture with its chance.

    Args:
        unit: pictures [B, 3, S, S] in 0..1.
        chances: (name of `EFFECTS`, probability).
        draw: a generator a picture.

    Returns:
        Pictures in 0..1.
    """
    for name, chance in chances:
        happens = draw.between(0.0, 1.0) < chance
        seeds = draw.between(0.0, 2.0**31 - 256.0).long()
        if happens.any():
            made = _transforms()[name]
            unit = torch.stack(
                [
                    _changed(picture, made, int(seed)) if does else picture
                    for picture, does, seed in zip(unit, happens, seeds, strict=True)
                ]
            )
    return unit


def _changed(picture: Tensor, transform: Callable[[Tensor], Any], seed: int) -> Tensor:
    transform.set_random_state(seed=seed)  # type: ignore[attr-defined]
    return torch.as_tensor(transform(picture.clone())).as_subclass(Tensor).clamp(0.0, 1.0)
