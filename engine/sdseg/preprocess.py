"""From a slice of a scan to the network's picture, and the answer back onto the scan's own grid.

Training, inference and the fit check all go through here, so they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.domain.box import Box, full_box
from engine.domain.volume import Volume
from engine.models.schema import Preprocessing

Region = tuple[slice, slice]
SAMPLES_FOR_PERCENTILES = 1_000_000


@dataclass(frozen=True)
class Turn:
    """From a slice of the array to the file's own rows and columns: flips, then transposition."""

    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False

    def apply(self, values: Tensor) -> Tensor:
        """[..., rows, columns], turned."""
        flipped = values.flip(self._axes) if self._axes else values
        return flipped.transpose(-2, -1) if self.transpose else flipped

    def revert(self, values: Tensor) -> Tensor:
        """The reverse of `apply`."""
        upright = values.transpose(-2, -1) if self.transpose else values
        return upright.flip(self._axes) if self._axes else upright

    @property
    def _axes(self) -> tuple[int, ...]:
        return (-2,) * self.flip_rows + (-1,) * self.flip_columns


UPRIGHT = Turn()


def turn_of(scan: Volume, axis: int, rules: Preprocessing) -> Turn:
    """How slices along `axis` are turned for a model."""
    if rules.layout == "shown" or scan.is_picture:
        return UPRIGHT
    rows, columns = (a for a in range(3) if a != axis)
    form = scan.stored
    return Turn(form.flipped[rows], form.flipped[columns], form.axes[rows] > form.axes[columns])


@dataclass(frozen=True)
class Placement:
    """Where a region lies inside the network's square picture.

    Attributes:
        native: (rows, columns) of the region on the scan's grid, turned as `turn` says.
        inner: (rows, columns) it takes inside the square.
        offset: (top, left) of that part.
        size: side of the square.
        turn: how the region was turned before.
    """

    native: tuple[int, int]
    inner: tuple[int, int]
    offset: tuple[int, int]
    size: int
    turn: Turn = UPRIGHT


def spacing_in_slice(scan: Volume, axis: int) -> tuple[float, float]:
    """(row, column) distance in mm within slices along `axis`."""
    rows, columns = (s for a, s in enumerate(scan.grid.spacing) if a != axis)
    return rows, columns


