"""Makes the small reference beside this file: random weights, and what the network makes of them.

    python -m tests.data.sdseg_small.make

The layout is that of the authors' checkpoints, the answers come from `ldm_reference.py`, which
shares nothing with the program. Half-precision weights keep the files small.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.engine.sdseg import ldm_reference as reference

HERE = Path(__file__).parent
SIZE, WIDTH, LAYERS, LEVELS = 64, 32, 1, 2
Shapes = dict[str, tuple[int, ...]]


def _conv(shapes: Shapes, name: str, out: int, into: int, kernel: tuple[int, ...] = (3, 3)) -> None:
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into, *kernel), (out,)


def _norm(shapes: Shapes, name: str, width: int) -> None:
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)


def _unet_block(shapes: Shapes, name: str, into: int = WIDTH) -> None:
    _norm(shapes, f"{name}.in_layers.0", into)
    _conv(shapes, f"{name}.in_layers.2", WIDTH, into)
    _conv(shapes, f"{name}.emb_layers.1", 2 * WIDTH, 4 * WIDTH, ())
    _norm(shapes, f"{name}.out_layers.0", WIDTH)
    _conv(shapes, f"{name}.out_layers.3", WIDTH, WIDTH)
    if into != WIDTH:
        _conv(shapes, f"{name}.skip_connection", WIDTH, into, (1, 1))


def _unet_attention(shapes: Shapes, name: str) -> None:
    _norm(shapes, f"{name}.norm", WIDTH)
    _conv(shapes, f"{name}.qkv", 3 * WIDTH, WIDTH, (1,))
    _conv(shapes, f"{name}.proj_out", WIDTH, WIDTH, (1,))


def unet_shapes(classes: int | None) -> Shapes:
    """Two levels, one residual block each, attention on the finer one."""
    shapes: Shapes = {}
    _conv(shapes, "time_embed.0", 4 * WIDTH, WIDTH, ())
    _conv(shapes, "time_embed.2", 4 * WIDTH, 4 * WIDTH, ())
    if classes:
        shapes["label_emb.weight"] = (classes, 4 * WIDTH)
    _conv(shapes, "input_blocks.0.0", WIDTH, 8)
    for n in (1, 2, 3):
        _unet_block(shapes, f"input_blocks.{n}.0")
    for name in ("input_blocks.1.1", "middle_block.1", "output_blocks.2.1", "output_blocks.3.1"):
        _unet_attention(shapes, name)
    for n in (0, 2):
        _unet_block(shapes, f"middle_block.{n}")
    for n in range(LEVELS * (LAYERS + 1)):
        _unet_block(shapes, f"output_blocks.{n}.0", 2 * WIDTH)
    _unet_block(shapes, "output_blocks.1.1")
    _norm(shapes, "out.0", WIDTH)
    _conv(shapes, "out.2", 4, WIDTH)
    return shapes


def _half(shapes: Shapes, name: str, into: int, out: int) -> None:
    """Encoder or decoder."""
    blocks = [f"mid.block_{n}" for n in (1, 2)]
    way, step = ("down", "downsample") if name == "encoder" else ("up", "upsample")
    for level in range(4):
        blocks += [f"{way}.{level}.block.{n}" for n in range(LAYERS + (way == "up"))]
    for block in blocks:
        for n in (1, 2):
            _norm(shapes, f"{name}.{block}.norm{n}", WIDTH)
            _conv(shapes, f"{name}.{block}.conv{n}", WIDTH, WIDTH)
    for level in (0, 1, 2) if way == "down" else (1, 2, 3):
        _conv(shapes, f"{name}.{way}.{level}.{step}.conv", WIDTH, WIDTH)
    _norm(shapes, f"{name}.mid.attn_1.norm", WIDTH)
    for part in ("q", "k", "v", "proj_out"):
        _conv(shapes, f"{name}.mid.attn_1.{part}", WIDTH, WIDTH, (1, 1))
    _conv(shapes, f"{name}.conv_in", WIDTH, into)
    _norm(shapes, f"{name}.norm_out", WIDTH)
    _conv(shapes, f"{name}.conv_out", out, WIDTH)


def autoencoder_shapes() -> Shapes:
    shapes: Shapes = {}
    _half(shapes, "encoder", 3, 8)
    _half(shapes, "decoder", 4, 3)
    _conv(shapes, "quant_conv", 8, 8, (1, 1))
    _conv(shapes, "post_quant_conv", 4, 4, (1, 1))
    return shapes


def vision_shapes() -> Shapes:
    shapes: Shapes = {}
    _half(shapes, "encoder", 3, 8)
    _conv(shapes, "out", 4, 8, (1, 1))
    return shapes


def _draw(shapes: Shapes, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights whose activations neither die nor explode."""
    drawn: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_norm = len(shape) == 1 and name.endswith(".weight")
        fan = float(np.prod(shape[1:])) if len(shape) > 1 else 100.0
        drawn[name] = (1.0 + 0.1 * noise if is_norm else noise / fan**0.5).half()
    return drawn


def _ema_name(name: str) -> str:
    return "model_ema.diffusion_model" + name.replace(".", "")


