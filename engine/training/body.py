"""CT pictures whose window cut the fat away, as a wider window would have shown them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.training.randomness import Draw

BLACK = 0.03  # of 0..1: what a window has cut off
TEXTURE = 0.02  # spread of the noise that tissue of one kind shows, likewise
OUTLINE = 4  # pixels by which the outline is closed, so that a thin skin has no gaps
COARSE = 96  # side of the picture on which the body is looked for


def raise_floor(unit: Tensor, most: float, draw: Draw) -> Tensor:
    """Gives black tissue inside the body a grey of its own, and all else what is left of the range.

    A window that begins at water shows fat as black as air. Where it begins lower, fat is grey and
    everything else lies higher and closer together. Gas inside the body can't be told from such
    fat and is raised too.

    Args:
        unit: pictures [B, 3, S, S] in 0..1.
        most: largest grey of fat, 0..1; half of the pictures stay as they are.
        draw: a generator a picture.
    """
    levels = draw.between(-most, most).clamp(min=0.0)
    found: list[Tensor] = []
    for picture, level, generator in zip(unit, levels.tolist(), draw.generators, strict=True):
        found.append(picture if level == 0.0 else _raised(picture, level, generator))
    return torch.stack(found)


def _raised(picture: Tensor, level: float, generator: torch.Generator) -> Tensor:
    inside = torch.from_numpy(body(picture.amax(dim=0).numpy()))
    grain = torch.randn(picture.shape[1:], generator=generator) * TEXTURE
    lifted = level + (1.0 - level) * picture
    lifted = torch.where(picture < BLACK, lifted + grain, lifted)
    return torch.where(inside, lifted, picture).clamp(0.0, 1.0)


def body(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The body's outline, filled: bool of the picture's shape; all false if nothing is bright.

    Args:
        picture: grey values in 0..1, [rows, columns].
    """
    from scipy import ndimage

    step = max(1, round(picture.shape[0] / COARSE))
    rows, columns = (n - n % step for n in picture.shape)
    blocks = picture[:rows, :columns].reshape(rows // step, step, columns // step, step)
    bright = np.pad(blocks.max(axis=(1, 3)) > BLACK, OUTLINE)
    closed = ndimage.binary_closing(bright, iterations=OUTLINE)
    filled = ndimage.binary_fill_holes(closed)
    opened = ndimage.binary_opening(filled, iterations=OUTLINE)  # the table is thin
    numbered = np.zeros(opened.shape, dtype=np.int32)
    if not ndimage.label(opened, output=numbered):
        return np.zeros(picture.shape, dtype=np.bool_)
    sizes = np.bincount(numbered.ravel())[1:]
    largest = (numbered == int(sizes.argmax()) + 1)[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE]
    smooth = ndimage.zoom(largest.astype(np.float32), step, order=1, grid_mode=True, mode="nearest")
    found = np.zeros(picture.shape, dtype=np.bool_)
    found[:rows, :columns] = smooth > 0.5
    return found
