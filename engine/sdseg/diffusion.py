"""The one-step maths of SDSeg (MICCAI 2024, section 2): schedule, noising, latent estimate."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.models.schema import Schedule
from engine.sdseg.config import PredictionType


class NoiseSchedule:
    """The forward process q(z_t | z_0) = N(sqrt(abar_t) z_0, (1 - abar_t) I).

    The betas are the squares of a linear ramp ("scaled_linear"); abar is computed in float64
    because abar at T-1 is 6.7e-4 and its inverse root amplifies every rounding 38.7 times.

    Attributes:
        alphas_cumprod: abar_t for t = 0..T-1, float64 on the CPU.
    """

    def __init__(self, schedule: Schedule) -> None:
        root = torch.linspace(
            schedule.beta_start**0.5,
            schedule.beta_end**0.5,
            schedule.train_timesteps,
            dtype=torch.float64,
        )
        self.alphas_cumprod = torch.cumprod(1.0 - root**2, dim=0)

    @property
    def last(self) -> int:
        """T-1, where inference starts and ends."""
        return len(self.alphas_cumprod) - 1

    def _factors(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t), shaped [B, 1, 1, 1] and typed like `like`."""
        abar = self.alphas_cumprod[t.cpu()].view(-1, 1, 1, 1)
        signal = abar.sqrt().to(device=like.device, dtype=like.dtype)
        noise = (1.0 - abar).sqrt().to(device=like.device, dtype=like.dtype)
        return signal, noise

    def add_noise(self, z0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Eq. 1: z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) n; t is int64 [B]."""
        signal, spread = self._factors(t, z0)
        return signal * z0 + spread * noise

    def latent_estimate(
        self, output: Tensor, z_t: Tensor, t: Tensor, kind: PredictionType
    ) -> Tensor:
        """The estimate of z_0 that the network's output stands for (eq. 2 for "epsilon")."""
        if kind == "sample":
            return output
        signal, spread = self._factors(t, z_t)
        if kind == "epsilon":
            return (z_t - spread * output) / signal
        return signal * z_t - spread * output

    def noise_estimate(
        self, output: Tensor, z_t: Tensor, t: Tensor, kind: PredictionType
    ) -> Tensor:
        """The estimate of the noise that the network's output stands for."""
        if kind == "epsilon":
            return output
        signal, spread = self._factors(t, z_t)
        if kind == "sample":
            return (z_t - signal * output) / spread
        return signal * output + spread * z_t
