"""Two small line charts, one over the other: loss terms, and Dice on val."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[int, float]]
SIZE = (960, 640)
FINE = 3  # drawn so many times larger, then reduced: smooth lines
INK, FAINT, GRID, PAPER = "#2b2b2b", "#8a8a8a", "#e6e6e6", "#ffffff"
# Told apart also by people who see few colours (Okabe and Ito).
COLOURS = {
    "loss": "#000000", "noise": "#0072b2", "latent": "#e69f00", "mask": "#009e73",
    "pyramid": "#cc79a7", "val Dice": "#d55e00",
}  # fmt: skip
SMOOTH = 0.05  # of the rows are averaged for the thick line


@dataclass(frozen=True)
class _Axes:
    """A frame in pixels of the picture, and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    last: int
    low: float
    high: float

    def at(self, step: float, value: float) -> tuple[float, float]:
        x = self.left + (self.right - self.left) * step / self.last
        share = (value - self.low) / (self.high - self.low)
        return x, self.bottom - (self.bottom - self.top) * min(max(share, 0.0), 1.0)


def draw_chart(losses: Mapping[str, Points], val_dice: Points) -> Image.Image:
    """The course of a run as a picture, RGB 960 x 640.

    Args:
        losses: name -> (step, value), ascending; empty ones are left out.
        val_dice: (step, Dice), ascending.
    """
    image = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), PAPER)
    pen = ImageDraw.Draw(image)
    shown = {name: points for name, points in losses.items() if points}
    steps = [step for points in (*shown.values(), val_dice) for step, _ in points]
    last = max(steps, default=1)
    _panel(pen, "training loss", shown, (40, 330), last, _range_of(shown))
    _panel(pen, "Dice on val", {"val Dice": val_dice}, (390, 590), last, (0.0, 1.0))
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def _range_of(courses: Mapping[str, Points]) -> tuple[float, float]:
    """From 0 to a little above nearly all values; a few peaks must not flatten the rest."""
    values = sorted(value for points in courses.values() for _, value in points)
    if not values:
        return 0.0, 1.0
    top = values[min(len(values) - 1, int(0.99 * len(values)))]
    return min(0.0, values[0]), max(top * 1.08, 1e-6)


def _panel(
    pen: ImageDraw.ImageDraw,
    title: str,
    courses: Mapping[str, Points],
    rows: tuple[int, int],
    last: int,
    values: tuple[float, float],
) -> None:
    axes = _Axes(64 * FINE, rows[0] * FINE, 836 * FINE, rows[1] * FINE, last, *values)
    pen.text((axes.left, axes.top - 10 * FINE), title, INK, _font(15), anchor="ls")
    _grid(pen, axes)
    names = list(courses)
    for name, points in courses.items():
        _line(pen, axes, points, COLOURS[name])
    _legend(pen, axes, {n: courses[n][-1][1] for n in names if courses[n]})


def _grid(pen: ImageDraw.ImageDraw, axes: _Axes) -> None:
    for value in _ticks(axes.low, axes.high, 5):
        y = axes.at(0, value)[1]
        pen.line([(axes.left, y), (axes.right, y)], GRID, FINE)
        pen.text((axes.left - 8 * FINE, y), f"{value:g}", FAINT, _font(12), anchor="rm")
    for step in _ticks(0, axes.last, 8):
        x = axes.at(step, axes.low)[0]
        pen.text((x, axes.bottom + 8 * FINE), f"{step:.0f}", FAINT, _font(12), anchor="ma")
    pen.text(
        (axes.right + 24 * FINE, axes.bottom + 8 * FINE), "steps", FAINT, _font(12), anchor="la"
    )
    pen.line([(axes.left, axes.bottom), (axes.right, axes.bottom)], FAINT, FINE)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from low to high."""
    rough = max(high - low, 1e-9) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    width = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    first, last = math.ceil(low / width - 1e-9), math.floor(high / width + 1e-9)
    return [round(n * width, 10) for n in range(first, last + 1)]


def _line(pen: ImageDraw.ImageDraw, axes: _Axes, points: Points, colour: str) -> None:
    """The values thin and pale, their moving mean over them."""
    if len(points) == 1:
        (x, y), r = axes.at(*points[0]), 3 * FINE
        pen.ellipse([x - r, y - r, x + r, y + r], colour)
    if len(points) < 2:
        return
    span = max(1, round(len(points) * SMOOTH))
    if span > 1:
        pen.line([axes.at(*p) for p in points], _pale(colour), FINE, joint="curve")
    pen.line([axes.at(*p) for p in _smoothed(points, span)], colour, 2 * FINE, joint="curve")


def _smoothed(points: Points, span: int) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for n in range(len(points)):
        near = [v for _, v in points[max(0, n - span + 1) : n + 1]]
        found.append((points[n][0], sum(near) / len(near)))
    return found


def _pale(colour: str) -> str:
    parts = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return "#" + "".join(f"{(p + 3 * 255) // 4:02x}" for p in parts)


def _legend(pen: ImageDraw.ImageDraw, axes: _Axes, ends: Mapping[str, float]) -> None:
    """Names at the right, at the height of their last values, moved apart where they meet."""
    line = 18 * FINE
    wanted = sorted((axes.at(axes.last, value)[1], name) for name, value in ends.items())
    heights: list[float] = []
    for y, _ in wanted:
        heights.append(max(y, heights[-1] + line) if heights else y)
    for n in reversed(range(len(heights))):  # and back up, where the lowest would leave the frame
        below = heights[n + 1] - line if n + 1 < len(heights) else axes.bottom - line / 3
        heights[n] = min(heights[n], below)
    for y, (_, name) in zip(heights, wanted, strict=True):
        text = f"{name} {ends[name]:.3g}"
        pen.text((axes.right + 8 * FINE, y), text, COLOURS[name], _font(12), anchor="lm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * FINE)
