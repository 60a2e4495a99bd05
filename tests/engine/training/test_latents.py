"""Kept mask latents are those that would be encoded anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.sdseg.config import LATENT_CHANNELS, TINY
from engine.sdseg.network import SDSegNetwork
from engine.training.augment import augment
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive, warp
from engine.training.latents import MaskLatents
from engine.training.losses import mask_picture
from engine.training.options import Augmentation
from engine.training.randomness import normal
from tests.engine.training.discs import CPU, draw_discs, draws, load

RULES = Augmentation(rotate=90.0, scale=(0.7, 1.4), shift=0.1, empty_share=0.3)
INDICES = torch.tensor([5, 0, 5, 2])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SliceDataset:
    folder: Path = draw_discs(tmp_path_factory.mktemp("data") / "discs")
    return load(folder, "train.txt")


def latents_of(data: SliceDataset, variants: int) -> MaskLatents:
    torch.manual_seed(0)
    network = SDSegNetwork.build(TINY).eval()
    network.scale_factor = 1.7
    return MaskLatents(network, data, RULES, 0, variants, "fp32", CPU)


def noise() -> torch.Tensor:
    return normal((LATENT_CHANNELS, 8, 8), draws(4, 9))


def test_kept_latents_equal_freshly_encoded_ones(data: SliceDataset) -> None:
    kept = latents_of(data, 3)
    for step in range(4):  # later steps find what earlier ones kept
        keys, matrices = kept.choose(INDICES, draws(4, step))
        assert keys is not None and matrices is not None
        pictures, masks = data.batch(INDICES)
        _, seen = augment(pictures, masks, RULES, draws(4, step + 50), matrices)
        found = kept.sample(seen, keys, noise())
        torch.testing.assert_close(found, kept.sample(seen, None, noise()), atol=1e-4, rtol=1e-4)


def test_latents_follow_the_posterior_and_the_scale_factor(data: SliceDataset) -> None:
    kept = latents_of(data, 0)
    masks = exclusive(data.batch(INDICES)[1])
    posterior = kept.network.autoencoder.encode(mask_picture(masks)).latent_dist  # type: ignore[union-attr]
    zero = kept.sample(masks, None, torch.zeros(4, 4, 8, 8))
    torch.testing.assert_close(zero, posterior.mean * 1.7)
    one = kept.sample(masks, None, torch.ones(4, 4, 8, 8))
    torch.testing.assert_close(one - zero, posterior.std * 1.7, atol=1e-5, rtol=1e-4)
    assert not one.requires_grad


def test_a_matrix_and_its_mask_belong_together(data: SliceDataset) -> None:
    kept = latents_of(data, 3)
    keys, matrices = kept.choose(INDICES, draws(4, 0))
    assert keys is not None and matrices is not None
    assert [index for index, _ in keys] == INDICES.tolist()
    again = latents_of(data, 3)  # as after a resume: the same positions
    order = list(reversed(range(4)))
    for n in order:
        key, matrix = again.choose(INDICES[n : n + 1], draws(4, 0)[n : n + 1])
        assert key == [keys[n]] and matrix is not None and torch.equal(matrix[0], matrices[n])
    _, masks = data.batch(INDICES)
    for n, key in enumerate(keys):
        seen = exclusive(warp(masks[n : n + 1], matrices[n : n + 1]))
        encoded = again._posterior(seen)[0][0]
        torch.testing.assert_close(again._of(key)[0], encoded, atol=1e-4, rtol=1e-4)


def test_no_more_is_kept_than_pictures_times_variants(data: SliceDataset) -> None:
    kept = latents_of(data, 2)
    seen: set[tuple[int, int]] = set()
    for step in range(30):
        keys, _ = kept.choose(INDICES, draws(4, step))
        assert keys is not None
        kept.sample(torch.empty(0), keys, noise())  # the masks are not looked at
        seen |= set(keys)
    assert seen == {(n, v) for n in (0, 2, 5) for v in (0, 1)} == set(kept._kept)
    size = sum(t.numel() * t.element_size() for pair in kept._kept.values() for t in pair)
    assert size == 6 * 2 * LATENT_CHANNELS * 8 * 8 * 4  # mean and log-variance in fp32
    assert all(t.device == CPU for pair in kept._kept.values() for t in pair)


def test_without_variants_every_step_has_positions_of_its_own(data: SliceDataset) -> None:
    assert latents_of(data, 0).choose(INDICES, draws(4, 0)) == (None, None)
