"""Pictures as a stranger's device might have made them: the same test case, changed on its grid.

Every change is deterministic: what is random (noise, the direction of a bias field) comes from the
names of change and case. Lengths are shares of the picture's long side, so that they survive
resampling to a network's size alike for every data set. The truth stays as it is.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.domain.volume import Volume

Change = Callable[[Tensor, torch.Generator], Tensor]
GREY_AXIS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


@dataclass(frozen=True)
class Shift:
    """One change at one strength.

    Attributes:
        kind: column of the tables.
        strength: tells the shifts of a kind apart.
        change: of a picture [C, rows, columns] or a volume [k, j, i], 0..1, and a generator; the
            result may leave 0..1.
    """

    kind: str
    strength: str
    change: Change

    @property
    def name(self) -> str:
        """Of its scores."""
        return f"{self.kind}: {self.strength}"

    def apply(self, scan: Volume, case: str) -> Volume:
        """The scan as the other device made it; same grid, same type of numbers.

        Args:
            scan: picture or volume.
            case: its name, from which random numbers follow.
        """
        unit, low, high = _as_unit(scan)
        generator = torch.Generator().manual_seed(_number(f"{self.name}/{case}"))
        made = self.change(unit, generator) * (high - low) + low
        return replace(scan, array=_as_stored(made, scan))


def shifts_for(scan: Volume) -> list[Shift]:
    """The shifts of a scan of this kind: colour picture, grey picture, or volume."""
    if scan.array.shape[0] > 1:
        return VOLUME_SHIFTS
    return PICTURE_SHIFTS + (COLOUR_SHIFTS if scan.is_colour else GREY_SHIFTS)


def _number(words: str) -> int:
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:7], "little")


def _as_unit(scan: Volume) -> tuple[Tensor, float, float]:
    """Values as 0..1, [C, rows, columns] of a picture and [k, j, i] of a volume; and the ends."""
    array = scan.array
    values = torch.from_numpy(array.astype(np.float32))
    if array.dtype == np.uint8:
        low, high = 0.0, 255.0
    else:
        low, high = float(values.min()), float(values.max())
        high = high if high > low else low + 1.0
    if scan.is_colour:
        values = values[0].permute(2, 0, 1)
    return (values - low) / (high - low), low, high


def _as_stored(values: Tensor, scan: Volume) -> NDArray[Any]:
    if scan.is_colour:
        values = values.permute(1, 2, 0)[None]
    kind = scan.array.dtype
    found = values.numpy().astype(np.float32)
    if kind.kind in "ui":
        ends = np.iinfo(kind)
        found = found.round().clip(ends.min, ends.max)
    return found.astype(kind)


def _gain(factor: float) -> Change:
    return lambda unit, _: (unit * factor).clamp(0.0, 1.0)


def _contrast(factor: float) -> Change:
    return lambda unit, _: ((unit - unit.mean()) * factor + unit.mean()).clamp(0.0, 1.0)


def _gamma(exponent: float) -> Change:
    return lambda unit, _: unit.clamp(0.0, 1.0) ** exponent


def _curve(steepness: float) -> Change:
    """A film's curve through 0, 1/2 and 1: steeper or flatter in the middle, never inverted."""

    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        up, down = unit.clamp(0.0, 1.0) ** steepness, (1.0 - unit).clamp(0.0, 1.0) ** steepness
        return up / (up + down)

    return change


def _noise(spread: float) -> Change:
    return lambda unit, g: unit + spread * torch.randn(unit.shape, generator=g)


def _picture_blur(share: float) -> Change:
    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        sigma = share * max(unit.shape[-2:])
        return _smooth(_smooth(unit, sigma, -1), sigma, -2)

    return change


def _volume_blur(sigma: float) -> Change:
    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        return _smooth(_smooth(_smooth(unit, sigma, 0), sigma, 1), sigma, 2)

    return change


def _smooth(values: Tensor, sigma: float, axis: int) -> Tensor:
    """A Gaussian along one axis; the edge's values go on outside."""
    radius = max(1, math.ceil(3.0 * sigma))
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(place**2) / (2.0 * sigma**2))
    moved = values.movedim(axis, -1)
    flat = F.pad(moved.reshape(1, -1, moved.shape[-1]), (radius, radius), mode="replicate")
    blurred = F.conv1d(flat.movedim(0, 1), (kernel / kernel.sum()).view(1, 1, -1))
    return blurred.reshape(moved.shape).movedim(-1, axis)


