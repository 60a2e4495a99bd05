"""Two or three classes in the channels of the mask picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.domain.requests import SegmentRequest
from engine.sdseg.config import TINY
from engine.sdseg.network import SDSegNetwork, class_maps
from engine.sdseg.segmenter import Segmenter
from engine.training.autoencoder import COVERAGE_RANGE, coverage_loss, train_autoencoder
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive
from engine.training.losses import decoded_logits, mask_loss, mask_picture
from engine.training.options import Optimisation
from engine.training.validation import best_temperature, found_classes
from tests.tiny_model import picture_scan, save_two_class


def two_classes(side: int = 32) -> torch.Tensor:
    """[1, 2, side, side]: the left third, and the middle third beside it."""
    masks = torch.zeros(1, 2, side, side)
    masks[:, 0, :, : side // 3] = 1
    masks[:, 1, :, side // 3 : 2 * side // 3] = 1
    return masks


def test_each_class_fills_its_own_channel_and_the_rest_stays_empty() -> None:
    masks = two_classes()
    picture = mask_picture(masks)
    assert picture.shape == (1, 3, 32, 32) and picture.unique().tolist() == [-1.0, 1.0]
    assert torch.equal(picture[:, :2] > 0, masks > 0) and (picture[:, 2] == -1).all()


def test_maps_of_a_perfect_picture_are_one_hot_with_the_background() -> None:
    for count in (2, 3):
        masks = torch.cat([two_classes(), torch.zeros(1, 1, 32, 32)], dim=1)[:, :count]
        maps = class_maps(mask_picture(masks), count)
        assert maps.shape == (1, count + 1, 32, 32)
        assert torch.equal(maps[:, 1:] > 0, masks > 0)
        assert torch.equal(maps[:, 0] > 0, masks.sum(dim=1) == 0)
        assert torch.equal(found_classes(maps), masks > 0)


def test_no_background_opens_where_one_class_turns_into_another() -> None:
    ramp = torch.linspace(-1, 1, 21).view(1, 1, 1, -1)
    picture = torch.cat([ramp, -ramp, torch.full_like(ramp, -1)], dim=1)
    assert (class_maps(picture, 2).argmax(dim=1) != 0).all()


def test_the_mask_loss_is_low_for_the_truth_and_high_for_exchanged_classes() -> None:
    masks = two_classes()
    right = mask_loss(decoded_logits(mask_picture(masks), 2), masks)
    wrong = mask_loss(decoded_logits(mask_picture(masks.flip(1)), 2), masks)
    assert float(right) < 0.1 < 1.0 < float(wrong)


def test_shares_of_a_pixel_become_one_class() -> None:
    shares = torch.tensor([[0.6, 0.3, 0.2, 0.0], [0.4, 0.3, 0.5, 0.4]]).view(1, 2, 1, 4)
    found = exclusive(shares)[0, :, 0]
    assert found.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]  # a third pixel in three equal parts


def test_a_model_of_two_classes_answers_with_its_class_ids(tmp_path: Path) -> None:
    segmenter = Segmenter.load(save_two_class(tmp_path / "two"), "cpu")
    scan = picture_scan()
    (whole,) = segmenter.segment(SegmentRequest(scan, range(1)))
    assert set(np.unique(whole.labels)) <= {0, 2, 5} and whole.labels.any()
    (disc,) = segmenter.segment(SegmentRequest(scan, range(1), target="disc"))
    (cup,) = segmenter.segment(SegmentRequest(scan, range(1), target="cup"))
    assert np.array_equal(disc.labels, whole.labels > 0)
    assert np.array_equal(cup.labels, whole.labels == 5)
    assert (disc.probability >= cup.probability - 1e-6).all()


def test_a_threshold_moves_the_foreground_of_several_classes(tmp_path: Path) -> None:
    segmenter = Segmenter.load(save_two_class(tmp_path / "two"), "cpu")
    scan = picture_scan()
    sizes: list[int] = []
    for threshold in (0.2, 0.5, 0.8):
        (found,) = segmenter.segment(SegmentRequest(scan, range(1), threshold=threshold))
        assert np.array_equal(found.labels > 0, found.probability > threshold)
        sizes.append(int((found.labels > 0).sum()))
    assert sizes[0] > sizes[1] > sizes[2]


def test_samples_of_several_classes_give_a_stability_map(tmp_path: Path) -> None:
    segmenter = Segmenter.load(save_two_class(tmp_path / "two"), "cpu")
    (found,) = segmenter.segment(SegmentRequest(picture_scan(), range(1), samples=3))
    assert found.stability is not None and found.stability.max() > 0


def test_the_temperature_follows_how_sure_the_scores_may_be() -> None:
    network = SDSegNetwork.build(replace(TINY, channel_classes=2)).eval()
    masks = (two_classes(64) * 255).to(torch.uint8)
    data = SliceDataset(
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8), masks, torch.zeros(1).long(), ("a",)
    )
    right = class_maps(mask_picture(two_classes(64)), 2)
    network.scores = lambda z0: right  # type: ignore[method-assign]
    sure = best_temperature(network, data, torch.device("cpu"), 0)
    noisy = right + torch.randn(right.shape, generator=torch.Generator().manual_seed(0)) * 2
    network.scores = lambda z0: noisy  # type: ignore[method-assign]
    assert best_temperature(network, data, torch.device("cpu"), 0) > 3 * sure


def test_coverage_is_what_a_class_covers_of_each_cell() -> None:
    masks = two_classes(48)  # the left two columns of cells, and the middle two
    latent = torch.full((1, 4, 6, 6), -COVERAGE_RANGE)
    latent[:, 0, :, :2] = latent[:, 1, :, 2:4] = COVERAGE_RANGE
    latent[:, 2:] = 7.0  # what is left is free
    assert coverage_loss(latent, masks) == 0
    assert coverage_loss(-latent, masks) == 4 * COVERAGE_RANGE**2
    half = masks.clone()
    half[:, 0, :, 12:16] = 0
    assert coverage_loss(latent, half) == COVERAGE_RANGE**2 / 12  # one column of cells of 12


def test_with_coverage_a_small_class_lies_as_far_from_the_background_as_a_large_one() -> None:
    masks = torch.zeros(4, 2, 64, 64, dtype=torch.uint8)
    masks[:, 0, 8:40, 8:40] = 255
    masks[:1, 1, 48:58, 48:58] = 255  # in one picture of four
    pictures = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    data = SliceDataset(pictures, masks, torch.arange(4), tuple("abcd"))
    torch.manual_seed(0)
    network = SDSegNetwork.build(replace(TINY, channel_classes=2))
    rules = Optimisation(
        batch=8, autoencoder_steps=100, autoencoder_lr=1e-2, autoencoder_coverage=5.0
    )
    train_autoencoder(network.autoencoder, data, rules, 0, torch.device("cpu"))
    seen = (masks > 0).float()
    latent = network.autoencoder.encode(mask_picture(seen)).latent_dist.mode()
    background = latent[0, :, 0, 7]
    large = (latent[0, 0, 3, 3] - background[0]).item()
    small = (latent[0, 1, 6, 6] - background[1]).item()
    assert large > COVERAGE_RANGE and small > COVERAGE_RANGE
    assert coverage_loss(latent, seen) < 0.3 * COVERAGE_RANGE**2
