"""Does a model fit a picture? Measured: how far it lies from the pictures the model has learnt.

Pooled features of the vision encoder's trunk (mean and spread of every channel) are standardised,
and their training cloud is described by its main directions and what is left beside them. The
distance follows Lee et al., "A simple unified framework for detecting out-of-distribution samples"
(NeurIPS 2018), with shrinkage because there are fewer pictures than features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_DIRECTIONS = 24
PICTURES_PER_DIRECTION = 4
FOLDS = 5
# The threshold lies this far beyond the distance that 1 % of unseen pictures exceed; measured on
# the built-in models (see benchmarks/fit_table.py).
MARGIN = 1.15


@dataclass(frozen=True, eq=False)
class FitCloud:
    """The training pictures' features in brief.

    Attributes:
        mean, spread: of each feature, [D].
        basis: main directions of the standardised features, [D, K].
        scale: standard deviation along them, [K].
        rest: typical length of what is left beside them, [1].
    """

    mean: Tensor
    spread: Tensor
    basis: Tensor
    scale: Tensor
    rest: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """For fit.safetensors."""
        return {k: v.float() for k, v in vars(self).items()}

    def distance(self, features: Tensor) -> Tensor:
        """Distance of features [N, D] from the cloud, [N]; about 1 for a typical member."""
        standard = (features - self.mean) / self.spread
        along = standard @ self.basis
        beside = (standard - along @ self.basis.T).norm(dim=1) / self.rest
        within = (along / self.scale).square().mean(dim=1).sqrt()
        return ((within.square() + beside.square()) / 2.0).sqrt()


def describe(features: Tensor) -> FitCloud:
    """The cloud of features [N, D]; N must be at least 2."""
    features = features.double()
    mean, spread = features.mean(dim=0), features.std(dim=0)
    spread = spread + 0.05 * spread.mean() + 1e-6  # a feature that never varied is no proof
    standard = (features - mean) / spread
    count = max(1, min(MAX_DIRECTIONS, len(features) // PICTURES_PER_DIRECTION))
    _, values, directions = torch.linalg.svd(standard, full_matrices=False)
    scale = values[:count] / max(len(features) - 1, 1) ** 0.5
    basis = directions[:count].T
    beside = (standard - standard @ basis @ basis.T).norm(dim=1)
    rest = beside.mean().clamp(min=1e-6).reshape(1)
    # Few pictures underestimate the smaller spreads: shrink them towards their mean.
    scale = (0.9 * scale + 0.1 * scale.mean()).clamp(min=1e-6)
    parts = (mean, spread, basis, scale, rest)
    return FitCloud(*(part.float().contiguous() for part in parts))


def fit_statistic(train: Tensor, val: Tensor) -> tuple[FitCloud, float]:
    """The cloud of the training pictures and the distance beyond which a picture does not fit.

    The threshold rejects about 1 % of unseen pictures. A val set of ten can't show that, so the
    training set gives its share: each fold's distance from the cloud of the other folds.

    Args:
        train, val: pooled features, [N, D] and [M, D].
    """
    cloud = describe(train)
    unseen = [cloud.distance(val)]
    if len(train) >= 2 * FOLDS:
        for fold in range(FOLDS):
            inside = torch.arange(len(train)) % FOLDS == fold
            unseen.append(describe(train[~inside]).distance(train[inside]))
    threshold = MARGIN * float(torch.quantile(torch.cat(unseen), 0.99))
    return cloud, threshold


def cloud_of(tensors: dict[str, Tensor]) -> FitCloud:
    """The reverse of `FitCloud.tensors`."""
    return FitCloud(
        **{name: tensors[name] for name in ("mean", "spread", "basis", "scale", "rest")}
    )
