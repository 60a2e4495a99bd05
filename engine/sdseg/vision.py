"""The two kinds of vision encoder: both turn a picture into a condition latent at 1/8 size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import Encoder
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from engine.sdseg.trunk import TAPS, EfficientNetLite0


class PublishedVisionEncoder(ModelMixin, ConfigMixin):
    """The autoencoder's encoder and a 1x1 convolution 2Z -> Z (tables 7-9 of the paper)."""

    @register_to_config
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        condition_channels: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            in_channels=3,
            out_channels=condition_channels,
            down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            double_z=True,
        )
        self.out = nn.Conv2d(2 * condition_channels, condition_channels, 1)
        # diffusers' Encoder has no argument for dropout; the authors train with it.
        for module in self.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to [B, condition_channels, H/8, W/8]."""
        return self.out(self.encoder(picture))


class TrunkVisionEncoder(ModelMixin, ConfigMixin):
    """A pre-trained EfficientNet-Lite0 and a small feature pyramid down to 1/8 size.

    The coarse levels come top-down; the two fine ones are folded in by space-to-depth, so that
    edges finer than one latent cell reach the condition latent.
    """

    @register_to_config
    def __init__(self, condition_channels: int = 16, pyramid_channels: int = 64) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        self.laterals = nn.ModuleList()
        for channels, stride in TAPS.values():
            folded = channels * max(8 // stride, 1) ** 2
            self.laterals.append(
                nn.Sequential(
                    nn.Conv2d(folded, pyramid_channels, 1, bias=False),
                    nn.GroupNorm(8, pyramid_channels),
                )
            )
        self.merge = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(pyramid_channels, pyramid_channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, pyramid_channels),
            nn.SiLU(),
            nn.Conv2d(pyramid_channels, pyramid_channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, pyramid_channels),
            nn.SiLU(),
        )
        self.out = nn.Conv2d(pyramid_channels, condition_channels, 1)

    def features(self, picture: Tensor) -> list[Tensor]:
        """The trunk's taps, finest first.

        On a CPU the trunk stays in fp32, channels last, also under autocast: its depthwise
        convolutions are faster so. What follows is made contiguous again, since torch's CPU
        GroupNorm is inexact in channels last.
        """
        picture = picture.contiguous(memory_format=torch.channels_last)
        if picture.device.type != "cpu":
            return [x.contiguous() for x in self.trunk(picture)]
        with torch.autocast("cpu", enabled=False):
            return [x.contiguous() for x in self.trunk(picture.float())]

    def pyramid(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to the merged features [B, pyramid_channels, H/8, W/8]."""
        features = self.features(picture)
        folded = [
            F.pixel_unshuffle(feature, 8 // stride) if stride < 8 else feature
            for feature, (_, stride) in zip(features, TAPS.values(), strict=True)
        ]
        levels = [lateral(x) for lateral, x in zip(self.laterals, folded, strict=True)]
        merged = levels[-1]
        for level in reversed(levels[:-1]):
            if merged.shape[-1] != level.shape[-1]:
                merged = F.interpolate(merged, scale_factor=2.0, mode="bilinear")
            merged = merged + level
        return self.merge(merged)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to [B, condition_channels, H/8, W/8]."""
        return self.out(self.pyramid(picture))


VisionEncoder = PublishedVisionEncoder | TrunkVisionEncoder
