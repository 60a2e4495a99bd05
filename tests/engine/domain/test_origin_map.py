"""The origin map packs four voxels a byte, by rows; it must behave like a plain array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.box import Box
from engine.domain.label_map import OriginMap


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int, int]) -> Box:
    ends = [sorted(draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in shape]
    start = [min(a, n - 1) for (a, _), n in zip(ends, shape, strict=True)]
    stop = [max(b, a + 1) for (_, b), a in zip(ends, start, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


@pytest.mark.parametrize("plane", [0, 1, 2])
@given(data=st.data())
def test_boxes_are_read_as_they_were_written(plane: int, data: st.DataObject) -> None:
    shape = (3, 7, 5)  # 15 to 35 voxels a slice: rows begin in the middle of a byte
    origins, plain = OriginMap(shape, plane), np.zeros(shape, dtype=np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(4):
        box = data.draw(boxes(shape))
        values = rng.integers(0, data.draw(st.integers(1, 3)), box.shape).astype(np.uint8)
        origins.write_box(box, values)
        plain[box.slices] = values
        other = data.draw(boxes(shape))
        assert (origins.read_box(other) == plain[other.slices]).all()
    for index in range(shape[plane]):
        assert (origins.read(index) == plain.take(index, axis=plane)).all()
    assert origins.touched == [n for n in range(shape[plane]) if plain.take(n, axis=plane).any()]


def test_a_slice_that_is_cleared_takes_no_memory() -> None:
    origins = OriginMap((2, 8, 8), 0)
    box = Box((1, 2, 2), (2, 4, 4))
    origins.write_box(box, np.ones(box.shape, dtype=np.uint8))
    assert list(origins.packed_slices()) == [1]
    origins.write_box(box, np.zeros(box.shape, dtype=np.uint8))
    assert origins.packed_slices() == {}
