"""What is decoded, what learns and how fast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UserError
from engine.sdseg.config import TINY, SDSegConfig, VisionEncoderConfig
from engine.sdseg.network import SDSegNetwork
from engine.training.objective import Losses, diffused
from engine.training.options import Objective, TrainOptions
from engine.training.trainer import Trainer
from tests.engine.training.discs import draw_discs, draws, options, trainer_for

TRUNK = replace(TINY, vision_encoder=VisionEncoderConfig("trunk", condition_channels=4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_discs(tmp_path_factory.mktemp("data") / "discs")


def losses(crop: float) -> Losses:
    torch.manual_seed(0)
    goal = Objective(mask_weight=1.0, mask_crop=crop)
    return Losses(SDSegNetwork.build(TINY), goal, 1, 64, "fp32")


def test_the_decoded_part_lies_inside_and_shows_the_target() -> None:
    part = losses(0.5)
    assert part.crop == 4 and part.cells == 8
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 3:6, 57:63] = 1  # near a corner
    seen: set[tuple[int, int]] = set()
    for step in range(60):
        corners = part.corners(masks, draws(1, step))
        assert corners is not None
        ((row, column),) = corners
        assert 0 <= row <= 4 and 0 <= column <= 4
        pixels = masks[0, 0, row * 8 : row * 8 + 32, column * 8 : column * 8 + 32]
        assert pixels.any()
        seen.add((row, column))
    assert seen == {(0, 4)}  # the only cells of row 0 and column 7
    masks[...] = 0
    masks[..., 30, 30] = 1  # in the middle: many parts show it
    found = {part.corners(masks, draws(1, step))[0] for step in range(200)}  # type: ignore[index]
    assert found == {(r, c) for r in range(4) for c in range(4)}


def test_a_small_class_is_decoded_as_often_as_a_large_one() -> None:
    part = losses(0.5)
    masks = torch.zeros(1, 2, 64, 64)
    masks[:, 0, 32:] = 1
    masks[:, 1, 2, 2] = 1  # one pixel far from it
    shown = 0
    for step in range(200):
        ((row, column),) = part.corners(masks, draws(1, step)) or []
        pixels = masks[0, :, row * 8 : row * 8 + 32, column * 8 : column * 8 + 32]
        assert pixels.any()
        shown += bool(pixels[1].any())
    assert 70 < shown < 130


def test_without_a_target_the_decoded_part_is_anywhere() -> None:
    part = losses(0.5)
    masks = torch.zeros(1, 1, 64, 64)
    found = {part.corners(masks, draws(1, step))[0] for step in range(400)}  # type: ignore[index]
    assert found == {(r, c) for r in range(5) for c in range(5)}
    assert losses(1.0).corners(masks, draws(1, 0)) is None


def test_latent_cells_and_mask_pixels_of_a_part_match() -> None:
    part = losses(0.5)
    cells = torch.arange(64.0).view(1, 1, 8, 8).expand(2, 4, 8, 8)
    masks = cells[:, :1].repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    latents, pixels = part._parts(cells, masks, [(1, 3), (4, 0)])
    assert latents.shape == (2, 4, 4, 4) and pixels.shape == (2, 1, 32, 32)
    assert torch.equal(pixels[:, 0, ::8, ::8], latents[:, 0])
    assert latents[0, 0, 0, 0] == 11 and latents[1, 0, 0, 0] == 32


def rates(trainer: Trainer) -> dict[str, float | None]:
    """The learning rate of a parameter of each part; None if it does not learn."""
    found = {id(p): g["initial_lr"] for g in trainer.optimiser.param_groups for p in g["params"]}
    encoder = trainer.network.vision_encoder
    parts = {"unet": trainer.network.unet, "out": encoder.out}
    if hasattr(encoder, "trunk"):
        parts["trunk"] = encoder.trunk  # type: ignore[assignment]
    if trainer.losses.pyramid_head is not None:
        parts["head"] = trainer.losses.pyramid_head  # type: ignore[assignment]
    return {name: found.get(id(next(part.parameters()))) for name, part in parts.items()}


def chosen(folder: Path, tmp_path: Path, pyramid: float = 0.0, **more: object) -> TrainOptions:
    made = options(folder, tmp_path / "m", scale_lr=False, base_lr=1e-3, **more)
    return replace(made, objective=replace(made.objective, pyramid_weight=pyramid))


def test_each_part_has_its_own_rate(folder: Path, tmp_path: Path) -> None:
    rules = chosen(folder, tmp_path, 1.0, encoder_factor=0.5, trunk_factor=0.1)
    found = rates(trainer_for(folder, rules, TRUNK))
    assert found == pytest.approx({"unet": 1e-3, "out": 5e-4, "trunk": 1e-4, "head": 1e-3})
    found = rates(trainer_for(folder, chosen(folder, tmp_path, encoder_factor=0.5)))
    assert found == pytest.approx({"unet": 1e-3, "out": 5e-4})


@pytest.mark.parametrize(("config", "part"), [(TINY, ""), (TRUNK, "trunk.")])
def test_a_frozen_encoder_keeps_its_weights_and_the_rest_learns(
    folder: Path, tmp_path: Path, config: SDSegConfig, part: str
) -> None:
    trainer = trainer_for(folder, chosen(folder, tmp_path, freeze_encoder=True, steps=3), config)
    before = {n: p.detach().clone() for n, p in trainer.losses.named_parameters()}
    frozen = "network.vision_encoder." + part
    for _ in range(3):
        trainer._update()
        trainer.step += 1
    for name, parameter in trainer.losses.named_parameters():
        same = torch.equal(parameter, before[name])
        assert same == name.startswith((frozen, "network.autoencoder.")), name


@pytest.mark.parametrize("config", [TINY, TRUNK])
def test_every_weight_that_learns_gets_a_gradient(
    folder: Path, tmp_path: Path, config: SDSegConfig
) -> None:
    """Several processes would wait for one that gets none."""
    pyramid = 1.0 if config is TRUNK else 0.0
    trainer = trainer_for(folder, chosen(folder, tmp_path, pyramid), config)
    trainer.losses(*trainer._batch())["loss"].backward()
    without = [
        n for n, p in trainer.losses.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert without == []


@given(batch=st.integers(1, 12), wanted=st.integers(1, 12), processes=st.sampled_from([1, 2, 3]))
def test_a_share_of_the_batch_is_the_same_pictures_in_any_number_of_processes(
    batch: int, wanted: int, processes: int
) -> None:
    batch *= processes
    share = min(wanted / batch, 1.0)
    alone = diffused(range(batch), share)
    assert len(alone) == round(share * batch)
    together: list[int] = []
    for rank in range(processes):
        first = rank * batch // processes
        try:
            own = diffused(range(first, first + batch // processes), share)
        except UserError:
            own = []
        together += [first + n for n in own]
    assert together == alone
    with pytest.raises(UserError, match="less than a picture of each batch"):
        diffused(range(batch), 0.5 / batch)


def test_the_other_pictures_of_a_batch_teach_the_vision_encoder_alone(
    folder: Path, tmp_path: Path
) -> None:
    whole = trainer_for(folder, chosen(folder, tmp_path, 1.0, latent_variants=2), TRUNK)
    rules = whole.options
    half = replace(rules, objective=replace(rules.objective, sdseg_share=0.5, mask_crop=0.5))
    trainer = trainer_for(folder, half, TRUNK)
    pictures, masks, z0, noise, t, corners, some = trainer._batch()
    everything = whole._batch()
    assert some.tolist() == [1, 3] and len(corners) == len(z0) == len(noise) == len(t) == 2
    assert torch.equal(pictures, everything[0]) and torch.equal(noise, everything[3][some])
    assert torch.equal(z0, everything[2][some]) and torch.equal(t, everything[4][some])

    def gradients(*batch: Any) -> list[torch.Tensor]:
        trainer.losses.zero_grad()
        trainer.losses(*batch)["loss"].backward()
        unet, encoder = trainer.network.unet, trainer.network.vision_encoder
        return [next(p.grad.clone() for p in m.parameters() if p.grad is not None)
                for m in (unet, encoder)]  # fmt: skip

    torch.manual_seed(0)
    before = gradients(pictures, masks, z0, noise, t, corners, some)
    changed = pictures.clone()
    changed[0] = -changed[0]
    torch.manual_seed(0)
    after = gradients(changed, masks, z0, noise, t, corners, some)
    assert torch.allclose(before[0], after[0], atol=1e-7)
    assert not torch.allclose(before[1], after[1], atol=1e-7)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noise_and_velocity_are_learnt_too(folder: Path, tmp_path: Path, kind: str) -> None:
    rules = chosen(folder, tmp_path, steps=80)
    rules = replace(rules, objective=Objective(latent_lambda=0.1))
    trainer = trainer_for(folder, rules, replace(TINY, prediction_type=kind))
    course: list[float] = []
    for trainer.step in range(80):
        course.append(trainer._update()["noise"])
    assert sum(course[-20:]) < 0.97 * sum(course[:20])
