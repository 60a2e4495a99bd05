from __future__ import annotations

import numpy as np

from engine.domain.labels import PALETTE, Label, LabelList
from engine.imaging.overlay import blend, colour_overlay, draw_overlay, outline_of

LABELS = LabelList((Label(1, "a", (200, 0, 0)), Label(2, "b", (0, 200, 0), visible=False)))


def mask(drawing: str) -> np.ndarray:
    rows = [line.strip() for line in drawing.strip().splitlines()]
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], dtype=np.uint8)


def test_colours_opacity_and_hidden_labels():
    rgba = colour_overlay(mask("012\n300".replace("0", ".")), LABELS, 0.5)
    assert rgba[0, 0].tolist() == [0, 0, 0, 0]
    assert rgba[0, 1].tolist() == [200, 0, 0, 128]
    assert rgba[0, 2, 3] == 0
    assert rgba[1, 0].tolist() == [*PALETTE[2], 128]  # a value without a label


def test_the_outline_is_the_labels_own_border():
    drawing = mask("""
        ......
        .1111.
        .1112.
        .1111.
        ......""")
    expected = mask("""
        ......
        .1111.
        .1.11.
        .1111.
        ......""").astype(bool)
    assert np.array_equal(outline_of(drawing), expected)


def test_the_edge_of_the_slice_is_no_border():
    assert not outline_of(np.ones((4, 5), np.uint8)).any()


def test_blending_is_exact_at_both_ends():
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    values = np.zeros((4, 5), np.uint8)
    values[1, 2] = 1
    for opacity, expected in ((0.0, [7, 7, 7]), (1.0, [200, 0, 0])):
        mixed = blend(grey, colour_overlay(values, LABELS, opacity))
        assert mixed[1, 2].tolist() == expected
        assert mixed[3, 4].tolist() == [19, 19, 19]
    colour = np.stack([grey, grey + 1, grey + 2], axis=2)
    assert blend(colour, colour_overlay(values, LABELS, 0.0))[0, 3].tolist() == [3, 4, 5]


def test_drawn_overlays_have_a_full_outline():
    values = np.zeros((7, 7), np.uint8)
    values[1:6, 1:6] = 1
    picture = draw_overlay(np.zeros((7, 7), np.uint8), values, LABELS, 0.5)
    assert picture[1, 1].tolist() == [200, 0, 0]
    assert picture[3, 3].tolist() == [100, 0, 0]
    assert picture[0, 0].tolist() == [0, 0, 0]
