"""Other programs' weights as tests write them, and networks to put them into."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor

from engine.errors import UserError
from engine.sdseg import ldm
from engine.sdseg.config import TINY, SDSegConfig, VisionEncoderConfig
from engine.sdseg.foreign import find_sources
from engine.sdseg.network import SDSegNetwork, build_autoencoder, build_unet
from engine.sdseg.starting_weights import PartReport, fill_part

SMALL = Path(__file__).resolve().parents[2] / "data" / "sdseg_small"
UNET, FIRST = "model.diffusion_model.", "first_stage_model."


def small_config() -> SDSegConfig:
    """The published layout at the size of tests/data/sdseg_small."""
    tensors = latent_diffusion()
    parts = [under(prefix, tensors) for prefix in (FIRST, UNET)]
    return SDSegConfig(
        ldm.autoencoder_config(parts[0]), ldm.unet_config(parts[1]), VisionEncoderConfig(), size=64
    )


def latent_diffusion() -> dict[str, Tensor]:
    """An unconditional latent diffusion model: four channels in, no vision encoder."""
    content = torch.load(SMALL / "binary.ckpt", weights_only=True)["state_dict"]
    found = {n: t.float() for n, t in content.items() if not n.startswith("cond_stage_model")}
    for name in (f"{UNET}input_blocks.0.0.weight", ldm.ema_name("input_blocks.0.0.weight")):
        found[name] = found[name][:, :4].contiguous()
    return found


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def fresh(config: SDSegConfig) -> SDSegNetwork:
    torch.manual_seed(5)
    return SDSegNetwork.build(config).eval()


def filled(
    path: Path, tmp_path: Path, config: SDSegConfig = TINY
) -> tuple[SDSegNetwork, list[PartReport]]:
    draft = tmp_path / "draft"
    draft.mkdir(exist_ok=True)
    network = fresh(config)
    return network, [fill_part(network, config, s) for s in find_sources(path, draft)]


def refusal(path: Path, tmp_path: Path, config: SDSegConfig = TINY) -> UserError:
    with pytest.raises(UserError) as caught:
        filled(path, tmp_path, config)
    assert "\n" not in caught.value.message and caught.value.hint
    return caught.value


def tiny_autoencoder(folder: Path, **changes: Any) -> AutoencoderKL:
    torch.manual_seed(1)
    model = build_autoencoder(replace(TINY.autoencoder, **changes), 64)
    model.save_pretrained(folder)
    return model


def tiny_unet(folder: Path, **changes: Any) -> UNet2DModel:
    """The tiny preset's U-Net as diffusers itself makes it, for four channels."""
    torch.manual_seed(2)
    rules: dict[str, Any] = {
        **build_unet(TINY.unet, 4, 8).config, "in_channels": 4, "attention_head_dim": 8, **changes,
    }  # fmt: skip
    rules = {k: v for k, v in rules.items() if not k.startswith("_") and k != "heads"}
    model = UNet2DModel(**rules).eval()
    model.save_pretrained(folder)
    return model


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)
