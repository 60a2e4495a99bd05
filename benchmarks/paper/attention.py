"""Table 6's first line: a U-Net that sees the condition latent by cross-attention.

Not part of the product: SDSeg concatenates (section 2.2). The paper does not describe its baseline
further. Here the cells of the condition latent are the context tokens, flattened row by row and
without positions, as latent diffusion does with spatial conditions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from engine.sdseg.config import LATENT_CHANNELS, SDSegConfig, UNetConfig
from engine.sdseg.network import SDSegNetwork
from engine.training.start import Start


class CrossAttentionUNet(nn.Module):
    """Takes what SDSeg's U-Net takes: noisy mask latent ++ condition latent.

    Attributes:
        config: what the engine asks of a U-Net's configuration.
        inner: Stable Diffusion's kind of U-Net, at SDSeg's widths.
    """

    def __init__(self, config: UNetConfig, condition_channels: int, latent_size: int) -> None:
        super().__init__()
        levels = len(config.block_out_channels)
        down = ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",)
        up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1)
        self.config = {
            "in_channels": LATENT_CHANNELS + condition_channels,
            "num_class_embeds": None,
        }
        self.inner = UNet2DConditionModel(
            sample_size=latent_size,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            down_block_types=down,
            up_block_types=up,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            dropout=config.dropout,
            # diffusers takes this argument for the number of heads, whatever it is called.
            attention_head_dim=config.heads,
            cross_attention_dim=condition_channels,
        )

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor | None = None) -> Any:
        """The raw output, as `.sample` [B, 4, h, w].

        Args:
            sample: [B, 4 + condition channels, h, w].
            timestep: int64 [B].
            class_labels: None; there is one target.
        """
        del class_labels
        condition = sample[:, LATENT_CHANNELS:]
        tokens = condition.flatten(2).transpose(1, 2)
        return self.inner(sample[:, :LATENT_CHANNELS], timestep, encoder_hidden_states=tokens)


def with_cross_attention(start: Start, config: SDSegConfig, seed: int) -> Start:
    """The same start with a fresh U-Net that attends to the condition."""
    torch.manual_seed(seed)
    old, channels = start.network, config.vision_encoder.condition_channels
    unet: Any = CrossAttentionUNet(config.unet, channels, config.size // 8)
    network = SDSegNetwork(config, old.autoencoder, unet, old.vision_encoder, old.scale_factor)
    return replace(start, network=network)
