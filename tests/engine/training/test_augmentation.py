"""Each random change does what it says, and depends on its own picture's generator alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.training.augment import augment
from engine.training.dataset import SliceDataset
from engine.training.effects import EFFECTS, apply_effects
from engine.training.geometry import LEAST_PICTURE, place_randomly, target_free_share, warp
from engine.training.options import Augmentation
from engine.training.randomness import Draw, place_generators, step_generator
from tests.engine.training.discs import draw_discs, draws, load

STRONG = Augmentation(
    "hv", 180, (0.6, 1.6), 0.2, 0.2, 1.5, 0.3, 0.2, 0.2, 0.4, blur=1.0, noise=0.1,
    levels=(0.2, 0.8), jpeg=30, effects=(("gibbs", 0.5), ("dropout", 0.5)), empty_share=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight discs in colour and their masks."""
    folder: Path = draw_discs(tmp_path_factory.mktemp("data") / "discs")
    grey, masks = load(folder, "train.txt").batch(torch.arange(8))
    return grey * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1), masks


def test_a_picture_s_changes_do_not_depend_on_its_neighbours(pictures) -> None:
    values, masks = pictures
    together, both = augment(values, masks, STRONG, draws(8, 3))
    for place in (0, 3, 7):
        one = slice(place, place + 1)
        alone, mask = augment(values[one], masks[one], STRONG, draws(8, 3)[one])
        torch.testing.assert_close(alone[0], together[place], atol=1e-5, rtol=0)
        assert torch.equal(mask[0], both[place])
    other, _ = augment(values, masks, STRONG, draws(8, 4))
    assert all((a - b).abs().max() > 0.05 for a, b in zip(other, together, strict=True))


def test_generators_of_places_differ_and_stay_whatever_the_share() -> None:
    numbers = [float(torch.rand((), generator=g)) for g in place_generators(1, "x", 5, range(6))]
    assert len(set(numbers)) == 6
    later = [float(torch.rand((), generator=g)) for g in place_generators(1, "x", 5, range(3, 6))]
    assert later == numbers[3:]
    order = float(torch.rand((), generator=step_generator(1, "x", 5)))
    assert order not in numbers
    for seed, stage, step in ((2, "x", 5), (1, "y", 5), (1, "x", 6)):
        (g,) = place_generators(seed, stage, step, [0])
        assert float(torch.rand((), generator=g)) not in numbers


@pytest.mark.parametrize("name", list(EFFECTS))
def test_an_effect_repeats_itself_keeps_the_form_and_changes_the_picture(pictures, name) -> None:
    unit = (pictures[0] + 1.0) / 2.0
    before = unit.clone()
    first, again = (apply_effects(unit, ((name, 1.0),), Draw(draws(8, 1))) for _ in "ab")
    assert type(first) is torch.Tensor and torch.equal(first, again)
    assert first.shape == unit.shape and first.dtype == unit.dtype
    assert first.min() >= 0 and first.max() <= 1 and torch.isfinite(first).all()
    assert torch.equal(unit, before)  # what was given stays
    changed = (first - unit).abs().amax(dim=(1, 2, 3))
    assert (changed > 0).all() and float(changed.median()) > 0.01
    other = apply_effects(unit, ((name, 1.0),), Draw(draws(8, 2)))
    assert not torch.equal(first, other)


def test_an_effect_strikes_with_its_chance(pictures) -> None:
    unit = (pictures[0] + 1.0) / 2.0
    struck = 0
    for step in range(10):
        found = apply_effects(unit, (("dropout", 0.3),), Draw(draws(8, step)))
        struck += int((found != unit).flatten(1).any(dim=1).sum())
    assert 12 <= struck <= 36  # of 80
    assert torch.equal(apply_effects(unit, (("dropout", 0.0),), Draw(draws(8, 0))), unit)