def _jpeg(quality: int) -> Change:
    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        values = (unit.clamp(0.0, 1.0) * 255.0).round().byte().numpy()
        stream = io.BytesIO()
        picture = Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))
        picture.save(stream, "JPEG", quality=quality)
        back = torch.from_numpy(np.array(Image.open(stream), dtype=np.float32) / 255.0)
        return back[None] if back.ndim == 2 else back.permute(2, 0, 1)

    return change


def _coarse(share: float) -> Change:
    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        rows, columns = unit.shape[-2:]
        small = (max(1, round(rows * share)), max(1, round(columns * share)))
        down = F.interpolate(unit[None], size=small, mode="bilinear", antialias=True)
        return F.interpolate(down, size=(rows, columns), mode="bilinear")[0]

    return change


def _camera(gains: tuple[float, float, float], degrees: float, saturation: float) -> Change:
    """Gains of the channels, a turn of the hues about the grey axis, and a saturation."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    same, cross = (1.0 - cos) / 3.0, sin / math.sqrt(3.0)
    a, b, c = cos + same, same - cross, same + cross
    turn = torch.tensor([[a, b, c], [c, a, b], [b, c, a]])
    luma = torch.tensor(GREY_AXIS)

    def change(unit: Tensor, _: torch.Generator) -> Tensor:
        turned = torch.einsum("oc,chw->ohw", turn, unit * torch.tensor(gains).view(3, 1, 1))
        grey = torch.einsum("c,chw->hw", luma, turned)[None]
        return (grey + (turned - grey) * saturation).clamp(0.0, 1.0)

    return change


def _bias_field(strength: float) -> Change:
    """A receiver coil's sensitivity: up to e^strength at one end, e^-strength at the other."""

    def change(unit: Tensor, generator: torch.Generator) -> Tensor:
        direction = torch.randn(3, generator=generator)
        direction = direction / direction.norm()
        ramps = [torch.linspace(-1.0, 1.0, n) for n in unit.shape]
        grids = torch.meshgrid(*ramps, indexing="ij")
        along = sum(d * g for d, g in zip(direction, grids, strict=True))
        return unit * torch.exp(strength * along / along.abs().max())

    return change


PICTURE_SHIFTS = [
    Shift("brightness", "x 0.6", _gain(0.6)),
    Shift("brightness", "x 1.4", _gain(1.4)),
    Shift("contrast", "x 0.5", _contrast(0.5)),
    Shift("contrast", "x 1.6", _contrast(1.6)),
    Shift("gamma", "0.6", _gamma(0.6)),
    Shift("gamma", "1.7", _gamma(1.7)),
    Shift("blur", "0.5 %", _picture_blur(0.005)),
    Shift("blur", "1 %", _picture_blur(0.01)),
    Shift("noise", "0.06", _noise(0.06)),
    Shift("noise", "0.15", _noise(0.15)),
    Shift("JPEG", "quality 25", _jpeg(25)),
    Shift("JPEG", "quality 8", _jpeg(8)),
    Shift("resolution", "1/2", _coarse(0.5)),
    Shift("resolution", "1/4", _coarse(0.25)),
]
COLOUR_SHIFTS = [
    Shift("colours", "warm, pale", _camera((1.1, 0.97, 0.85), 8.0, 0.75)),
    Shift("colours", "cool, vivid", _camera((0.78, 1.0, 1.3), -15.0, 1.35)),
]
GREY_SHIFTS = [
    Shift("colours", "steep curve", _curve(1.7)),
    Shift("colours", "flat curve", _curve(0.6)),
]
VOLUME_SHIFTS = [
    Shift("bias field", "0.3", _bias_field(0.3)),
    Shift("bias field", "0.7", _bias_field(0.7)),
    Shift("noise", "0.04", _noise(0.04)),
    Shift("noise", "0.1", _noise(0.1)),
    Shift("blur", "0.7 voxels", _volume_blur(0.7)),
    Shift("blur", "1.2 voxels", _volume_blur(1.2)),
]
KINDS = (
    "brightness", "contrast", "gamma", "blur", "noise", "JPEG", "resolution", "colours",
    "bias field",
)  # fmt: skip
