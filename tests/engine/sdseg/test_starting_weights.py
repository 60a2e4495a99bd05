"""Other programs' weights in a fresh network: what fits, what is widened, what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import UserError
from engine.models.schema import WEIGHTS
from engine.sdseg import ldm
from engine.sdseg.config import TINY, UNetConfig
from engine.sdseg.foreign import find_sources
from engine.sdseg.network import build_unet
from engine.sdseg.starting_weights import fill_part
from tests.engine.sdseg import ldm_reference as reference
from tests.engine.sdseg.foreign_weights import (
    FIRST,
    UNET,
    filled,
    fresh,
    latent_diffusion,
    refusal,
    same,
    small_config,
    tiny_autoencoder,
    tiny_unet,
    under,
)

# Autoencoders


def test_an_autoencoder_of_diffusers_is_taken_whole(tmp_path: Path) -> None:
    model = tiny_autoencoder(tmp_path / "vae")
    network, (report,) = filled(tmp_path / "vae", tmp_path)
    assert same(network.autoencoder, model)
    assert not any(p.requires_grad for p in network.autoencoder.parameters())
    sha256 = hashlib.sha256((tmp_path / "vae" / WEIGHTS).read_bytes()).hexdigest()
    count = len(model.state_dict())
    assert report.sentence == f"vae (sha256 {sha256}): autoencoder, {count} tensors, all fitted"
    assert report.fresh == () and report.left_over == ()


def test_the_old_names_of_attention_are_understood(tmp_path: Path) -> None:
    model = tiny_autoencoder(tmp_path / "vae")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(tmp_path / "vae" / WEIGHTS).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        tensors[name] = tensor
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, tmp_path / "vae" / WEIGHTS)
    assert same(filled(tmp_path / "vae", tmp_path)[0].autoencoder, model)


@pytest.mark.parametrize("prefix", ["", FIRST])
@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_a_kl_f8_file_computes_what_the_reference_computes(
    tmp_path: Path, prefix: str, ending: str
) -> None:
    weights = under(FIRST, latent_diffusion())
    content = {prefix + n: t for n, t in weights.items()}
    content["loss.discriminator.main.0.weight"] = torch.zeros(2, 2)
    file = tmp_path / f"kl-f8.{ending}"
    if ending == "ckpt":
        torch.save({"state_dict": content, "global_step": 3}, file)
    else:
        save_file(content, file)
    network, (report,) = filled(file, tmp_path, small_config())
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latent = network.autoencoder.encode(picture).latent_dist.mean
    expected, _ = reference.posterior(weights, picture, 1)
    torch.testing.assert_close(latent, expected, atol=1e-4, rtol=1e-4)
    decoded = network.autoencoder.decode(latent).sample
    torch.testing.assert_close(
        decoded, reference.decode(weights, expected, 1), atol=1e-3, rtol=1e-3
    )
    assert report.left_over == ("loss.discriminator.main.0.weight",)
    assert report.sentence.endswith("176 tensors, all fitted, 1 of the file left over")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"block_out_channels": (4, 8, 8, 8)}, "4-8-8-8 channels wide; 4-4-8-8 are wanted"),
        ({"block_out_channels": (4, 4, 8)}, "4-4-8 channels wide; 4-4-8-8 are wanted"),
        ({"norm_num_groups": 4}, "norm_num_groups 4 instead of 2"),
        ({"layers_per_block": 2}, "tensor too many"),
    ],
)
def test_an_autoencoder_of_other_sizes_is_refused_and_nothing_is_copied(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    tiny_autoencoder(tmp_path / "vae", **change)
    assert words in refusal(tmp_path / "vae", tmp_path).message
    network = fresh(TINY)
    with pytest.raises(UserError):
        fill_part(network, TINY, find_sources(tmp_path / "vae", tmp_path)[0])
    assert same(network, fresh(TINY))


def test_one_tensor_missing_or_bent_spoils_an_autoencoder(tmp_path: Path) -> None:
    tiny_autoencoder(tmp_path / "vae")
    whole = load_file(tmp_path / "vae" / WEIGHTS)
    name = "decoder.conv_out.weight"
    save_file({n: t for n, t in whole.items() if n != name}, tmp_path / "vae" / WEIGHTS)
    assert f"lacks {name}" in refusal(tmp_path / "vae", tmp_path).message
    save_file({**whole, name: torch.zeros(3, 5, 3, 3)}, tmp_path / "vae" / WEIGHTS)
    message = refusal(tmp_path / "vae", tmp_path).message
    assert f"{name}: [3, 5, 3, 3]; [3, 4, 3, 3] is wanted" in message


# U-Nets


@settings(max_examples=8, deadline=None)
@given(
    widths=st.sampled_from([(8,), (8, 16), (16, 8), (8, 8, 16)]),
    channels=st.sampled_from([1, 4, 16]),
    step=st.integers(0, 999),
    seed=st.integers(0, 2**31),
)
def test_the_widened_u_net_computes_what_the_narrow_one_did_whatever_the_condition(
    tmp_path_factory: pytest.TempPathFactory,
    widths: tuple[int, ...],
    channels: int,
    step: int,
    seed: int,
) -> None:
    tmp_path = tmp_path_factory.mktemp("widen")
    sizes = replace(TINY.unet, block_out_channels=widths, attention=(False,) * len(widths))
    vision = replace(TINY.vision_encoder, condition_channels=channels)
    config = replace(TINY, unet=sizes, vision_encoder=vision)
    torch.manual_seed(seed)
    narrow = build_unet(sizes, 0, 8).eval()
    for parameter in narrow.parameters():  # fresh weights have zeros in places
        torch.nn.init.normal_(parameter, std=0.3)
    rules = {k: v for k, v in narrow.config.items() if not k.startswith("_") and k != "heads"}
    plain = UNet2DModel(**rules).eval()
    plain.load_state_dict(narrow.state_dict())
    plain.save_pretrained(tmp_path / "unet")
    network, (report,) = filled(tmp_path / "unet", tmp_path, config)
    assert report.widened == {"conv_in.weight": (4, 4 + channels)} and report.fresh == ()
    latent, condition = torch.randn(2, 4, 8, 8), 100 * torch.randn(2, channels, 8, 8)
    t = torch.tensor([step, 999])
    with torch.inference_mode():
        answer = network.predict(latent, t, condition)
        torch.testing.assert_close(answer, plain(latent, t).sample, atol=1e-5, rtol=1e-5)
        assert answer.std() > 0
    assert network.unet.conv_in.weight[:, 4:].count_nonzero() == 0


@pytest.mark.parametrize("averaged", [True, False])
def test_a_u_net_of_latent_diffusion_computes_what_the_reference_computes(
    tmp_path: Path, averaged: bool
) -> None:
    content = {n: t for n, t in latent_diffusion().items() if not n.startswith(FIRST)}
    last = under(UNET, content)
    best = {n: content[ldm.ema_name(n)] for n in last} if averaged else last
    if not averaged:
        del content[ldm.ema_name("out.2.bias")]
    torch.save({"state_dict": content}, tmp_path / "churches.ckpt")
    network, (report,) = filled(tmp_path / "churches.ckpt", tmp_path, small_config())
    generator = torch.Generator().manual_seed(1)
    latent, condition = (torch.randn(2, 4, 8, 8, generator=generator) for _ in "ab")
    t = torch.tensor([999, 17])
    answer = network.predict(latent, t, condition)
    torch.testing.assert_close(answer, reference.unet(best, latent, t, 2, 1), atol=1e-4, rtol=1e-4)
    assert report.weights == ("averaged weights" if averaged else "last weights")
    count = len(network.unet.state_dict())
    words = f"{count} of {count} tensors fitted, conv_in widened 4 -> 8 with zeros, 0 left fresh"
    assert words in report.sentence and len(report.sha256) == 64


def test_a_whole_checkpoint_gives_both_parts(tmp_path: Path) -> None:
    content = {**latent_diffusion(), "betas": torch.zeros(10)}
    torch.save({"state_dict": content}, tmp_path / "ldm.ckpt")
    network, reports = filled(tmp_path / "ldm.ckpt", tmp_path, small_config())
    assert [r.part for r in reports] == ["autoencoder", "U-Net"]
    bias = content[f"{FIRST}post_quant_conv.bias"]
    assert torch.equal(network.autoencoder.post_quant_conv.bias, bias)
    assert reports[1].left_over[0] == "betas"


def test_a_pipeline_folder_gives_both_parts(tmp_path: Path) -> None:
    vae = tiny_autoencoder(tmp_path / "pipe" / "vqvae")
    unet = tiny_unet(tmp_path / "pipe" / "unet")
    network, reports = filled(tmp_path / "pipe", tmp_path)
    assert [r.source for r in reports] == ["pipe/vqvae", "pipe/unet"]
    assert same(network.autoencoder, vae)
    assert torch.equal(network.unet.conv_in.weight[:, :4], unet.conv_in.weight)


def test_what_does_not_fit_is_listed_and_stays_fresh(tmp_path: Path) -> None:
    tiny_unet(tmp_path / "unet", attention_head_dim=4, norm_eps=1e-6)
    whole = load_file(tmp_path / "unet" / WEIGHTS)
    del whole["conv_out.bias"]
    whole["time_embedding.linear_1.weight"] = torch.zeros(7, 7)
    whole["extra.weight"] = torch.zeros(1)
    save_file(whole, tmp_path / "unet" / WEIGHTS)
    network, (report,) = filled(tmp_path / "unet", tmp_path)
    assert report.missing == ("conv_out.bias",)
    assert report.misfits == {"time_embedding.linear_1.weight": ((7, 7), (32, 8))}
    assert report.left_over == ("extra.weight",)
    assert len(report.fitted) == report.wanted - 2 and "2 left fresh" in report.sentence
    assert report.settings == (
        "norm_eps 1e-06 instead of 1e-05",
        "attention heads of 4 channels instead of 2 heads everywhere",
    )
    before = fresh(TINY).unet
    for name in report.fresh:
        assert torch.equal(network.unet.state_dict()[name], before.state_dict()[name])


def test_a_u_net_with_cross_attention_gives_what_fits(tmp_path: Path) -> None:
    model = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=8, attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    model.save_pretrained(tmp_path / "unet")
    network, (report,) = filled(tmp_path / "unet", tmp_path)
    weight = model.down_blocks[0].resnets[0].conv1.weight
    assert torch.equal(network.unet.down_blocks[0].resnets[0].conv1.weight, weight)
    assert any("transformer_blocks" in name for name in report.left_over)
    assert any("to_q" in name for name in report.missing)


def test_a_u_net_of_another_size_is_refused_although_its_last_bias_fits(tmp_path: Path) -> None:
    tiny_unet(tmp_path / "unet", block_out_channels=(12, 24), attention_head_dim=12)
    message = refusal(tmp_path / "unet", tmp_path).message
    assert "U-Net of unet is 12-24 channels wide; 8-16 are wanted" in message


def test_a_u_net_s_odd_tensors_are_left_over() -> None:
    config = UNetConfig((32, 32), (True, False), 1)
    odd = {"nodot": torch.zeros(3), "middle_block.1.qkv.weight": torch.zeros(25, 32, 1)}
    state, unknown = ldm.known_unet_state(odd, config)
    assert state == {} and unknown == tuple(odd)
