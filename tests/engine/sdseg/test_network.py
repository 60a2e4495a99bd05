"""The network: the paper's sizes, its tables, and the one-step arithmetic."""

from dataclasses import replace

import pytest
import torch

from engine.models.schema import Schedule
from engine.sdseg.config import COMPACT, PAPER, TINY, UNetConfig
from engine.sdseg.diffusion import NoiseSchedule
from engine.sdseg.network import SDSegNetwork, SDSegUNet, build_unet


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper() -> SDSegNetwork:
    with torch.device("meta"):
        return SDSegNetwork.build(PAPER)


def test_the_paper_preset_has_the_published_sizes(paper: SDSegNetwork) -> None:
    assert parameters(paper.unet) == 294_973_828
    assert parameters(paper.autoencoder) == 83_653_863
    assert parameters(paper.vision_encoder) == 34_163_628


def test_the_published_encoder_has_the_stages_of_tables_7_to_9(paper: SDSegNetwork) -> None:
    shapes: list[tuple[int, ...]] = []
    encoder = paper.vision_encoder.encoder
    for stage in (encoder.conv_in, *encoder.down_blocks, encoder.mid_block, encoder.conv_out):
        stage.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        condition = paper.condition(torch.empty(1, 3, 256, 256, device="meta"))
    assert shapes == [
        (128, 256, 256),
        (128, 128, 128),
        (256, 64, 64),
        (512, 32, 32),
        (512, 32, 32),
        (512, 32, 32),
        (8, 32, 32),
    ]
    assert condition.shape == (1, 4, 32, 32)


def test_every_attention_of_the_paper_preset_has_eight_heads(paper: SDSegNetwork) -> None:
    from diffusers.models.attention_processor import Attention

    found = [m for m in paper.unet.modules() if isinstance(m, Attention)]
    assert {m.heads for m in found} == {8}
    assert all(m.scale == pytest.approx((m.inner_dim / 8) ** -0.5) for m in found)


def test_heads_survive_the_stored_configuration() -> None:
    with torch.device("meta"):
        unet = build_unet(replace(UNetConfig(), heads=4), 4, 32)
        again = SDSegUNet.from_config(unet.config)
    attention = again.down_blocks[1].attentions[0]
    assert attention.heads == 4
    assert attention.scale == pytest.approx((384 / 4) ** -0.5)


def test_only_vision_encoder_and_unet_are_trained() -> None:
    network = SDSegNetwork.build(TINY)
    assert not any(p.requires_grad for p in network.autoencoder.parameters())
    assert all(p.requires_grad for p in network.unet.parameters())
    assert all(p.requires_grad for p in network.vision_encoder.parameters())


def test_the_compact_network_answers_in_the_picture_s_size() -> None:
    network = SDSegNetwork.build(COMPACT).eval()
    with torch.inference_mode():
        condition = network.condition(torch.zeros(1, 3, 64, 64))
        probability = network.decode(network.estimate_z0(torch.zeros(1, 4, 8, 8), condition))
    assert condition.shape == (1, 16, 8, 8)
    assert probability.shape == (1, 64, 64)
    assert float(probability.min()) >= 0.0 and float(probability.max()) <= 1.0


def test_the_schedule_ends_where_the_paper_s_ends() -> None:
    schedule = NoiseSchedule(Schedule())
    assert schedule.last == 999
    abar = float(schedule.alphas_cumprod[999])
    assert abar == pytest.approx(6.6867e-4, rel=1e-4)
    assert abar**-0.5 == pytest.approx(38.672, abs=1e-3)
    assert (1 / abar - 1) ** 0.5 == pytest.approx(38.659, abs=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_perfect_output_gives_back_latent_and_noise(kind: str) -> None:
    schedule = NoiseSchedule(Schedule())
    generator = torch.Generator().manual_seed(3)
    z0, noise = (torch.randn(4, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in "ab")
    t = torch.tensor([0, 10, 500, 999])
    z_t = schedule.add_noise(z0, noise, t)
    abar = schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
    outputs = {
        "epsilon": noise,
        "sample": z0,
        "v_prediction": abar.sqrt() * noise - (1 - abar).sqrt() * z0,
    }
    torch.testing.assert_close(schedule.latent_estimate(outputs[kind], z_t, t, kind), z0)
    torch.testing.assert_close(schedule.noise_estimate(outputs[kind], z_t, t, kind), noise)


def test_one_step_from_pure_noise_follows_equation_2() -> None:
    network = SDSegNetwork.build(replace(TINY, prediction_type="epsilon")).eval()
    noise, condition = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        z0 = network.estimate_z0(noise, condition)
        eps = network.predict(noise, torch.tensor([999, 999]), condition)
    abar = float(network.schedule.alphas_cumprod[999])
    expected = (noise - (1 - abar) ** 0.5 * eps) / abar**0.5
    torch.testing.assert_close(z0, expected, rtol=1e-4, atol=1e-3)


def test_two_steps_go_by_way_of_the_first_estimate() -> None:
    network = SDSegNetwork.build(TINY).eval()
    noise, condition = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    abar = network.schedule.alphas_cumprod
    with torch.inference_mode():
        first = network.predict(noise, torch.tensor([999]), condition)
        eps = (noise - abar[999].sqrt() * first) / (1 - abar[999]).sqrt()
        z_t = (abar[500].sqrt() * first + (1 - abar[500]).sqrt() * eps).float()
        expected = network.predict(z_t, torch.tensor([500]), condition)
        found = network.estimate_z0(noise, condition, steps=2)
        one = network.estimate_z0(noise, condition, steps=1)
        way = list(network.estimates(noise, condition, steps=2))
    assert len(way) == 2 and torch.equal(way[0], first) and torch.equal(way[1], found)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(one, first) and not torch.equal(one, found)
