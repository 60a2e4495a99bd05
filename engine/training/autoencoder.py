"""The compact autoencoder: learns the masks of the training set before everything else."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from engine.errors import Cancelled
from engine.evaluation.metrics import dice
from engine.sdseg.config import DOWN_SAMPLING
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive, place_randomly, warp
from engine.training.gradients import adamw, descend
from engine.training.losses import decoded_logits, mask_loss, mask_picture
from engine.training.options import Augmentation, Optimisation
from engine.training.randomness import Draw, batch_indices, place_generators, step_generator
from engine.training.validation import found_classes

KL_WEIGHT = 1e-6  # as latent diffusion's autoencoders: a hint of regularity, no more
COVERAGE_RANGE = 2.0  # a latent channel is -2 where its class covers nothing of a cell, 2 where all
# Masks in every position and size, whatever the pictures' own augmentation is.
MASK_AUGMENTATION = Augmentation(flips="hv", rotate=180.0, scale=(0.5, 2.0), aspect=0.4, shift=0.25)


def train_autoencoder(
    autoencoder: AutoencoderKL,
    data: SliceDataset,
    options: Optimisation,
    seed: int,
    device: torch.device,
    progress: Callable[[int, float], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> None:
    """Trains encode -> decode of mask pictures; leaves the autoencoder frozen.

    Args:
        autoencoder: fresh weights; changed in place.
        data: only its masks are used.
        options: steps, rate, batch, precision, weight of the coverage term.
        seed: of order, augmentation and posterior.
        device: where the autoencoder is.
        progress: called with (step, loss).
        is_cancelled: asked at each step.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: a gradient became not a number.
    """
    autoencoder.requires_grad_(True).train()
    rate, steps = options.autoencoder_lr, options.autoencoder_steps
    optimiser = adamw(autoencoder.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    for step in range(steps):
        if is_cancelled and is_cancelled():
            raise Cancelled
        generator = step_generator(seed, "autoencoder", step)
        draw = Draw(place_generators(seed, "autoencoder", step, range(options.batch)))
        masks = _crops(data, generator, draw)
        loss = _loss(autoencoder, masks.to(device), generator, options)
        descend(loss, optimiser, "autoencoder", "--autoencoder-lr")
        schedule.step()
        if progress:
            progress(step + 1, loss.item())
    autoencoder.requires_grad_(False).eval()


def _crops(data: SliceDataset, order: torch.Generator, draw: Draw) -> torch.Tensor:
    """Masks [batch, C, S/2, S/2] in {0, 1}: half the side costs a quarter of the time.

    Classes change places at random. A small, rare one (the pancreas beside the liver) is else left
    out for hundreds of steps, since its channel is almost always -1; so it learns from the others.
    """
    pictures, masks = data.batch(batch_indices(len(data), len(draw.generators), order))
    side = masks.shape[-1] // 2
    half = F.interpolate(masks, size=(side, side), mode="area")
    seen = exclusive(warp(half, place_randomly(pictures, masks, MASK_AUGMENTATION, draw)))
    places = draw.order(seen.shape[1])[:, :, None, None]
    return seen.gather(1, places.expand_as(seen))


def _loss(
    autoencoder: AutoencoderKL,
    masks: torch.Tensor,
    generator: torch.Generator,
    options: Optimisation,
) -> torch.Tensor:
    picture = mask_picture(masks)
    autocast = torch.autocast(
        picture.device.type, torch.bfloat16, enabled=options.precision == "bf16"
    )
    with autocast:
        posterior = autoencoder.encode(picture).latent_dist  # type: ignore[union-attr]
        decoded = autoencoder.decode(posterior.sample(generator)).sample.float()  # type: ignore[union-attr]
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1.0 - posterior.logvar).float().mean()
    reconstruction = F.l1_loss(decoded, picture)
    entropy_and_dice = mask_loss(decoded_logits(decoded, masks.shape[1]), masks)
    coverage = coverage_loss(posterior.mean.float(), masks) if options.autoencoder_coverage else 0.0
    return (
        reconstruction + entropy_and_dice + KL_WEIGHT * kl + options.autoencoder_coverage * coverage
    )


def coverage_loss(latent: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """How far the first latent channels are from what each class covers of a cell; mean square.

    A latent that is free tells classes apart by whatever is enough for the decoder: small, rare
    ones lie so close to the background's that what the U-Net estimates falls short of them.
    Squares, since the median of a rare class's coverage is nothing.

    Args:
        latent: [B, 4, h, w], not scaled.
        masks: [B, C, 8 h, 8 w] in {0, 1}, C at most 4.
    """
    covered = F.avg_pool2d(masks, DOWN_SAMPLING) * 2.0 - 1.0
    return F.mse_loss(latent[:, : masks.shape[1]], COVERAGE_RANGE * covered)


@torch.inference_mode()
def ceiling(autoencoder: AutoencoderKL, data: SliceDataset, device: torch.device) -> float:
    """Mean Dice of encode -> decode over slices and the classes they hold: no model passes it."""
    scores: list[float] = []
    for index in range(len(data)):
        masks = exclusive(data.batch(torch.tensor([index]))[1])
        if not masks.any():
            continue
        latent = autoencoder.encode(mask_picture(masks).to(device)).latent_dist.mode()  # type: ignore[union-attr]
        logits = decoded_logits(autoencoder.decode(latent).sample, data.class_count)  # type: ignore[union-attr]
        found = found_classes(logits.sigmoid() if data.class_count == 1 else logits).cpu().numpy()
        for answer, truth in zip(found[0], masks[0].bool().numpy(), strict=True):
            if truth.any():
                scores.append(dice(answer, truth))
    return sum(scores) / max(len(scores), 1)


@torch.inference_mode()
def seen_in_nothing(autoencoder: AutoencoderKL, data: SliceDataset, device: torch.device) -> float:
    """Highest probability, in [0, 1], of any class at any place when an empty mask is decoded.

    `ceiling` doesn't see it where every picture holds a target. Near 0.5 a model marks something
    in pictures without one, however well it is trained.
    """
    empty = torch.zeros_like(data.batch(torch.tensor([0]))[1])
    latent = autoencoder.encode(mask_picture(empty).to(device)).latent_dist.mode()  # type: ignore[union-attr]
    logits = decoded_logits(autoencoder.decode(latent).sample, data.class_count)  # type: ignore[union-attr]
    found = logits.sigmoid() if data.class_count == 1 else logits.softmax(1)[:, 1:]
    return float(found.max())
