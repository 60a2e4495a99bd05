"""Mask latents that training asks for again and again, kept as mean and log-variance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.sdseg.network import SDSegNetwork
from engine.training.dataset import SliceDataset
from engine.training.geometry import exclusive, place_randomly, warp
from engine.training.losses import mask_picture
from engine.training.options import Augmentation
from engine.training.randomness import Draw, step_generator

Posterior = tuple[Tensor, Tensor]


class MaskLatents:
    """Latents of masks, sampled from their posterior at each step.

    With `variants` each picture has so many fixed positions, whose posteriors are kept once they
    were asked for. They are computed one by one, so that none depends on its neighbours.

    Attributes:
        variants: positions a picture; 0 means that nothing is kept.
    """

    def __init__(
        self,
        network: SDSegNetwork,
        data: SliceDataset,
        rules: Augmentation,
        seed: int,
        variants: int,
        precision: str,
        device: torch.device,
    ) -> None:
        self.network, self.data, self.rules = network, data, rules
        self.seed, self.variants, self.precision, self.device = seed, variants, precision, device
        self._kept: dict[tuple[int, int], Posterior] = {}
        self._matrices: dict[tuple[int, int], Tensor] = {}

    def choose(
        self, indices: Tensor, generators: Sequence[torch.Generator]
    ) -> tuple[list[tuple[int, int]] | None, Tensor | None]:
        """Which variant of each picture a step sees, and its matrices [B, 2, 3].

        (None, None) where every step has positions of its own.
        """
        if not self.variants:
            return None, None
        keys = [
            (int(index), int(torch.randint(self.variants, (1,), generator=g)))
            for index, g in zip(indices, generators, strict=True)
        ]
        return keys, torch.stack([self._matrix(key) for key in keys])

    def _matrix(self, key: tuple[int, int]) -> Tensor:
        if key not in self._matrices:
            index, variant = key
            draw = Draw([step_generator(self.seed, "variant", variant, index)])
            picture, mask = self.data.batch(torch.tensor([index]))
            self._matrices[key] = place_randomly(picture, mask, self.rules, draw)[0]
        return self._matrices[key]

    def sample(self, masks: Tensor, keys: list[tuple[int, int]] | None, noise: Tensor) -> Tensor:
        """Scaled latents of masks.

        Args:
            masks: [B, C, S, S] in {0, 1}, as `keys` show them.
            keys: from `choose`.
            noise: standard normal, [B, 4, h, w].

        Returns:
            fp32 [B, 4, h, w] on the training device.
        """
        if keys is None:
            mean, logvar = self._posterior(masks)
        else:
            found = [self._of(key) for key in keys]
            mean = torch.stack([m for m, _ in found]).to(self.device)
            logvar = torch.stack([v for _, v in found]).to(self.device)
        return (mean + torch.exp(0.5 * logvar) * noise.to(self.device)) * self.network.scale_factor

    def _of(self, key: tuple[int, int]) -> Posterior:
        if key not in self._kept:
            _, mask = self.data.batch(torch.tensor([key[0]]))
            seen = exclusive(warp(mask, self._matrix(key)[None]))
            mean, logvar = self._posterior(seen)
            self._kept[key] = mean[0].cpu(), logvar[0].cpu()
        return self._kept[key]

    @torch.no_grad()
    def _posterior(self, masks: Tensor) -> Posterior:
        """Mean and log-variance, fp32 [B, 4, h, w]."""
        picture = mask_picture(masks.to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            posterior = self.network.autoencoder.encode(picture).latent_dist  # type: ignore[union-attr]
        return posterior.mean.float(), posterior.logvar.float()
