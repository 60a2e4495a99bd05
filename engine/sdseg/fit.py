"""Does a model fit a picture? Measured: how far it lies from the pictures the model has learnt.

The deep features of an unchanging ImageNet trunk, averaged over space, are standardised; the
training pictures' cloud is described by its main directions and by what is left beside them. The
distance follows Lee et al., "A simple unified framework for detecting out-of-distribution samples"
(NeurIPS 2018), with shrinkage because there are fewer pictures than features. Why it is not the
model's own trunk, and where the threshold lies: docs/adr/0007-does-a-model-fit.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from engine.sdseg.trunk import TAPS, EfficientNetLite0
from engine.sdseg.weights import load_into
from engine.system.resources import resource_path

DEEP_TAPS = 2  # the coarsest two: finer ones see the camera rather than the picture
MAX_DIRECTIONS = 64
PICTURES_PER_DIRECTION = 4
UNSEEN_SHARE = 0.01
# The threshold lies beyond the distance that 1 % of unseen pictures exceed, and the further the
# fewer cases have been seen: twice as far with 35 cases, 5 % further with 700.
CASES_FOR_DOUBLE = 35.0


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


def fit_statistic(train: Tensor, unseen: Tensor, cases: int) -> tuple[FitCloud, float]:
    """The cloud of the training pictures and the distance beyond which a picture does not fit.

    Args:
        train: features of the training pictures and of varied copies of them, [N, D].
        unseen: the same of pictures that were not trained on (val), [M, D]. The threshold starts
            where 1 % of them would be rejected.
        cases: number of training cases. A few cases, often of one camera or hospital, show little
            of what is yet to come, so the threshold gives way the more the fewer there are.
    """
    cloud = describe(train)
    edge = float(torch.quantile(cloud.distance(unseen), 1.0 - UNSEEN_SHARE))
    return cloud, edge * (1.0 + CASES_FOR_DOUBLE / max(cases, 1))


def cloud_of(tensors: dict[str, Tensor]) -> FitCloud:
    """The reverse of `FitCloud.tensors`."""
    return FitCloud(
        **{name: tensors[name] for name in ("mean", "spread", "basis", "scale", "rest")}
    )


def trunk_file() -> Path:
    """The unchanging trunk's weights."""
    return resource_path("fit", "efficientnet-lite0.safetensors")


@lru_cache(maxsize=1)
def trunk_sha256() -> str:
    """Hash of the trunk's file; a statistic is only good with the trunk it was measured with."""
    return hashlib.sha256(trunk_file().read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _trunk() -> EfficientNetLite0:
    with torch.device("meta"):
        trunk = EfficientNetLite0()
    load_into(trunk, trunk_file())
    return trunk.requires_grad_(False).eval()


@torch.inference_mode()
def fit_features(pictures: Tensor) -> Tensor:
    """What pictures look like, as the trunk sees them; always on the CPU, in fp32.

    Args:
        pictures: [N, 3, S, S] in [-1, 1], as the model's preprocessing makes them.

    Returns:
        Mean over space of the channels of the deep taps, float32 [N, D].
    """
    rows: list[Tensor] = []
    for picture in pictures:  # one at a time: no result depends on its neighbours
        single = picture[None].float().contiguous(memory_format=torch.channels_last)
        levels = _trunk()(single)[len(TAPS) - DEEP_TAPS :]
        rows.append(torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1))
    return torch.cat(rows)