def make(name: str, classes: int | None, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = _draw(unet_shapes(classes), generator)
    averaged = {n: (0.9 * t.float()).half() for n, t in raw.items()}
    parts = {
        "model.diffusion_model.": raw,
        "first_stage_model.": _draw(autoencoder_shapes(), generator),
        "cond_stage_model.": _draw(vision_shapes(), generator),
    }
    scale = torch.tensor(0.2)
    state = {prefix + n: t for prefix, part in parts.items() for n, t in part.items()}
    state |= {_ema_name(n): t for n, t in averaged.items()} | {"scale_factor": scale}
    torch.save({"epoch": 0, "global_step": 7, "state_dict": state}, HERE / f"{name}.ckpt")
    facts = {"num_classes": classes or 2, "scale_factor": float(scale), "size": SIZE}
    (HERE / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    with torch.inference_mode():
        answers = _answers(parts, averaged, classes, scale, generator)
    np.savez_compressed(HERE / f"{name}.npz", **{k: v.numpy() for k, v in answers.items()})


def _abar(t: Tensor) -> Tensor:
    root = torch.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=torch.float64)
    return torch.cumprod(1.0 - root**2, dim=0)[t].view(-1, 1, 1, 1)


def _answers(
    parts: dict[str, dict[str, Tensor]],
    averaged: dict[str, Tensor],
    classes: int | None,
    scale: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    raw, autoencoder, vision, ema = (
        {n: t.float() for n, t in part.items()} for part in (*parts.values(), averaged)
    )
    image = (torch.rand((1, 3, SIZE, SIZE), generator=generator) * 2.0 - 1.0).half().float()
    noise = torch.randn((1, 4, SIZE // 8, SIZE // 8), generator=generator)
    condition = reference.condition(vision, image, LAYERS)
    count = classes or 1
    ids = torch.arange(count) if classes else None
    found = {
        "image": image.permute(0, 2, 3, 1).contiguous(), "noise": noise,
        "t": torch.tensor(999), "cond_latent": condition,
    }  # fmt: skip
    start = torch.cat([noise, condition], dim=1).expand(count, -1, -1, -1)
    last = torch.full((count,), 999)
    abar = _abar(torch.tensor([999]))
    for ending, weights in (("", ema), ("_raw", raw)):
        eps = reference.unet(weights, start, last, LEVELS, LAYERS, ids)
        z0 = ((noise - (1 - abar).sqrt() * eps) / abar.sqrt()).float()
        found |= {f"eps{ending}": eps, f"z0{ending}": z0}
    decoded = reference.decode(autoencoder, found["z0"] / scale, LAYERS)
    if classes is None:
        probability = ((decoded + 1.0) / 2.0).clamp(0.0, 1.0).mean(dim=1)[0]
        found |= {"decoded": decoded, "prob": probability, "mask": (probability > 0.5).byte()}
    else:
        scores = decoded.mean(dim=1)
        scores[0] *= -1.0
        found |= {"class_logits": scores, "labels": scores.argmax(dim=0).byte()}
    return found | _training(raw, autoencoder, vision, classes, scale, generator)


def _training(
    raw: dict[str, Tensor],
    autoencoder: dict[str, Tensor],
    vision: dict[str, Tensor],
    classes: int | None,
    scale: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    image = (torch.rand((2, 3, SIZE, SIZE), generator=generator) * 2.0 - 1.0).half().float()
    mask = torch.where(torch.randn((2, SIZE, SIZE), generator=generator) > 0.5, 1.0, -1.0)
    shape = (2, 4, SIZE // 8, SIZE // 8)
    drawn, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    t = torch.tensor([333, 999])
    ids = torch.tensor([0, 2]) if classes else torch.tensor([-1, -1])
    mean, logvar = reference.posterior(autoencoder, mask[:, None].repeat(1, 3, 1, 1), LAYERS)
    z = scale * (mean + (logvar / 2.0).exp() * drawn)
    abar = _abar(t)
    noisy = (abar.sqrt() * z + (1 - abar).sqrt() * noise).float()
    condition = reference.condition(vision, image, LAYERS)
    both = torch.cat([noisy, condition], dim=1)
    out = reference.unet(raw, both, t, LEVELS, LAYERS, ids if classes else None)
    z0 = (noisy - (1 - abar).sqrt() * out) / abar.sqrt()
    loss_noise = (out - noise).double().abs().mean()
    loss_latent = (z0 - z).double().abs().mean()
    return {
        "train_image": image.permute(0, 2, 3, 1).contiguous(), "train_mask": mask.char(),
        "train_t": t, "train_class_id": ids, "train_posterior_mean": mean,
        "train_posterior_logvar": logvar, "train_posterior_noise": drawn, "train_z": z,
        "train_noise": noise, "train_x_noisy": noisy, "train_cond_latent": condition,
        "train_model_out": out, "loss_noise": loss_noise, "loss_latent": loss_latent,
        "loss_total": loss_noise + loss_latent,
    }  # fmt: skip


if __name__ == "__main__":
    make("binary", None, 1)
    make("multi3", 3, 2)
