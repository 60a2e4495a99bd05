"""Frozen configurations of the network and the named presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from engine.models.schema import Schedule

PredictionType = Literal["epsilon", "sample", "v_prediction"]
LATENT_CHANNELS = 4
DOWN_SAMPLING = 8


@dataclass(frozen=True)
class AutoencoderConfig:
    """The KL autoencoder of masks, f = 8 (four levels), 4 latent channels."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32


@dataclass(frozen=True)
class UNetConfig:
    """The denoising U-Net on latents.

    Attributes:
        block_out_channels: width a level.
        attention: True for each level whose blocks attend.
        heads: attention heads, the same at every level.
        resnet_sampling: down- and up-sampling by residual blocks, with scale-shift time embedding,
            as published; plain convolutions otherwise.
        class_count: number of embedded classes, or None without class embedding.
    """

    block_out_channels: tuple[int, ...] = (192, 384, 384, 768, 768)
    attention: tuple[bool, ...] = (True, True, True, True, False)
    layers_per_block: int = 2
    heads: int = 8
    dropout: float = 0.2
    norm_num_groups: int = 32
    resnet_sampling: bool = True
    class_count: int | None = None


@dataclass(frozen=True)
class VisionEncoderConfig:
    """What makes the condition latent.

    Attributes:
        kind: "published" (the autoencoder's encoder and a 1x1 convolution) or "trunk".
        condition_channels: channels of the condition latent.
        dropout: of the published encoder's residual blocks.
        pyramid_channels: width of the trunk's feature pyramid.
    """

    kind: Literal["published", "trunk"] = "published"
    condition_channels: int = LATENT_CHANNELS
    dropout: float = 0.2
    pyramid_channels: int = 64


@dataclass(frozen=True)
class SDSegConfig:
    """Everything that fixes the network's architecture; the defaults are the preset `paper`.

    Attributes:
        autoencoder, unet, vision_encoder: the three parts.
        schedule: of the noise.
        prediction_type: what the U-Net predicts.
        size: side of the picture in pixels.
        channel_classes: classes that the channels of a mask picture hold, 2 or 3; 1 means that all
            three channels are equal.
    """

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    vision_encoder: VisionEncoderConfig = field(default_factory=VisionEncoderConfig)
    schedule: Schedule = field(default_factory=Schedule)
    prediction_type: PredictionType = "epsilon"
    size: int = 256
    channel_classes: int = 1


PAPER = SDSegConfig()

# Laptop size; every departure from the paper is named in docs/adr/0006-compact-presets.md.
COMPACT = SDSegConfig(
    autoencoder=AutoencoderConfig((8, 16, 32, 64), layers_per_block=1, norm_num_groups=4),
    unet=UNetConfig(
        (56, 112, 112),
        attention=(False, False, False),
        heads=4,
        dropout=0.0,
        norm_num_groups=8,
        resnet_sampling=False,
    ),
    vision_encoder=VisionEncoderConfig("trunk", condition_channels=16, dropout=0.0),
    prediction_type="sample",
)

# The compact network with the published kind of vision encoder and without a trunk: a baseline.
COMPACT_PUBLISHED = replace(
    COMPACT, vision_encoder=VisionEncoderConfig("published", condition_channels=4, dropout=0.0)
)

# A few thousand parameters: for tests of everything around the network.
TINY = SDSegConfig(
    autoencoder=AutoencoderConfig((4, 4, 8, 8), layers_per_block=1, norm_num_groups=2),
    unet=UNetConfig(
        (8, 16), (False, True), 1, heads=2, dropout=0.0, norm_num_groups=4, resnet_sampling=False
    ),
    vision_encoder=VisionEncoderConfig("published", dropout=0.0),
    prediction_type="sample",
    size=64,
)

PRESETS = {
    "paper": PAPER,
    "compact": COMPACT,
    "compact-published": COMPACT_PUBLISHED,
    "tiny": TINY,
}