def place(
    native: tuple[int, int],
    spacing: tuple[float, float] | None,
    rules: Preprocessing,
    turn: Turn = UPRIGHT,
) -> Placement:
    """Decides where a region goes in the square.

    A model with a training field (`field_mm`) keeps true size: a region smaller than the field is
    surrounded by the lowest value; a larger one is shrunk to fit.

    Args:
        native: (rows, columns) of the region, turned.
        spacing: (row, column) distance in mm, likewise, or None if it is not known.
        rules: the model's preprocessing.
        turn: how it was turned.
    """
    size = rules.size
    if rules.fit == "squeeze":
        return Placement(native, (size, size), (0, 0), size, turn)
    row_mm, column_mm = spacing or (1.0, 1.0)
    extent = (native[0] * row_mm, native[1] * column_mm)
    field = max(*extent, rules.field_mm or 0.0)
    inner = tuple(min(max(round(length / field * size), 1), size) for length in extent)
    offset = ((size - inner[0]) // 2, (size - inner[1]) // 2)
    return Placement(native, (inner[0], inner[1]), offset, size, turn)


def intensity_range(
    scan: Volume, rules: Preprocessing, box: Box | None, window: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The real values that become -1 and 1, the same for every slice of a request.

    Args:
        scan: the scan; only loaded slices are looked at.
        rules: the model's preprocessing.
        box: region of interest, or None.
        window: (level, width) that a person chose instead of the model's rule.
    """
    if rules.intensity == "window_or_full" and window is None and scan.array.dtype == np.uint8:
        return _in_order(scan, np.array([0, 255]))
    chosen = window or (rules.window if rules.intensity.startswith("window") else None)
    if chosen is not None:
        low, high = chosen[0] - chosen[1] / 2, chosen[0] + chosen[1] / 2
        return _extremes(scan, low, high) if rules.intensity == "window_extremes" else (low, high)
    if rules.intensity == "full" and scan.array.dtype == np.uint8:
        return _in_order(scan, np.array([0, 255]))
    values = _sample(scan, box or full_box(scan.grid.shape))
    if scan.padding is not None and not scan.is_colour:
        values = values[values != scan.padding]
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return 0.0, 1.0
    return _in_order(scan, np.percentile(finite, (1, 99)))


def _sample(scan: Volume, box: Box) -> NDArray[Any]:
    """Every n-th voxel of a box along each axis, of the slices that are loaded."""
    part = scan.array[box.slices]
    step = max(1, round((part.size / SAMPLES_FOR_PERCENTILES) ** (1 / 3)))
    within = tuple(slice(None, None, None if a == scan.plane else step) for a in range(3))
    loaded = np.flatnonzero(scan.loaded[box.slices[scan.plane]])
    return part[within].take(loaded[::step], axis=scan.plane)


def _in_order(scan: Volume, stored: NDArray[Any]) -> tuple[float, float]:
    """Two stored values as real ones, the lower first; they are never equal."""
    low, high = sorted(float(x) for x in scan.real(stored))
    return low, high if high > low else low + 1.0


def _extremes(scan: Volume, low: float, high: float) -> tuple[float, float]:
    """The smallest and the largest value of a scan, clipped to low..high."""
    loaded = np.flatnonzero(scan.loaded)
    values = scan.array if len(loaded) == scan.slice_count else scan.array.take(loaded, scan.plane)
    if values.size == 0:
        return low, high
    ends = scan.real(np.array([values.min(), values.max()])).clip(low, high)
    first, last = sorted(float(x) for x in ends)
    return (first, last) if last > first else (low, high)


def _neighbours(scan: Volume, index: int, axis: int) -> list[int]:
    """Indices of the slice before, at and behind; one that is not there is the slice itself."""
    found = [index - 1, index, index + 1]
    return [n if _is_there(scan, n, axis) else index for n in found]


def _is_there(scan: Volume, index: int, axis: int) -> bool:
    inside = 0 <= index < scan.grid.shape[axis]
    return inside and (axis != scan.plane or bool(scan.loaded[index]))


def _channels(scan: Volume, index: int, region: Region, axis: int, rules: Preprocessing) -> Tensor:
    """Stored values of the region as float32 [3, rows, columns]."""
    if rules.channels == "neighbours" and not scan.is_colour:
        planes = [scan.slice(n, axis)[region] for n in _neighbours(scan, index, axis)]
        return torch.from_numpy(np.stack(planes).astype(np.float32))
    values = torch.from_numpy(scan.slice(index, axis)[region].astype(np.float32))
    if not scan.is_colour:
        return values.expand(3, *values.shape)
    colour = values.permute(2, 0, 1)
    if rules.channels == "rgb":
        return colour
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R BT.601 luma
    return (colour * weights).sum(dim=0, keepdim=True).expand(3, -1, -1)


def prepare(
    scan: Volume,
    index: int,
    region: Region,
    rules: Preprocessing,
    values: tuple[float, float],
    axis: int | None = None,
) -> tuple[NDArray[np.float32], Placement]:
    """The network's picture of one slice.

    Args:
        scan: picture or volume.
        index: slice along `axis`.
        region: (rows, columns) of the slice.
        rules: the model's preprocessing.
        values: (low, high) from `intensity_range`.
        axis: None means the scan's own plane.

    Returns:
        float32 [3, size, size] in [-1, 1], and where the region lies in it.
    """
    axis = scan.plane if axis is None else axis
    stored = _channels(scan, index, region, axis, rules)
    low, high = values
    real = stored * scan.slope + scan.intercept
    scaled = ((real - low) / (high - low) * 2.0 - 1.0).clamp(-1.0, 1.0).nan_to_num(-1.0)
    if scan.inverted:  # MONOCHROME1: the network sees what a reader sees
        scaled = -scaled
    turn = turn_of(scan, axis, rules)
    scaled = turn.apply(scaled)
    spacing = spacing_in_slice(scan, axis) if scan.grid.calibrated else None
    if spacing and turn.transpose:
        spacing = spacing[1], spacing[0]
    placement = place((scaled.shape[1], scaled.shape[2]), spacing, rules, turn)
    return into_square(scaled, placement, fill=-1.0, how=rules.resample).numpy(), placement


def into_square(values: Tensor, placement: Placement, fill: float, how: str = "area") -> Tensor:
    """Resamples [C, rows, columns] in [-1, 1] into the square [C, size, size]; see the schema."""
    if how.startswith("pillow"):
        inner = _by_pillow(values, placement.inner, bicubic=how == "pillow_bicubic")
    else:
        corners = how == "corners"
        inner = F.interpolate(
            values[None],
            size=placement.inner,
            mode="bilinear",
            antialias=not corners,
            align_corners=corners,
        )[0]
    square = torch.full((len(values), placement.size, placement.size), fill)
    top, left = placement.offset
    square[:, top : top + placement.inner[0], left : left + placement.inner[1]] = inner
    return square


def _by_pillow(values: Tensor, size: tuple[int, int], bicubic: bool) -> Tensor:
    """As Pillow resizes an 8-bit RGB picture, its rounding included."""
    method = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    picture = ((values + 1.0) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy()
    resized = np.asarray(
        Image.fromarray(picture).resize((size[1], size[0]), method), dtype=np.float32
    )
    return torch.from_numpy(resized).permute(2, 0, 1) / 127.5 - 1.0


def restore(probability: NDArray[np.float32] | Tensor, placement: Placement) -> NDArray[np.float32]:
    """A map of the square back on the region's own grid, linearly, before any threshold.

    Args:
        probability: [size, size].
        placement: from `prepare`.

    Returns:
        float32 [rows, columns].
    """
    top, left = placement.offset
    whole = torch.as_tensor(probability, dtype=torch.float32)
    inner = whole[top : top + placement.inner[0], left : left + placement.inner[1]]
    shrinks = placement.native[0] < placement.inner[0] or placement.native[1] < placement.inner[1]
    back = F.interpolate(
        inner[None, None],
        size=placement.native,
        mode="bilinear",
        antialias=shrinks,
        align_corners=False,
    )
    return placement.turn.revert(back[0, 0]).contiguous().numpy()
