from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.editing.brush import stroke_mask


def painted(points, radius, shape, spacing=(1.0, 1.0)) -> np.ndarray:
    rows, columns, mask = stroke_mask(points, radius, shape, spacing)
    whole = np.zeros(shape, dtype=bool)
    whole[rows, columns] = mask
    return whole


def drawing(text: str) -> np.ndarray:
    return np.array([[c == "#" for c in line.strip()] for line in text.strip().splitlines()])


def test_a_click_paints_a_disc():
    expected = drawing("""
        .......
        ...#...
        ..###..
        .#####.
        ..###..
        ...#...
        .......""")
    assert np.array_equal(painted([(3, 3)], 2.0, (7, 7)), expected)


def test_a_fast_stroke_has_no_gaps():
    mask = painted([(5, 2), (5, 40)], 1.0, (11, 44))
    assert mask[5, 1:42].all() and mask[4, 2:41].all() and not mask[5, 42:].any()
    assert not mask[2].any()


def test_pixels_that_are_not_square_get_a_round_brush_in_mm():
    mask = painted([(10, 10)], 4.0, (21, 21), spacing=(2.0, 0.5))
    assert mask[:, 10].sum() == 5 and mask[10].sum() == 17


def test_the_smallest_brush_paints_the_pixel_under_the_pointer():
    mask = painted([(3.4, 2.6)], 0.1, (7, 7))
    assert mask.sum() == 1 and mask[3, 3]


def test_strokes_are_cut_at_the_edge_and_vanish_outside():
    mask = painted([(0, 0)], 2.0, (5, 5))
    assert mask[0, :3].all() and mask.sum() == 6
    rows, columns, empty = stroke_mask([(-50, -50), (-40, 90)], 3.0, (5, 5))
    assert empty.size == 0
    assert np.zeros((5, 5))[rows, columns].size == 0


@given(
    points=st.lists(st.tuples(st.floats(-10, 30), st.floats(-10, 30)), min_size=1, max_size=5),
    radius=st.floats(0.1, 8),
    spacing=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
)
def test_exactly_the_pixels_within_reach_are_painted(points, radius, spacing):
    shape = (18, 22)
    mask = painted(points, radius, shape, spacing)
    centres = np.indices(shape).reshape(2, -1).T * spacing
    path = np.array(points) * spacing
    distance = np.full(len(centres), np.inf)
    for start, end in zip(path, [*path[1:], path[-1]], strict=True):
        along = end - start
        share = ((centres - start) @ along) / max(along @ along, 1e-300)
        nearest = start + np.clip(share, 0, 1)[:, None] * along
        distance = np.minimum(distance, np.linalg.norm(centres - nearest, axis=1))
    distance = distance.reshape(shape)
    # Within a hair of the rim either answer is right.
    assert mask[distance < radius - 1e-6].all()
    under = {tuple(np.rint(p).astype(int)) for p in points}
    beyond = {tuple(p) for p in np.argwhere(mask & (distance > radius + 1e-6))}
    assert beyond <= under
