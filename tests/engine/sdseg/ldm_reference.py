"""The published network once more, as plain functions on tensors by the authors' names.

Written from the papers (Rombach et al. 2022; Dhariwal and Nichol 2021) and shares nothing with the
program: a second opinion on names, heads, norms and resampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
HEADS = 8


def _conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    padding = weight.shape[-1] // 2 if stride == 1 else 0
    return F.conv2d(x, weight, w[f"{name}.bias"], stride=stride, padding=padding)


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    return F.group_norm(x, 32, w[f"{name}.weight"], w[f"{name}.bias"], eps)


# The U-Net


def _block(w: Weights, name: str, x: Tensor, time: Tensor, resample: str = "") -> Tensor:
    h = F.silu(_norm(w, f"{name}.in_layers.0", x, 1e-5))
    if resample == "up":
        h, x = (F.interpolate(y, scale_factor=2.0, mode="nearest") for y in (h, x))
    if resample == "down":
        h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
    h = _conv(w, f"{name}.in_layers.2", h)
    scale, shift = _linear(w, f"{name}.emb_layers.1", F.silu(time))[:, :, None, None].chunk(2, 1)
    h = _norm(w, f"{name}.out_layers.0", h, 1e-5) * (1.0 + scale) + shift
    h = _conv(w, f"{name}.out_layers.3", F.silu(h))
    if f"{name}.skip_connection.weight" in w:
        x = _conv(w, f"{name}.skip_connection", x)
    return x + h


def _attend(w: Weights, name: str, x: Tensor) -> Tensor:
    if f"{name}.qkv.weight" not in w:
        return x
    batch, channels, height, width = x.shape
    flat = _norm(w, f"{name}.norm", x, 1e-5).flatten(2)
    qkv = F.conv1d(flat, w[f"{name}.qkv.weight"], w[f"{name}.qkv.bias"])
    q, k, v = qkv.reshape(batch, HEADS, 3, channels // HEADS, -1).unbind(2)
    weights = (q.transpose(2, 3) @ k / math.sqrt(channels // HEADS)).softmax(dim=-1)
    h = (v @ weights.transpose(2, 3)).reshape(batch, channels, -1)
    h = F.conv1d(h, w[f"{name}.proj_out.weight"], w[f"{name}.proj_out.bias"])
    return x + h.reshape(batch, channels, height, width)


def _timestep(t: Tensor, size: int) -> Tensor:
    half = size // 2
    rates = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32) / half)
    angles = t.float()[:, None] * rates[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def unet(
    w: Weights, x: Tensor, t: Tensor, levels: int, layers: int, classes: Tensor | None = None
) -> Tensor:
    """The U-Net's output for [B, 8, h, w] at timesteps [B]."""
    time = _timestep(t, w["time_embed.0.weight"].shape[1])
    time = _linear(w, "time_embed.2", F.silu(_linear(w, "time_embed.0", time)))
    if classes is not None:
        time = time + w["label_emb.weight"][classes]
    h = _conv(w, "input_blocks.0.0", x)
    kept = [h]
    for n in range(1, levels * (layers + 1)):
        goes_down = n % (layers + 1) == 0
        h = _block(w, f"input_blocks.{n}.0", h, time, "down" if goes_down else "")
        h = _attend(w, f"input_blocks.{n}.1", h)
        kept.append(h)
    h = _block(w, "middle_block.0", h, time)
    h = _block(w, "middle_block.2", _attend(w, "middle_block.1", h), time)
    for n in range(levels * (layers + 1)):
        h = _block(w, f"output_blocks.{n}.0", torch.cat([h, kept.pop()], dim=1), time)
        h = _attend(w, f"output_blocks.{n}.1", h)
        for k in (1, 2):
            if f"output_blocks.{n}.{k}.in_layers.2.weight" in w:
                h = _block(w, f"output_blocks.{n}.{k}", h, time, "up")
    return _conv(w, "out.2", F.silu(_norm(w, "out.0", h, 1e-5)))


# The autoencoder


def _residual(w: Weights, name: str, x: Tensor) -> Tensor:
    h = _conv(w, f"{name}.conv1", F.silu(_norm(w, f"{name}.norm1", x, 1e-6)))
    h = _conv(w, f"{name}.conv2", F.silu(_norm(w, f"{name}.norm2", h, 1e-6)))
    if f"{name}.nin_shortcut.weight" in w:
        x = _conv(w, f"{name}.nin_shortcut", x)
    return x + h


def _middle(w: Weights, name: str, x: Tensor) -> Tensor:
    x = _residual(w, f"{name}.block_1", x)
    flat = _norm(w, f"{name}.attn_1.norm", x, 1e-6)
    q, k, v = (_conv(w, f"{name}.attn_1.{part}", flat).flatten(2) for part in "qkv")
    weights = (q.transpose(1, 2) @ k / math.sqrt(q.shape[1])).softmax(dim=-1)
    h = (v @ weights.transpose(1, 2)).reshape(x.shape)
    return _residual(w, f"{name}.block_2", x + _conv(w, f"{name}.attn_1.proj_out", h))


def encode(w: Weights, x: Tensor, layers: int) -> Tensor:
    """[B, 3, H, W] to the encoder's [B, 8, H/8, W/8]."""
    h = _conv(w, "encoder.conv_in", x)
    for level in range(4):
        for layer in range(layers):
            h = _residual(w, f"encoder.down.{level}.block.{layer}", h)
        if level < 3:
            name = f"encoder.down.{level}.downsample.conv"
            h = _conv(w, name, F.pad(h, (0, 1, 0, 1)), stride=2)
    h = _middle(w, "encoder.mid", h)
    return _conv(w, "encoder.conv_out", F.silu(_norm(w, "encoder.norm_out", h, 1e-6)))


def decode(w: Weights, z: Tensor, layers: int) -> Tensor:
    """[B, 4, h, w] to a picture [B, 3, 8h, 8w]."""
    h = _middle(w, "decoder.mid", _conv(w, "decoder.conv_in", _conv(w, "post_quant_conv", z)))
    for level in reversed(range(4)):
        for layer in range(layers + 1):
            h = _residual(w, f"decoder.up.{level}.block.{layer}", h)
        if level > 0:
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = _conv(w, f"decoder.up.{level}.upsample.conv", h)
    return _conv(w, "decoder.conv_out", F.silu(_norm(w, "decoder.norm_out", h, 1e-6)))


def posterior(w: Weights, mask: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (clamped to -30..20) of a mask picture's latent."""
    mean, logvar = _conv(w, "quant_conv", encode(w, mask, layers)).chunk(2, dim=1)
    return mean, logvar.clamp(-30.0, 20.0)


def condition(w: Weights, picture: Tensor, layers: int) -> Tensor:
    """The condition latent of pictures."""
    return _conv(w, "out", encode(w, picture.contiguous(), layers))
