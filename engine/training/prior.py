"""The U-Net learns what mask latents look like, before it sees a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch

from engine.errors import Cancelled
from engine.sdseg.config import LATENT_CHANNELS
from engine.sdseg.network import SDSegNetwork
from engine.training.augment import augment
from engine.training.dataset import SliceDataset
from engine.training.gradients import adamw, descend
from engine.training.latents import MaskLatents
from engine.training.losses import noise_and_latent_loss
from engine.training.options import Optimisation, TrainOptions
from engine.training.randomness import batch_indices, normal, place_generators, step_generator


def train_prior(
    network: SDSegNetwork,
    data: SliceDataset,
    options: TrainOptions,
    device: torch.device,
    progress: Callable[[int, float], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> None:
    """Trains the U-Net on mask latents alone, as an unconditional latent diffusion model.

    While it does so the condition's channels are zero, which is a U-Net of four channels. In the
    end their part of the first convolution is set to zero: the widening of the authors' code.

    Args:
        network: with a trained autoencoder and its scale factor; the U-Net is changed in place.
        data: only its masks are used.
        options: `prior_steps`, batch, rate, lambda, augmentation and seed; t is uniform.
        device: where the network is.
        progress: called with (step, loss).
        is_cancelled: asked at each step.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: a gradient became not a number.
    """
    rules = options.optimisation
    varied, seed = options.augmentation, options.seed
    kept = MaskLatents(network, data, varied, seed, 0, rules.precision, device)
    unet = network.unet.train()
    optimiser = adamw(unet.parameters(), rules.learning_rate)
    for step in range(rules.prior_steps):
        if is_cancelled and is_cancelled():
            raise Cancelled
        optimiser.param_groups[0]["lr"] = _rate(rules, step)
        loss = _loss(kept, options, step)
        descend(loss, optimiser, "prior", "--base-lr")
        if progress:
            progress(step + 1, loss.item())
    with torch.no_grad():
        unet.conv_in.weight[:, LATENT_CHANNELS:] = 0.0


def _rate(rules: Optimisation, step: int) -> float:
    """The run's own rate, after a warm-up of at most a tenth of the steps."""
    warmup = max(min(rules.warmup, rules.prior_steps // 10), 1)
    return rules.learning_rate * min(1.0, (step + 1) / warmup)


def _loss(kept: MaskLatents, options: TrainOptions, step: int) -> torch.Tensor:
    """Eq. 3 of one batch of mask latents without a condition."""
    network, data, device = kept.network, kept.data, kept.device
    rules = options.optimisation
    order = step_generator(options.seed, "prior", step)
    draws = place_generators(options.seed, "prior", step, range(rules.batch))
    pictures, masks = data.batch(batch_indices(len(data), rules.batch, order))
    masks = augment(pictures, masks, options.augmentation, draws)[1]
    side = data.size // 8
    z0 = kept.sample(masks, None, normal((LATENT_CHANNELS, side, side), draws))
    noise = normal((LATENT_CHANNELS, side, side), draws).to(device)
    t = torch.randint(network.schedule.last + 1, (rules.batch,), generator=order).to(device)
    z_t = network.schedule.add_noise(z0, noise, t)
    channels = network.unet.config["in_channels"] - LATENT_CHANNELS
    nothing = torch.zeros((rules.batch, channels, side, side), device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=rules.precision == "bf16"):
        output = network.predict(z_t, t, nothing)
    noise_l1, latent_l1 = noise_and_latent_loss(network, output.float(), z0, z_t, noise, t)
    return noise_l1 + options.objective.latent_lambda * latent_l1
