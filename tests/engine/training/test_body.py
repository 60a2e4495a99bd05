"""Fat that a CT window cut to black, given back its grey."""

import numpy as np
import torch

from engine.training.body import TEXTURE, body, raise_floor
from engine.training.randomness import Draw, place_generators


def abdomen(side: int = 192) -> torch.Tensor:
    """A thin bright skin around black fat, with an organ inside; [1, 3, side, side] in 0..1."""
    rows, columns = np.mgrid[0:side, 0:side]
    distance = np.hypot(rows - side / 2, columns - side / 2)
    picture = np.where(np.abs(distance - side / 3) < 2, 0.3, 0.0)
    picture[distance < side / 8] = 0.6
    picture[-8:-5] = 0.9  # the table
    return torch.from_numpy(picture.astype(np.float32)).expand(1, 3, -1, -1).clone()


def test_the_body_is_what_its_skin_encloses() -> None:
    found = body(abdomen()[0, 0].numpy())
    rows, columns = np.mgrid[0:192, 0:192]
    distance = np.hypot(rows - 96, columns - 96)
    assert found[distance < 60].all() and not found[distance > 72].any()
    assert not body(np.zeros((64, 64), np.float32)).any()


def test_fat_becomes_grey_between_air_and_organ() -> None:
    picture = abdomen()
    seen = 0
    for step in range(12):
        raised = raise_floor(picture, 0.4, Draw(place_generators(0, "floor", step, [0])))
        if torch.equal(raised, picture):
            continue
        seen += 1
        fat, air, organ = raised[0, 0, 96, 130], raised[0, 0, 4, 4], raised[0, 0, 96, 96]
        assert air == 0.0 and organ > 0.6 - 1e-3
        level = (organ - 0.6) / 0.4  # all else has what is left of the range
        region = raised[0, 0, 90:102, 125:135]
        assert 0.0 < level < 0.4 and fat < organ
        if level > 3 * TEXTURE:  # so that no grain is cut off at black
            assert abs(region.mean() - level) < 0.01 and region.std() > 0.5 * TEXTURE
        assert raised[0, 0, -6, 20] == picture[0, 0, -6, 20]  # the table lies outside
    assert 2 <= seen <= 10


def test_equal_draws_give_equal_pictures_whatever_the_neighbours_are() -> None:
    picture = abdomen()
    both = raise_floor(picture.repeat(2, 1, 1, 1), 0.4, Draw(place_generators(1, "f", 0, [0, 1])))
    alone = raise_floor(picture, 0.4, Draw(place_generators(1, "f", 0, [1])))
    assert torch.equal(both[1:], alone)
