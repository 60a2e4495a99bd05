"""Pictures and masks as another patient, scanner or camera might have given them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from engine.training.body import raise_floor
from engine.training.effects import apply_effects
from engine.training.geometry import exclusive, place_randomly, warp
from engine.training.options import Augmentation
from engine.training.randomness import Draw


def augment(
    pictures: Tensor,
    masks: Tensor,
    rules: Augmentation,
    generators: Sequence[torch.Generator],
    matrices: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A batch, changed at random.

    Args:
        pictures: [B, 3, S, S] in [-1, 1].
        masks: [B, C, S, S] in 0..1, the share of each class in each pixel.
        rules: what to change, and how far.
        generators: one a picture, on the CPU; equal state gives equal results.
        matrices: [B, 2, 3], where the geometry is known already; None means anew.

    Returns:
        Pictures in [-1, 1] and masks in {0, 1} of the same shapes.
    """
    draw = Draw(generators)
    if matrices is None:
        matrices = place_randomly(pictures, masks, rules, draw)
    # Outside the picture is the lowest value, as around a padded picture.
    moved = warp(pictures + 1.0, matrices) - 1.0
    return change_intensities(moved, rules, draw), exclusive(warp(masks, matrices))


def change_intensities(pictures: Tensor, rules: Augmentation, draw: Draw) -> Tensor:
    """Exposure, colour, sharpness and noise of pictures [B, 3, S, S] in [-1, 1]."""
    unit = ((pictures + 1.0) / 2.0).clamp(0.0, 1.0)
    if rules.floor:
        unit = raise_floor(unit, rules.floor, draw)
    if rules.levels != (0.0, 1.0):
        low = _column(draw.between(0.0, rules.levels[0]))
        high = _column(draw.between(rules.levels[1], 1.0))
        unit = ((unit - low) / (high - low)).clamp(0.0, 1.0)
    unit = unit ** _column(draw.around_one(rules.gamma))
    unit = apply_effects(unit, rules.effects, draw)
    mean = unit.mean(dim=(1, 2, 3), keepdim=True)
    unit = (unit - mean) * _column(draw.around_one(1.0 + rules.contrast)) + mean
    unit = unit + _column(draw.between(-rules.brightness, rules.brightness)) / 2.0
    unit = _change_colours(unit, rules, draw)
    if rules.blur:
        unit = _blur(unit, draw.between(-rules.blur, rules.blur).clamp(min=0.0))
    if rules.noise:
        spread = _column(draw.between(-rules.noise, rules.noise).clamp(min=0.0)) / 2.0
        unit = unit + spread * torch.stack(
            [torch.randn(unit.shape[1:], generator=g) for g in draw.generators]
        )
    unit = unit.clamp(0.0, 1.0)
    if rules.jpeg < 100:
        unit = _as_jpeg(unit, draw.between(rules.jpeg, 200 - rules.jpeg))
    return unit * 2.0 - 1.0


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _change_colours(unit: Tensor, rules: Augmentation, draw: Draw) -> Tensor:
    if rules.colour:
        gains = torch.stack([draw.around_one(1.0 + rules.colour) for _ in range(3)], dim=1)
        unit = unit * gains[:, :, None, None]
    if rules.saturation:
        grey = unit.mean(dim=1, keepdim=True)
        unit = grey + (unit - grey) * _column(draw.around_one(1.0 + rules.saturation))
    return unit


def _as_jpeg(unit: Tensor, qualities: Tensor) -> Tensor:
    """Pictures as a JPEG file keeps them; those of a quality of 100 or more stay as they are."""
    found: list[Tensor] = []
    for picture, quality in zip(unit, qualities.tolist(), strict=True):
        if quality < 100:
            values = (picture * 255.0).round().byte().permute(1, 2, 0).contiguous().numpy()
            stream = io.BytesIO()
            Image.fromarray(values).save(stream, "JPEG", quality=round(quality))
            back = np.array(Image.open(stream).convert("RGB"), dtype=np.float32) / 255.0
            picture = torch.from_numpy(back).permute(2, 0, 1)
        found.append(picture)
    return torch.stack(found)


def _blur(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """Separable Gaussian blur with its own sigma for each picture; sigma 0 leaves it alone."""
    found = [_blurred(p, s) if s > 0 else p for p, s in zip(pictures, sigmas.tolist(), strict=True)]
    return torch.stack(found)


def _blurred(picture: Tensor, sigma: float) -> Tensor:
    """One picture [C, H, W]; a batch would need the radius of its widest kernel for all."""
    radius = max(1, math.ceil(2.5 * sigma))
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(place**2) / (2.0 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = F.pad(picture[:, None], (radius, radius, 0, 0), mode="reflect")
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1))
    flat = F.pad(flat, (0, 0, radius, radius), mode="reflect")
    return F.conv2d(flat, kernel.view(1, 1, -1, 1))[:, 0]
