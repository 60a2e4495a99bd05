"""The U-Net learns mask latents alone; what the condition would do is zero afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import Cancelled, UserError
from engine.sdseg.config import LATENT_CHANNELS, TINY
from engine.sdseg.network import SDSegNetwork
from engine.training.options import Objective, TrainOptions
from engine.training.prior import train_prior
from tests.engine.training.discs import CPU, draw_discs, load, options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_discs(tmp_path_factory.mktemp("data") / "discs")


def network() -> SDSegNetwork:
    torch.manual_seed(0)
    return SDSegNetwork.build(TINY)


def chosen(folder: Path, steps: int, **more: float) -> TrainOptions:
    made = options(
        folder, folder / "m", prior_steps=steps, scale_lr=False, **{"base_lr": 2e-3, **more}
    )
    return replace(made, objective=Objective(latent_lambda=1.0))


def test_it_learns_and_leaves_the_widened_channels_zero(folder: Path) -> None:
    made, course = network(), list[float]()
    others = {n: p.clone() for n, p in made.named_parameters() if not n.startswith("unet.")}
    data = load(folder, "train.txt")
    train_prior(made, data, chosen(folder, 120), CPU, lambda step, loss: course.append(loss))
    assert len(course) == 120 and sum(course[-30:]) < 0.9 * sum(course[:30])
    first = made.unet.conv_in.weight
    assert (first[:, LATENT_CHANNELS:] == 0).all() and (first[:, :LATENT_CHANNELS] != 0).all()
    assert all(torch.equal(p, others[n]) for n, p in made.named_parameters() if n in others)
    # So the picture changes nothing yet, and can begin to.
    z, t = torch.randn(1, 4, 8, 8), torch.tensor([500])
    conditions = torch.zeros(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    made.eval()
    with torch.no_grad():
        answers = [made.predict(z, t, condition) for condition in conditions]
    assert torch.equal(*answers)
    made.predict(z, t, conditions[1]).square().sum().backward()
    assert first.grad is not None and (first.grad[:, LATENT_CHANNELS:] != 0).any()


def test_equal_seeds_give_equal_priors(folder: Path) -> None:
    data = load(folder, "train.txt")
    pair = network(), network()
    for made in pair:
        train_prior(made, data, chosen(folder, 5), CPU)
    first, second = (torch.cat([p.flatten() for p in made.unet.parameters()]) for made in pair)
    assert torch.equal(first, second)


def test_it_stops_when_asked_and_refuses_what_is_no_number(folder: Path) -> None:
    data, steps = load(folder, "train.txt"), list[int]()
    with pytest.raises(Cancelled):
        train_prior(
            network(), data, chosen(folder, 50), CPU,
            lambda step, loss: steps.append(step), lambda: len(steps) == 3,
        )  # fmt: skip
    assert steps == [1, 2, 3]
    with pytest.raises(UserError, match="prior"):
        train_prior(network(), data, chosen(folder, 20, base_lr=1e30), CPU)
