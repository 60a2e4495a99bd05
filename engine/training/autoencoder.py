"""The compact autoencoder: learns the masks of the training set before everything else."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from engine.errors import Cancelled
from engine.evaluation.metrics import dice
from engine.training.augment import augment
from engine.training.dataset import SliceDataset
from engine.training.losses import decoded_logits, mask_loss, mask_picture
from engine.training.options import Augmentation, Optimisation
from engine.training.randomness import batch_indices, step_generator

KL_WEIGHT = 1e-6  # as latent diffusion's autoencoders: a hint of regularity, no more
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
        options: steps, rate, batch, precision.
        seed: of order, augmentation and posterior.
        device: where the autoencoder is.
        progress: called with (step, loss).
        is_cancelled: asked at each step.

    Raises:
        Cancelled: `is_cancelled` said so.
    """
    autoencoder.requires_grad_(True).train()
    rate, steps = options.autoencoder_lr, options.autoencoder_steps
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=rate, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        if is_cancelled and is_cancelled():
            raise Cancelled
        generator = step_generator(seed, "autoencoder", step)
        masks = _crops(data, options.batch, generator)
        loss = _loss(autoencoder, masks.to(device), generator, options)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0, error_if_nonfinite=True)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, loss.item())
    autoencoder.requires_grad_(False).eval()


def _crops(data: SliceDataset, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Masks [batch, 1, S/2, S/2] in {0, 1}: half the side costs a quarter of the time."""
    _, masks = data.batch(batch_indices(len(data), batch, generator))
    side = masks.shape[-1] // 2
    half = F.interpolate(masks, size=(side, side), mode="area")
    return augment(half.expand(-1, 3, -1, -1), half, MASK_AUGMENTATION, generator)[1]


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
    return reconstruction + mask_loss(decoded_logits(decoded), masks) + KL_WEIGHT * kl


@torch.inference_mode()
def ceiling(autoencoder: AutoencoderKL, data: SliceDataset, device: torch.device) -> float:
    """Mean Dice of encode -> decode over the slices that hold the target: no model passes it."""
    scores: list[float] = []
    for index in range(len(data)):
        masks = (data.masks[index : index + 1].float()[:, None] / 255.0 > 0.5).float()
        if not masks.any():
            continue
        latent = autoencoder.encode(mask_picture(masks).to(device)).latent_dist.mode()  # type: ignore[union-attr]
        decoded = autoencoder.decode(latent).sample.mean(dim=1, keepdim=True) > 0  # type: ignore[union-attr]
        scores.append(dice(decoded.cpu().numpy(), masks.bool().numpy()))
    return sum(scores) / max(len(scores), 1)