def test_jpeg_spoils_half_of_the_pictures_a_little(pictures) -> None:
    values, masks = pictures
    rules = Augmentation(flips="", jpeg=20)
    changed = 0
    for step in range(5):
        found, same = augment(values, masks, rules, draws(8, step))
        still, _ = augment(values, masks, Augmentation(flips=""), draws(8, step))
        far = (found - still).abs().mean(dim=(1, 2, 3))
        changed += int((far > 1e-3).sum())
        assert float(far.max()) < 0.2 and torch.equal(same, masks.round())
    assert 10 <= changed <= 30  # of 40


def test_levels_cut_both_ends_and_no_more(pictures) -> None:
    ramp = torch.linspace(-1, 1, 64).expand(4, 3, 64, 64).contiguous()
    masks = torch.zeros(4, 1, 64, 64)
    found, _ = augment(ramp, masks, Augmentation(flips="", levels=(0.3, 0.7)), draws(4, 0))
    black, white = (found == -1).float().mean((1, 2, 3)), (found == 1).float().mean((1, 2, 3))
    assert (black <= 0.32).all() and (white <= 0.32).all()
    assert black.max() > 0.05 and white.max() > 0.05
    assert (found.diff(dim=-1) >= -1e-6).all()


def test_views_without_the_target_show_none_of_it_and_come_as_often_as_asked(pictures) -> None:
    values, masks = pictures
    # A disc at the side leaves room beside it.
    shifted = torch.roll(masks, 24, dims=-1), torch.roll(values, 24, dims=-1)
    many, looks = shifted[0].repeat(8, 1, 1, 1), shifted[1].repeat(8, 1, 1, 1)
    plain = place_randomly(looks, many, Augmentation(), Draw(draws(64, 0)))
    rules = Augmentation(empty_share=0.5)
    matrices = place_randomly(looks, many, rules, Draw(draws(64, 0)))
    replaced = (matrices != plain).flatten(1).any(dim=1)
    assert 16 <= int(replaced.sum()) <= 40
    seen = warp(many, matrices).mean(dim=(1, 2, 3))
    assert float(seen[replaced].max()) < 0.004 < float(seen[~replaced].min())
    there = (warp((looks > -0.98).float(), matrices).amax(dim=1) > 0.5).float().mean((1, 2))
    assert float(there[replaced].min()) > LEAST_PICTURE - 0.1
    sizes = matrices[:, :, :2].det().abs().sqrt()
    assert (sizes[replaced] < 1 / 1.19).all()  # from closer by


def test_a_picture_full_of_target_keeps_its_place(pictures) -> None:
    full = torch.ones(4, 1, 64, 64)
    rules = Augmentation(empty_share=1.0)
    kept = place_randomly(pictures[0][:4], full, rules, Draw(draws(4, 0)))
    plain = place_randomly(pictures[0][:4], full, Augmentation(), Draw(draws(4, 0)))
    assert torch.equal(kept, plain)


def test_the_share_without_target_is_counted_not_taken_from_the_options(pictures) -> None:
    values, masks = pictures
    rules = Augmentation(empty_share=0.5)

    def kept(pictures: torch.Tensor, masks: torch.Tensor) -> SliceDataset:
        stored = ((pictures + 1.0) * 127.5).round().byte(), (masks * 255.0).round().byte()
        return SliceDataset(*stored, torch.arange(8), tuple("abcdefgh"))

    beside = kept(values.roll(24, -1), masks.roll(24, -1))
    full = kept(values, torch.ones_like(masks))
    half = kept(values, masks * (torch.arange(8) % 2).view(8, 1, 1, 1))
    assert 0.25 < target_free_share(beside, rules, 0, 64) < 0.7
    assert target_free_share(beside, Augmentation(), 0, 8) == 0
    assert target_free_share(full, rules, 0, 16) == 0  # asked for in vain
    assert target_free_share(half, Augmentation(), 0, 16) == 0.5  # none to begin with
