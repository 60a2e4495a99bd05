"""A whole training run at tiny size on pictures made here: it learns, resumes and refuses."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import Cancelled, UserError
from engine.evaluation.pairs import find_pairs
from engine.sdseg.config import TINY
from engine.sdseg.network import SDSegNetwork
from engine.training.augment import augment
from engine.training.autoencoder import ceiling, seen_in_nothing, train_autoencoder
from engine.training.checkpoint import read_state
from engine.training.dataset import read_dataset
from engine.training.ema import Ema
from engine.training.losses import dice_loss, mask_picture, noise_and_latent_loss
from engine.training.options import (
    Augmentation,
    Optimisation,
)
from engine.training.randomness import batch_indices, step_generator
from engine.training.run import train_model
from engine.training.sources import PairSource
from engine.training.trainer import Trainer
from tests.engine.training.discs import (
    CPU,
    RULES,
    draw_discs,
    draws,
    load,
    options,
    trainer_for,
    weights,
)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory) -> Path:
    return draw_discs(tmp_path_factory.mktemp("data") / "discs")


def loss_on_fixed_batches(trainer: Trainer) -> float:
    found: list[float] = []
    step = trainer.step
    for trainer.step in range(1000, 1008):
        with torch.no_grad():
            found.append(float(trainer.losses(*trainer._batch())["loss"]))
    trainer.step = step
    return float(np.mean(found))


def test_the_data_set_merges_the_classes_of_the_target(data_folder: Path) -> None:
    data = load(data_folder, "train.txt")
    assert len(data) == 8 and data.pictures.shape == (8, 3, 64, 64)
    raw = np.asarray(Image.open(data_folder / "masks/case00.png"))
    assert np.array_equal(data.masks[0, 0].numpy() > 127, raw > 0)
    pictures, masks = data.batch(torch.tensor([0, 3]))
    assert pictures.min() >= -1
    assert pictures.max() <= 1 and masks.max() == 1


def test_a_name_without_a_file_is_refused(data_folder: Path) -> None:
    with pytest.raises(UserError, match="case99"):
        find_pairs(data_folder / "images", data_folder / "masks", ["case99"], "train.txt")


def test_a_mask_of_another_size_is_refused(data_folder: Path, tmp_path: Path) -> None:
    for name, side in (("images", 64), ("masks", 32)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / name / "a.png")
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks", ["a"], "train.txt")
    with pytest.raises(UserError, match=r"a\.png"):
        read_dataset([PairSource(pair) for pair in pairs], RULES, ((1,),))


def test_the_autoencoder_learns_to_repeat_masks(data_folder: Path) -> None:
    data = load(data_folder, "train.txt")
    torch.manual_seed(0)  # the fresh weights decide how far 150 steps lead
    network = SDSegNetwork.build(TINY)
    before = ceiling(network.autoencoder, data, CPU)
    train_autoencoder(
        network.autoencoder,
        data,
        Optimisation(batch=8, autoencoder_steps=150, autoencoder_lr=1e-2),
        0,
        CPU,
    )
    after = ceiling(network.autoencoder, data, CPU)
    assert after > 0.8 and after > before
    assert seen_in_nothing(network.autoencoder, data, CPU) < 0.1
    assert not any(p.requires_grad for p in network.autoencoder.parameters())


@pytest.mark.parametrize("groups", [((1, 2),), ((1,), (2,))])
def test_what_an_empty_mask_decodes_to_is_the_most_probable_class_anywhere(
    data_folder: Path, groups
) -> None:
    data = load(data_folder, "val.txt", groups)
    autoencoder = SDSegNetwork.build(replace(TINY, channel_classes=len(groups))).autoencoder
    last = autoencoder.decoder.conv_out
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-1.0)  # decodes everything to nothing
        assert seen_in_nothing(autoencoder, data, CPU) < 0.02
        last.bias[:] = torch.tensor([-1.0, 1.0, -1.0])  # of several classes, the second is there
        expected = 0.95 if len(groups) > 1 else 1 / (1 + np.exp(4.0 / 3))
        assert seen_in_nothing(autoencoder, data, CPU) == pytest.approx(expected, abs=0.05)


def test_an_autoencoder_that_decodes_nothing_as_something_is_told_and_noted(
    data_folder: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    chosen = options(data_folder, tmp_path / "model", steps=1, autoencoder_steps=1)
    found = train_model(chosen, "cpu", lines.append)
    assert found is not None
    nothing = found["scores"]["highest probability decoded from an empty mask"]
    assert nothing > 0.25
    assert any(line.startswith("warning: the autoencoder") for line in lines)
    assert f"{nothing:.3f}" in (tmp_path / "model" / "CARD.md").read_text()


def test_a_few_steps_lower_the_loss_and_leave_the_autoencoder_alone(
    data_folder: Path, tmp_path: Path
) -> None:
    trainer = trainer_for(data_folder, options(data_folder, tmp_path / "m", steps=240))
    frozen = trainer.network.autoencoder.encoder.conv_in.weight.clone()
    before = loss_on_fixed_batches(trainer)
    trainer.run()
    trainer.ema.swap(trainer._averaged())  # the weights as trained, not their averages
    assert loss_on_fixed_batches(trainer) < 0.95 * before
    assert torch.equal(trainer.network.autoencoder.encoder.conv_in.weight, frozen)
    assert (tmp_path / "m.run" / "curves.csv").read_text().startswith("step,cpu_minutes")


def test_a_resumed_run_ends_bit_equal(data_folder: Path, tmp_path: Path) -> None:
    whole = trainer_for(data_folder, options(data_folder, tmp_path / "whole"))
    whole.run()
    part = trainer_for(data_folder, options(data_folder, tmp_path / "part"))
    with pytest.raises(Cancelled):
        part.run(is_cancelled=lambda: part.step == 3)
    again = trainer_for(data_folder, options(data_folder, tmp_path / "part"))
    assert again.restore(tmp_path / "part.run") and again.step == 3
    assert again.ema.updates == 3
    again.run()
    assert torch.equal(weights(whole), weights(again))


def test_the_count_of_averages_is_read_back(data_folder: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data_folder, options(data_folder, tmp_path / "m"))
    trainer.ema.updates = 41
    trainer.save()
    (tmp_path / "m.run" / "checkpoint.json").write_text(
        (tmp_path / "m.run" / "checkpoint.json").read_text().replace("41", "7")  # an older JSON
    )
    again = trainer_for(data_folder, options(data_folder, tmp_path / "m"))
    assert again.restore(tmp_path / "m.run") and again.ema.updates == 41


def test_a_loss_that_is_not_a_number_stops_at_that_step(data_folder: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data_folder, options(data_folder, tmp_path / "m"))
    with torch.no_grad():
        trainer.network.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="step 0"):
        trainer.run()


def test_equation_3_relates_its_two_terms_for_noise_prediction() -> None:
    network = SDSegNetwork.build(replace(TINY, prediction_type="epsilon"))
    generator = torch.Generator().manual_seed(0)
    z0, noise, output = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))
    for step in (50, 500, 900):
        t = torch.tensor([step])
        z_t = network.schedule.add_noise(z0, noise, t)
        eps, latent = noise_and_latent_loss(network, output, z0, z_t, noise, t)
        factor = (1 / network.schedule.alphas_cumprod[step] - 1) ** 0.5
        assert float(latent / eps) == pytest.approx(float(factor), rel=1e-3)


def test_dice_loss_and_mask_picture() -> None:
    masks = torch.zeros(1, 1, 8, 8)
    masks[..., :4] = 1
    assert float(dice_loss(masks, masks)) == pytest.approx(0.0, abs=1e-6)
    assert float(dice_loss(1 - masks, masks)) > 0.95
    absent = torch.cat([masks, torch.zeros_like(masks)], dim=1)
    clean = (absent * 0.96 + 0.02).clamp(0, 1)  # as a decoder answers where all is right
    assert float(dice_loss(clean, absent)) == pytest.approx(float(dice_loss(clean[:, :1], masks)))
    assert float(dice_loss(clean[:, 1:], absent[:, 1:])) == 0.0
    assert mask_picture(masks).unique().tolist() == [-1.0, 1.0]
    assert mask_picture(masks).shape == (1, 3, 8, 8)


def test_no_augmentation_changes_nothing_and_equal_seeds_give_equal_results() -> None:
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1
    masks = (torch.rand(3, 1, 32, 32) > 0.5).float()
    same, same_masks = augment(pictures, masks, Augmentation(flips=""), draws(3, 0))
    torch.testing.assert_close(same, pictures, atol=1e-5, rtol=0)
    assert torch.equal(same_masks, masks)
    strong = Augmentation(
        "hv", 180, (0.5, 2), 0.2, 0.2, 1.5, 0.3, 0.2, 0.2, 0.4, blur=1.0, noise=0.1
    )
    first, second = (augment(pictures, masks, strong, draws(3, 3)) for _ in "ab")
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[0].min() >= -1 and first[0].max() <= 1


def test_picture_and_mask_move_together() -> None:
    picture = torch.full((1, 3, 64, 64), -1.0)
    picture[..., 10:30, 20:50] = 1.0
    masks = (picture[:, :1] > 0).float()
    rules = Augmentation("hv", 90, (0.8, 1.2), 0.2, 0.1)
    for step in range(20):
        moved, moved_masks = augment(picture, masks, rules, draws(1, step))
        inside, outside = moved[:, :1][moved_masks > 0], moved[:, :1][moved_masks == 0]
        assert inside.min() > -0.1 and outside.max() < 0.1


def test_average_follows_and_swaps_back() -> None:
    layer = torch.nn.Linear(2, 2)
    ema = Ema(layer.named_parameters(), 0.999)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.add_(1.0)
    ema.update(layer.named_parameters())
    expected = start + (1 - 2 / 11)  # decay (1 + 1) / (10 + 1) after the first update
    torch.testing.assert_close(ema.averages["weight"], expected)
    raw = layer.weight.detach().clone()
    ema.swap(layer.named_parameters())
    torch.testing.assert_close(layer.weight.detach(), expected)
    ema.swap(layer.named_parameters())
    assert torch.equal(layer.weight, raw)


def test_batches_do_not_repeat_a_picture_where_they_need_not() -> None:
    generator = step_generator(0, "x", 1)
    assert sorted(batch_indices(5, 5, generator).tolist()) == [0, 1, 2, 3, 4]
    assert batch_indices(2, 8, generator).shape == (8,)


def test_the_autoencoder_s_time_is_part_of_what_a_model_took(data_folder, tmp_path) -> None:
    told: dict[str, float] = {}

    def note(text: str) -> None:
        told[text.split(":")[0]] = time.process_time()

    chosen = options(data_folder, tmp_path / "model", steps=1, autoencoder_steps=100)
    train_model(chosen, "cpu", note)
    autoencoder = told["autoencoder step 100"] - told["val.txt"]  # and the network's building
    state = read_state(chosen.run_folder)
    assert state is not None and state["cpu_seconds"] > 0.7 * autoencoder


def test_a_run_ends_when_its_minutes_are_over_and_validates_then(
    data_folder: Path, tmp_path: Path
) -> None:
    chosen = options(data_folder, tmp_path / "model", steps=10**6, minutes=0.02)
    trainer = trainer_for(data_folder, chosen)
    scores: list[float | None] = []
    trainer.run(lambda progress: scores.append(progress.val_dice))
    assert 0 < trainer.step == len(scores) < 10**6
    assert scores[-1] is not None and scores[:-1] == [None] * (len(scores) - 1)
