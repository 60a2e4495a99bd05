"""The built-in models answer the same in batches of any size (docs: within 1e-3, Dice 0.9999)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.domain.grid import Grid
from engine.domain.requests import SegmentRequest
from engine.domain.volume import Volume
from engine.evaluation.metrics import dice
from engine.io.samples import sample_picture
from engine.models.store import find_model
from engine.sdseg.segmenter import Segmenter


def slices_of_the_retina() -> Volume:
    """The built-in picture and three parts of it, grey, as the slices of a volume."""
    picture = sample_picture().scan.array[0].mean(axis=-1).astype(np.uint8)
    parts = [
        picture[y : y + 700, x : x + 700] for y, x in ((0, 0), (200, 400), (500, 300), (700, 700))
    ]
    array = np.stack(parts)
    return Volume(array, Grid(array.shape, np.diag([-0.1, -0.1, 1.0, 1.0])), modality="picture")


def probabilities(name: str, scan: Volume, batch: int) -> NDArray[np.float32]:
    segmenter = Segmenter.load(find_model(name), "cpu")
    request = SegmentRequest(scan, range(scan.slice_count), batch=batch)
    return np.stack([proposal.probability for proposal in segmenter.segment(request)])


@pytest.mark.parametrize("name", ["fundus-disc-cup", "polyp"])
def test_batch_sizes_of_built_in_models_agree(name: str) -> None:
    scan = slices_of_the_retina()
    alone, together = (probabilities(name, scan, batch) for batch in (1, 4))
    assert alone.std() > 0.01  # else nothing would be compared
    assert np.abs(alone - together).max() < 1e-3
    assert dice(alone > 0.5, together > 0.5) >= 0.9999
