"""The figures as small PNGs. None shows a picture of the data, nor anything made from one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.paper.plan import BASE, CONVERGENCE, MORE_STEPS, SETTINGS
from benchmarks.paper.watching import RETINA, REVERSE, SHAPES, SHARES

# The fundus photograph is of the cup's kind, so what is drawn comes from that data set's networks.
DRAWN = "cup"
TILE, GAP, TEXT = 96, 6, 14
WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (200, 200, 200)
COLOURS = ((200, 60, 40), (30, 90, 170), (230, 150, 60), (90, 160, 220))
Tile = NDArray[np.floating]


def draw_all(folder: Path, results: dict[str, Any], work: Path) -> list[str]:
    """Draws what there is material for; a figure without it stays as it is.

    Args:
        folder: for the PNGs.
        results: rows' results by name.
        work: where rows have left arrays.

    Returns:
        A line a figure.
    """
    made = {
        "figure-2.png": draw_shapes(_newest(work, f"autoencoder-{DRAWN}-*/{SHAPES}.npz")),
        "figure-3.png": draw_convergence(results),
        "figure-5.png": draw_reverse(_newest(work, f"{BASE}-{DRAWN}/model.run/{REVERSE}.npz")),
        "figure-6.png": draw_latents(work / f"{BASE}-{DRAWN}" / "model.run"),
    }
    told: list[str] = []
    for name, picture in made.items():
        if picture is None:
            told.append(f"{name}: nothing to draw it from, left as it is")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, optimize=True)
        told.append(f"drew {name}")
    return told


def _newest(work: Path, pattern: str) -> Path | None:
    found = sorted(work.glob(pattern), key=lambda file: file.stat().st_mtime)
    return found[-1] if found else None


def stretched(values: Tile) -> Tile:
    """Values as grey in 0..1, the smallest black and the largest white."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-9)


def grid(rows: Sequence[Sequence[Tile]], titles: Sequence[str], left: Sequence[str]) -> Image.Image:
    """Tiles in 0..1, [h, w] grey or [h, w, 3], under titles and beside words."""
    margin = 10 + max((7 * len(words) for words in left), default=0)
    width = margin + len(titles) * (TILE + GAP)
    height = TEXT + GAP + len(rows) * (TILE + GAP)
    picture = Image.new("RGB", (width, height), WHITE)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    for column, words in enumerate(titles):
        pen.text((margin + column * (TILE + GAP), 2), words, fill=BLACK, font=font)
    for row, tiles in enumerate(rows):
        top = TEXT + GAP + row * (TILE + GAP)
        pen.text((4, top + TILE // 2 - 6), left[row], fill=BLACK, font=font)
        for column, tile in enumerate(tiles):
            grey = Image.fromarray((np.clip(tile, 0.0, 1.0) * 255.0).astype(np.uint8))
            side = grey.convert("RGB").resize((TILE, TILE), Image.Resampling.NEAREST)
            picture.paste(side, (margin + column * (TILE + GAP), top))
    return picture


def draw_shapes(file: Path | None) -> Image.Image | None:
    """Figure 2: drawn masks, decoded again, and the four channels of their latents."""
    if file is None:
        return None
    with np.load(file) as kept:
        masks, decoded, latents = kept["masks"], kept["decoded"], kept["latents"]
    rows = [
        [mask, (back + 1.0) / 2.0, *(stretched(channel) for channel in latent)]
        for mask, back, latent in zip(masks, decoded, latents, strict=True)
    ]
    titles = ["mask", "decoded", *(f"latent {n + 1}" for n in range(latents.shape[1]))]
    return grid(rows, titles, [""] * len(rows))


def draw_reverse(file: Path | None) -> Image.Image | None:
    """Figure 5: probability of the cup in the photograph after each step."""
    if file is None:
        return None
    with np.load(file) as kept:
        maps, picture = kept["maps"], kept["picture"]
    shown = (np.moveaxis(picture, 0, -1) + 1.0) / 2.0
    titles = ["photograph", *(f"step {n + 1}" for n in range(len(maps)))]
    return grid([[shown, *maps]], titles, [""])


def draw_latents(folder: Path) -> Image.Image | None:
    """Figure 6: the photograph's condition latent while the encoder learns, channel by channel."""
    columns: list[list[Tile]] = []
    titles: list[str] = []
    for share in SHARES:
        file = folder / f"{RETINA}-{share:g}.npz"
        if file.is_file():
            with np.load(file) as kept:
                columns.append([stretched(channel) for channel in kept["latent"]])
                titles.append(f"step {int(kept['step'])}")
    if not columns:
        return None
    rows = [list(tiles) for tiles in zip(*columns, strict=True)]
    return grid(rows, titles, [f"channel {n + 1}" for n in range(len(rows))])


def draw_convergence(results: dict[str, Any]) -> Image.Image | None:
    """Figure 3: Dice over the number of DDIM steps; steps are spaced by their logarithm."""
    done = {key: results.get(f"{key[0]}-{key[1]}") for key in CONVERGENCE}
    curves = {
        f"{data_set}, lambda {SETTINGS[setting].latent_lambda:g}": [
            result["by_steps"][str(n)]["dice"] for n in MORE_STEPS
        ]
        for (setting, data_set), result in done.items()
        if result
    }
    return chart(curves, MORE_STEPS, "DDIM steps", "Dice") if curves else None


def chart(
    curves: dict[str, list[float]], places: Sequence[int], below: str, beside: str
) -> Image.Image:
    """Lines of values in 0..1 over places on a logarithmic axis."""
    width, height, left, top, right, bottom = 560, 330, 46, 26, 150, 40
    picture = Image.new("RGB", (width, height), WHITE)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    span, tall = width - left - right, height - top - bottom
    logs = np.log(np.asarray(places, dtype=float))
    xs = left + (logs - logs[0]) / max(logs[-1] - logs[0], 1e-9) * span

    def y_of(value: float) -> float:
        return top + (1.0 - value) * tall

    for value in np.linspace(0.0, 1.0, 6):
        pen.line((left, y_of(value), left + span, y_of(value)), fill=GREY)
        pen.text((16, y_of(value) - 7), f"{value:.1f}", fill=BLACK, font=font)
    for x, place in zip(xs, places, strict=True):
        pen.text((x - 4, top + tall + 6), str(place), fill=BLACK, font=font)
    pen.text((left + span / 2 - 30, height - 16), below, fill=BLACK, font=font)
    pen.text((4, 0), beside, fill=BLACK, font=font)
    for number, (name, values) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(float(x), y_of(v)) for x, v in zip(xs, values, strict=True)]
        pen.line(points, fill=colour, width=2)
        for x, y in points:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        pen.text((left + span + 12, top + 16 * number), name, fill=colour, font=font)
    return picture
