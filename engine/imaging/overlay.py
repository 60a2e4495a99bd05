"""Coloured labels over a grey or colour slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.domain.labels import PALETTE, LabelList

DEFAULT_OPACITY = 0.45
Bytes = NDArray[np.uint8]


def colour_table(labels: LabelList, opacity: float) -> Bytes:
    """RGBA of each label value, uint8 [256, 4]; background and hidden labels are transparent.

    Args:
        labels: values that no label names get a colour of the palette.
        opacity: 0..1.
    """
    table = np.zeros((256, 4), dtype=np.uint8)
    for value in range(1, 256):
        table[value, :3] = PALETTE[(value - 1) % len(PALETTE)]
    table[1:, 3] = round(255 * min(max(opacity, 0.0), 1.0))
    for label in labels:
        table[label.id, :3] = label.colour
        if not label.visible:
            table[label.id, 3] = 0
    return table


def colour_overlay(
    values: Bytes, labels: LabelList, opacity: float = DEFAULT_OPACITY, outline: bool = False
) -> Bytes:
    """RGBA of a label map slice, not pre-multiplied.

    Args:
        values: label ids, uint8 [rows, columns].
        labels: their colours.
        opacity: 0..1.
        outline: only the pixels with a neighbour (of four) of another value.

    Returns:
        uint8 [rows, columns, 4].
    """
    table = colour_table(labels, opacity)
    return table[np.where(outline_of(values), values, 0) if outline else values]


def outline_of(values: Bytes) -> NDArray[np.bool_]:
    """Labelled pixels with a neighbour (of four) of another value, bool [rows, columns].

    The edge of the array is no neighbour. For a part of a slice pass one pixel more on each side.
    """
    edge = np.zeros(values.shape, dtype=np.bool_)
    down = values[1:] != values[:-1]
    across = values[:, 1:] != values[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge & (values != 0)


def blend(picture: Bytes, overlay: Bytes) -> Bytes:
    """An RGBA overlay over a picture.

    Args:
        picture: uint8 [rows, columns] or [rows, columns, 3].
        overlay: uint8 [rows, columns, 4], not pre-multiplied.

    Returns:
        uint8 [rows, columns, 3].
    """
    under = np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture
    alpha = overlay[:, :, 3:].astype(np.uint32)
    mixed = overlay[:, :, :3] * alpha + under * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def draw_overlay(
    picture: Bytes, values: Bytes, labels: LabelList, opacity: float = DEFAULT_OPACITY
) -> Bytes:
    """A picture for people: labels filled at `opacity` with a full outline, uint8 RGB."""
    filled = blend(picture, colour_overlay(values, labels, opacity))
    return blend(filled, colour_overlay(values, labels, 1.0, outline=True))
