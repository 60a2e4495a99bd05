"""What the fit statistic is measured on: the data, as other scanners might have given it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.sdseg.fit import fit_features
from engine.sdseg.fit_check import FIT_SLICES, spread
from engine.training.augment import augment
from engine.training.dataset import SliceDataset
from engine.training.options import Augmentation
from engine.training.randomness import place_generators

# Small changes of position, exposure and sharpness, the same for every model: what differs between
# two good pictures of one kind, not what a model is trained to bear.
OTHER_SCANNERS = Augmentation(
    flips="",
    rotate=5.0,
    scale=(0.85, 1.18),
    aspect=0.1,
    shift=0.04,
    gamma=1.4,
    contrast=0.3,
    brightness=0.2,
    colour=0.12,
    saturation=0.3,
    blur=1.2,
    noise=0.06,
)
PICTURES_WANTED = 800
MOST_COPIES = 20
SEED = 0
GREY_LEVELS = 6  # of 255, between the channels of a picture that counts as grey
NEARLY_ALL = 0.98


def seen_features(data: SliceDataset) -> Tensor:
    """Features of a few slices of each case and of varied copies of them, float32 [N, D]."""
    places = [n for case in range(len(data.names)) for n in _slices_of(data, case)]
    copies = min(MOST_COPIES, max(1, math.ceil(PICTURES_WANTED / len(places))))
    rows: list[Tensor] = []
    for place in places:
        picture, mask = data.batch(torch.tensor([place]))
        many = picture.repeat(copies, 1, 1, 1), mask.repeat(copies, 1, 1, 1)
        draws = place_generators(SEED, "fit", place, range(copies))
        varied, _ = augment(*many, OTHER_SCANNERS, draws)
        rows.append(fit_features(torch.cat([picture, varied])))
    return torch.cat(rows)


def _slices_of(data: SliceDataset, case: int) -> list[int]:
    """Those that the fit check would look at."""
    return spread(torch.nonzero(data.cases == case)[:, 0].tolist(), FIT_SLICES)


def has_colour(data: SliceDataset) -> bool | None:
    """True for colour pictures, False for grey ones, None if there are both."""
    between = data.pictures.amax(dim=1) - data.pictures.amin(dim=1)
    grey = (between <= GREY_LEVELS).float().mean(dim=(1, 2)) >= NEARLY_ALL
    share = float(grey.float().mean())
    return False if share >= NEARLY_ALL else True if share <= 1.0 - NEARLY_ALL else None
