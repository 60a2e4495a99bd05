"""The loss of the paper (eq. 3) and the mask term of the compact presets."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from engine.models.schema import CHANNELS
from engine.sdseg.network import SDSegNetwork, class_maps
from engine.training.geometry import likeliest

# The decoder answers about -1 and 1; this makes of it logits of about 2 % and 98 %.
LOGIT_SCALE = 4.0


def mask_picture(masks: Tensor) -> Tensor:
    """Masks [B, C, H, W] in {0, 1} as the autoencoder's picture: [B, 3, H, W] in {-1, 1}.

    One class fills all three channels; of two or three each has its own, and what is left is -1.
    """
    if masks.shape[1] == 1:
        return (masks * 2.0 - 1.0).expand(-1, CHANNELS, -1, -1)
    missing = CHANNELS - masks.shape[1]
    return F.pad(masks, (0, 0, 0, 0, 0, missing)) * 2.0 - 1.0


def noise_and_latent_loss(
    network: SDSegNetwork, output: Tensor, z0: Tensor, z_t: Tensor, noise: Tensor, t: Tensor
) -> tuple[Tensor, Tensor]:
    """The two L1 terms of eq. 3, each a mean over the batch.

    Args:
        network: gives schedule and prediction type.
        output: the U-Net's raw output, [B, 4, h, w].
        z0, z_t, noise: true latent, noisy latent and noise, [B, 4, h, w].
        t: timesteps, int64 [B].
    """
    kind, schedule = network.prediction_type, network.schedule
    noise_loss = F.l1_loss(schedule.noise_estimate(output, z_t, t, kind), noise)
    latent_loss = F.l1_loss(schedule.latent_estimate(output, z_t, t, kind), z0)
    return noise_loss, latent_loss


def dice_loss(probability: Tensor, masks: Tensor) -> Tensor:
    """1 - soft Dice of the classes that a picture holds, a mean over the batch; [B, C, H, W] each.

    Where a class is absent, the probabilities of a clean answer add up to dozens of pixels, so its
    Dice stays near 0 whatever is answered; cross-entropy speaks for those. 0 if all are absent.
    """
    size = masks.sum(dim=(2, 3))
    both = (probability * masks).sum(dim=(2, 3))
    loss = 1.0 - (2.0 * both + 1.0) / (probability.sum(dim=(2, 3)) + size + 1.0)
    held = (size > 0).to(loss.dtype)
    return ((loss * held).sum(dim=1) / held.sum(dim=1).clamp(min=1.0)).mean()


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy + Dice of mask logits against masks [B, C, H, W] in {0, 1}.

    Args:
        logits: [B, 1, H, W] for one class; else [B, C + 1, H, W], the background's first.
        masks: at most one class a pixel.
    """
    if masks.shape[1] == 1:
        entropy = F.binary_cross_entropy_with_logits(logits, masks)
        return entropy + dice_loss(logits.sigmoid(), masks)
    entropy = F.cross_entropy(logits, likeliest(masks))
    return entropy + dice_loss(logits.softmax(dim=1)[:, 1:], masks)


def decoded_logits(picture: Tensor, classes: int) -> Tensor:
    """A decoded mask picture [B, 3, H, W] as the logits that `mask_loss` takes."""
    if classes == 1:
        return picture.float().mean(dim=1, keepdim=True) * LOGIT_SCALE
    return class_maps(picture.float(), classes) * LOGIT_SCALE
