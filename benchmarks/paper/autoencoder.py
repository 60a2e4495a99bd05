"""One small autoencoder a data set for pictures and masks, as Stable Diffusion's serves for both.

The product's compact autoencoder learns masks alone. Table 6 freezes the vision encoder, which
starts from the autoencoder's; one that has never seen a picture would say nothing about the
paper's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from engine.errors import Cancelled
from engine.sdseg.config import AutoencoderConfig
from engine.sdseg.network import build_autoencoder
from engine.system.atomic import draft_beside, publish_folder
from engine.training.autoencoder import KL_WEIGHT, MASK_AUGMENTATION
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive, place_randomly, warp
from engine.training.gradients import adamw, descend
from engine.training.losses import decoded_logits, mask_loss, mask_picture
from engine.training.options import Augmentation
from engine.training.randomness import Draw, batch_indices, place_generators, step_generator

RATE = 2e-3
BATCH = 4  # pictures, and as many masks
# Views of half the side: from the whole picture at half its sharpness to a third of it, enlarged.
PICTURE_VIEWS = Augmentation(flips="hv", rotate=180.0, scale=(1.0, 3.0), shift=0.2)
Say = Callable[[str], None]


def make_autoencoder(
    folder: Path,
    config: AutoencoderConfig,
    data: SliceDataset,
    steps: int,
    say: Say,
    is_cancelled: Callable[[], bool],
) -> float | None:
    """Trains an autoencoder and writes it as a diffusers folder; one that is there stays.

    Args:
        folder: to write.
        config: its sizes.
        data: pictures and masks of train.txt.
        steps: of training.
        say: told the losses.
        is_cancelled: asked at each step; a stopped training starts anew.

    Returns:
        Minutes of processor time, or None if it was there.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: a gradient became not a number.
    """
    if folder.is_dir():
        return None
    started = time.process_time()
    torch.manual_seed(0)
    autoencoder = build_autoencoder(config, data.size).train()
    _train(autoencoder, data, steps, say, is_cancelled)
    _write(autoencoder, folder)
    return (time.process_time() - started) / 60.0


def _train(
    autoencoder: AutoencoderKL,
    data: SliceDataset,
    steps: int,
    say: Say,
    is_cancelled: Callable[[], bool],
) -> None:
    optimiser = adamw(autoencoder.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    for step in range(steps):
        if is_cancelled():
            raise Cancelled
        loss = _loss(autoencoder, *_views(data, step), step)
        descend(loss, optimiser, "autoencoder", "benchmarks.paper.autoencoder.RATE")
        schedule.step()
        if (step + 1) % 100 == 0:
            say(f"  autoencoder {step + 1}/{steps}: loss {loss.item():.3f}")


def _write(autoencoder: AutoencoderKL, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with draft_beside(folder) as draft:
        autoencoder.save_pretrained(draft)
        publish_folder(draft, folder)


def _views(data: SliceDataset, step: int) -> tuple[Tensor, Tensor]:
    """Views of pictures [B, 3, S/2, S/2] in [-1, 1] and of masks [B, 1, S/2, S/2] in {0, 1}."""
    order = step_generator(0, "picture autoencoder", step)
    draw = Draw(place_generators(0, "picture autoencoder", step, range(BATCH)))
    pictures, masks = data.batch(batch_indices(len(data), BATCH, order))
    side = data.size // 2
    where = place_randomly(pictures, masks, PICTURE_VIEWS, draw)
    seen = warp(pictures + 1.0, where, side) - 1.0
    half = F.interpolate(masks, size=(side, side), mode="area")
    return seen, exclusive(warp(half, place_randomly(pictures, masks, MASK_AUGMENTATION, draw)))


def _loss(autoencoder: AutoencoderKL, pictures: Tensor, masks: Tensor, step: int) -> Tensor:
    both = torch.cat([pictures, mask_picture(masks)])
    posterior = autoencoder.encode(both).latent_dist  # type: ignore[union-attr]
    sampled = posterior.sample(step_generator(0, "picture posterior", step))
    decoded = autoencoder.decode(sampled).sample  # type: ignore[union-attr]
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1.0 - posterior.logvar).mean()
    of_masks = mask_loss(decoded_logits(decoded[len(pictures) :], 1), masks)
    return 2.0 * F.l1_loss(decoded, both) + of_masks + KL_WEIGHT * kl


@torch.inference_mode()
def picture_psnr(autoencoder: AutoencoderKL, data: SliceDataset) -> float:
    """Mean PSNR in dB of encode -> decode of pictures whose values span 2."""
    found: list[float] = []
    for index in range(len(data)):
        picture = data.batch(torch.tensor([index]))[0]
        latent = autoencoder.encode(picture).latent_dist.mode()  # type: ignore[union-attr]
        decoded = autoencoder.decode(latent).sample.clamp(-1.0, 1.0)  # type: ignore[union-attr]
        found.append(float(10.0 * torch.log10(4.0 / (decoded - picture).square().mean())))
    return sum(found) / len(found)
