"""Random geometry and intensity, for a whole batch at once, from a given generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.options import Augmentation


class _Draw:
    """Random numbers for each picture of a batch."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count = count
        self.generator = generator

    def between(self, low: float, high: float) -> Tensor:
        """Uniform, float32 [B]."""
        return torch.rand(self.count, generator=self.generator) * (high - low) + low

    def around_one(self, factor: float) -> Tensor:
        """Between 1/factor and factor, uniform in the logarithm."""
        return torch.exp(self.between(-math.log(factor), math.log(factor)))

    def sign(self) -> Tensor:
        """-1 or 1."""
        return torch.where(self.between(0.0, 1.0) < 0.5, -1.0, 1.0)


def augment(
    pictures: Tensor, masks: Tensor, rules: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The batch as another patient, scanner or camera might have given it.

    Args:
        pictures: [B, 3, S, S] in [-1, 1].
        masks: [B, 1, S, S] in 0..1.
        rules: what to change, and how far.
        generator: on the CPU; equal state gives equal results.

    Returns:
        Pictures in [-1, 1] and masks in {0, 1} of the same shapes.
    """
    draw = _Draw(len(pictures), generator)
    grid = F.affine_grid(_matrices(draw, rules), list(pictures.shape), align_corners=False)
    # Outside the picture is the lowest value, as around a padded picture.
    moved = F.grid_sample(pictures + 1.0, grid, mode="bilinear", align_corners=False) - 1.0
    moved_masks = F.grid_sample(masks, grid, mode="bilinear", align_corners=False)
    return _intensities(moved, draw, rules), (moved_masks > 0.5).float()


def _matrices(draw: _Draw, rules: Augmentation) -> Tensor:
    """Output to input coordinates, [B, 2, 3]."""
    angle = draw.between(-rules.rotate, rules.rotate) * (math.pi / 180.0)
    zoom = torch.exp(draw.between(math.log(rules.scale[0]), math.log(rules.scale[1])))
    stretch = draw.around_one(1.0 + rules.aspect)
    x_scale, y_scale = stretch.sqrt() / zoom, 1.0 / (stretch.sqrt() * zoom)
    flip_x, flip_y = draw.sign(), draw.sign()
    if "h" in rules.flips:
        x_scale = x_scale * flip_x
    if "v" in rules.flips:
        y_scale = y_scale * flip_y
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x, shift_y = (draw.between(-2.0 * rules.shift, 2.0 * rules.shift) for _ in range(2))
    rows = [
        torch.stack([cos * x_scale, -sin * y_scale, shift_x], dim=1),
        torch.stack([sin * x_scale, cos * y_scale, shift_y], dim=1),
    ]
    return torch.stack(rows, dim=1)


def _intensities(pictures: Tensor, draw: _Draw, rules: Augmentation) -> Tensor:
    def column(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    unit = (pictures + 1.0) / 2.0
    unit = unit.clamp(0.0, 1.0) ** column(draw.around_one(rules.gamma))
    mean = unit.mean(dim=(1, 2, 3), keepdim=True)
    unit = (unit - mean) * column(draw.around_one(1.0 + rules.contrast)) + mean
    unit = unit + column(draw.between(-rules.brightness, rules.brightness)) / 2.0
    if rules.colour:
        gains = torch.stack([draw.around_one(1.0 + rules.colour) for _ in range(3)], dim=1)
        unit = unit * gains[:, :, None, None]
    if rules.saturation:
        grey = unit.mean(dim=1, keepdim=True)
        unit = grey + (unit - grey) * column(draw.around_one(1.0 + rules.saturation))
    if rules.blur:
        unit = _blur(unit, draw.between(-rules.blur, rules.blur).clamp(min=0.0))
    if rules.noise:
        spread = column(draw.between(-rules.noise, rules.noise).clamp(min=0.0)) / 2.0
        unit = unit + torch.randn(unit.shape, generator=draw.generator) * spread
    return unit.clamp(0.0, 1.0) * 2.0 - 1.0


def _blur(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """Separable Gaussian blur with its own sigma for each picture; sigma 0 leaves it alone."""
    radius = max(1, math.ceil(2.5 * float(sigmas.max())))
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = torch.exp(-(place**2) / (2.0 * sigmas.clamp(min=1e-3)[:, None] ** 2))
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    batch, channels, rows, columns = pictures.shape
    weights = kernels.repeat_interleave(channels, dim=0)
    flat = pictures.reshape(1, batch * channels, rows, columns)
    groups = batch * channels
    padded = F.pad(flat, (radius, radius, 0, 0), mode="reflect")
    flat = F.conv2d(padded, weights[:, None, None, :], groups=groups)
    padded = F.pad(flat, (0, 0, radius, radius), mode="reflect")
    flat = F.conv2d(padded, weights[:, None, :, None], groups=groups)
    return flat.reshape(batch, channels, rows, columns)
