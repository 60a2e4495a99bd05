"""The SDSeg network: autoencoder of masks, vision encoder, denoising U-Net.

Source: "Stable Diffusion Segmentation for Biomedical Images with Single-step Reverse Process"
(MICCAI 2024) and the authors' code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from engine.sdseg.config import (
    LATENT_CHANNELS,
    AutoencoderConfig,
    PredictionType,
    SDSegConfig,
    UNetConfig,
    VisionEncoderConfig,
)
from engine.sdseg.diffusion import NoiseSchedule
from engine.sdseg.vision import PublishedVisionEncoder, TrunkVisionEncoder, VisionEncoder


class SDSegUNet(UNet2DModel):
    """A UNet2DModel with the same number of attention heads at every level.

    The configuration of UNet2DModel fixes the width of a head instead, which cannot say "8 heads"
    for levels of several widths; so every attention is set after construction, also when the
    model is built from its stored configuration.
    """

    def __init__(self, *args: Any, heads: int = 8, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_to_config(heads=heads)  # so that config.json carries it
        for module in self.modules():
            if isinstance(module, Attention):
                module.heads = heads
                module.scale = (module.inner_dim // heads) ** -0.5

    @classmethod
    def from_config(  # type: ignore[override]
        cls, config: Any = None, **kwargs: Any
    ) -> SDSegUNet:
        """Builds it from its stored configuration; diffusers alone would drop the heads."""
        del kwargs  # diffusers passes loading options here, none of which concern the shape
        return cls(**{k: v for k, v in dict(config).items() if not k.startswith("_")})


def build_autoencoder(config: AutoencoderConfig, size: int) -> AutoencoderKL:
    """The KL autoencoder (f = 8)."""
    levels = len(config.block_out_channels)
    shape: Any = config.block_out_channels  # diffusers declares tuples of length one
    down: Any = ("DownEncoderBlock2D",) * levels
    up: Any = ("UpDecoderBlock2D",) * levels
    return AutoencoderKL(
        block_out_channels=shape,
        layers_per_block=config.layers_per_block,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=config.norm_num_groups,
        down_block_types=down,
        up_block_types=up,
        sample_size=size,
        scaling_factor=1.0,
        force_upcast=False,
    )


def build_unet(config: UNetConfig, condition_channels: int, latent_size: int) -> SDSegUNet:
    """The U-Net: noisy mask latent ++ condition latent in, 4 channels out."""
    *inner, last = config.attention
    down = [("AttnDownBlock2D" if a else "DownBlock2D") for a in (*inner, last)]
    up = [("AttnUpBlock2D" if a else "UpBlock2D") for a in (last, *reversed(inner))]
    if config.resnet_sampling:
        up = [
            x.replace("UpBlock2D", "ResnetUpsampleBlock2D") if x == "UpBlock2D" else x for x in up
        ]
    sampling = "resnet" if config.resnet_sampling else "conv"
    return SDSegUNet(
        sample_size=latent_size,
        in_channels=LATENT_CHANNELS + condition_channels,
        out_channels=LATENT_CHANNELS,
        freq_shift=0,
        flip_sin_to_cos=True,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        downsample_type=sampling,
        upsample_type=sampling,
        dropout=config.dropout,
        attention_head_dim=config.block_out_channels[0] // config.heads,
        norm_num_groups=config.norm_num_groups,
        attn_norm_num_groups=config.norm_num_groups,
        norm_eps=1e-5,
        resnet_time_scale_shift="scale_shift" if config.resnet_sampling else "default",
        add_attention=any(config.attention),
        num_class_embeds=config.class_count,
        heads=config.heads,
    )


def build_vision_encoder(
    config: VisionEncoderConfig, autoencoder: AutoencoderConfig
) -> VisionEncoder:
    """The vision encoder of the wanted kind."""
    if config.kind == "trunk":
        return TrunkVisionEncoder(config.condition_channels, config.pyramid_channels)
    return PublishedVisionEncoder(
        block_out_channels=autoencoder.block_out_channels,
        layers_per_block=autoencoder.layers_per_block,
        norm_num_groups=autoencoder.norm_num_groups,
        condition_channels=config.condition_channels,
        dropout=config.dropout,
    )


def _contiguous(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    """Attention leaves its output in channels last as soon as a batch holds more than one picture.

    From there on torch's CPU GroupNorm would be inexact: a mask of a batch of four was seen to
    differ by 0.007 in probability from the same slice alone.
    """
    return output.contiguous()


class SDSegNetwork(nn.Module):
    """All three parts and the maths between them.

    Attributes:
        scale_factor: mask latents are multiplied by it (1 / std of the first training batch's).
        channel_classes: classes in the channels of the mask picture; 1 means that its three
            channels are equal.
    """

    def __init__(
        self,
        config: SDSegConfig,
        autoencoder: AutoencoderKL,
        unet: SDSegUNet,
        vision_encoder: VisionEncoder,
        scale_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.prediction_type: PredictionType = config.prediction_type
        self.channel_classes = config.channel_classes
        self.schedule = NoiseSchedule(config.schedule)
        self.autoencoder = autoencoder
        self.unet = unet
        self.vision_encoder = vision_encoder
        self.scale_factor = scale_factor
        for module in self.modules():
            if isinstance(module, Attention):
                module.register_forward_hook(_contiguous)

    @classmethod
    def build(cls, config: SDSegConfig) -> SDSegNetwork:
        """A network with fresh weights; the autoencoder is frozen."""
        condition = config.vision_encoder.condition_channels
        network = cls(
            config,
            build_autoencoder(config.autoencoder, config.size),
            build_unet(config.unet, condition, config.size // 8),
            build_vision_encoder(config.vision_encoder, config.autoencoder),
        )
        network.autoencoder.requires_grad_(False)
        return network

    def encode_mask(self, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latent of a mask picture, drawn from the posterior and scaled.

        Args:
            mask: [B, 3, H, W] in {-1, 1}.
            generator: source of the posterior's noise.

        Returns:
            [B, 4, H/8, W/8].
        """
        posterior = self.autoencoder.encode(mask).latent_dist  # type: ignore[union-attr]
        return posterior.sample(generator) * self.scale_factor

    def condition(self, picture: Tensor) -> Tensor:
        """Condition latent of pictures [B, 3, H, W] in [-1, 1]; deterministic, not scaled.

        Returns:
            [B, C, H/8, W/8].
        """
        return self.vision_encoder(picture)

    def predict(
        self, z_t: Tensor, timestep: Tensor, condition: Tensor, classes: Tensor | None = None
    ) -> Tensor:
        """The U-Net's raw output for noisy latents [B, 4, h, w] at timesteps [B].

        Args:
            z_t, timestep: noisy latents and where they stand.
            condition: condition latents, [B, C, h, w].
            classes: class ids, int64 [B], for a U-Net with class embedding.
        """
        return self.unet(torch.cat([z_t, condition], dim=1), timestep, class_labels=classes).sample

    def estimate_z0(
        self,
        noise: Tensor,
        condition: Tensor,
        classes: Tensor | None = None,
        steps: int = 1,
    ) -> Tensor:
        """From pure noise to the latent estimate.

        One step at T-1 is SDSeg's inference (section 2.3). More are DDIM without added noise (Song
        et al., ICLR 2021, eq. 12 with sigma = 0), evenly spaced from T-1, for comparison.

        Args:
            noise: [B, 4, h, w].
            condition: condition latents, [B, C, h, w].
            classes: class ids, int64 [B], for a U-Net with class embedding.
            steps: 1 to T.
        """
        return deque(self.estimates(noise, condition, classes, steps), maxlen=1).pop()

    def estimates(
        self,
        noise: Tensor,
        condition: Tensor,
        classes: Tensor | None = None,
        steps: int = 1,
    ) -> Iterator[Tensor]:
        """The latent estimate after each step; the last one is what `estimate_z0` returns."""
        schedule, kind = self.schedule, self.prediction_type
        spaced = torch.linspace(schedule.last, 0, steps + 1)[:-1].round().long()
        z_t = noise
        for number, t in enumerate(spaced):
            here = t.expand(len(noise)).to(noise.device)
            output = self.predict(z_t, here, condition, classes)
            z0 = schedule.latent_estimate(output, z_t, here, kind)
            yield z0
            if number + 1 < steps:
                left = schedule.noise_estimate(output, z_t, here, kind)
                z_t = schedule.add_noise(z0, left, spaced[number + 1].expand(len(noise)))

    def decode_picture(self, z0: Tensor) -> Tensor:
        """The decoded mask picture, [B, 3, H, W], about -1 outside and 1 inside."""
        return self.autoencoder.decode(z0 / self.scale_factor).sample  # type: ignore[union-attr]

    @property
    def class_count(self) -> int | None:
        """Classes with background of a U-Net with class embedding; None for a binary one."""
        return self.unet.config["num_class_embeds"]

    def bytes_per_slice(self, size: int) -> int:
        """Memory for one pass through the decoder, or the vision encoder, roughly and not less.

        Measured for both presets: at full size, eight maps of the decoder's width and some 64 more.
        """
        width = self.autoencoder.config["block_out_channels"][0]
        return size * size * 4 * (8 * width + 64)

    def for_each_class(
        self, noise: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Noise, condition and class ids of one pass a class, slice by slice.

        Args:
            noise, condition: of B slices.

        Returns:
            B * K rows, the classes of a slice together; as they came for a binary network.
        """
        count = self.class_count
        if count is None:
            return noise, condition, None
        classes = torch.arange(count, device=noise.device).repeat(len(noise))
        return (
            noise.repeat_interleave(count, dim=0),
            condition.repeat_interleave(count, dim=0),
            classes,
        )

    def probabilities(self, z0: Tensor, temperature: float = 1.0) -> Tensor:
        """Decoded latent estimates as probabilities.

        Args:
            z0: [B, 4, h, w]; [B * K, 4, h, w] with class embedding.
            temperature: of the softmax over the classes.

        Returns:
            [B, 1, H, W] of the foreground, or [B, K, H, W] of the classes, the background's first.
        """
        return self.from_scores(self.scores(z0), temperature)

    def scores(self, z0: Tensor) -> Tensor:
        """Maps [R, M, H, W] of R latent estimates; each row depends on its own estimate alone.

        Of a binary network (M = 1) it is the foreground probability. With class embedding (M = 1)
        it is the channel mean of the decoded picture, about -1 and 1, as in the authors' code. With
        classes in the channels there is a map for the background and one a class.
        """
        if self.channel_classes > 1:
            return class_maps(self.decode_picture(z0).float(), self.channel_classes)
        if self.class_count is None:
            return self.decode(z0)[:, None]
        return self.decode_picture(z0).float().mean(dim=1, keepdim=True)

    def from_scores(self, scores: Tensor, temperature: float = 1.0) -> Tensor:
        """What `scores` returned as probabilities; see `probabilities`."""
        if self.channel_classes > 1:
            return (scores / temperature).softmax(dim=1)
        if self.class_count is None:
            return scores
        return (self._signed(scores) / temperature).softmax(dim=1)

    def class_scores(self, z0: Tensor) -> Tensor:
        """Scores [B, K, H, W] of B * K latent estimates, that of the background negated."""
        return self._signed(self.scores(z0))

    def _signed(self, scores: Tensor) -> Tensor:
        """[B * K, 1, H, W] as [B, K, H, W]; the authors' code negates class 0, the background."""
        grouped = scores.reshape(-1, self.class_count or 1, *scores.shape[2:])
        sign = torch.ones(grouped.shape[1], device=scores.device)
        sign[0] = -1.0
        return grouped * sign.view(1, -1, 1, 1)

    def decode(self, z0: Tensor) -> Tensor:
        """Foreground probability [B, H, W] in 0..1: the decoded picture, clamped, channel mean."""
        picture = self.decode_picture(z0).float()  # bf16 has steps of 0.004 near 1
        return ((picture + 1.0) / 2.0).clamp(0.0, 1.0).mean(dim=1)


def class_maps(picture: Tensor, classes: int) -> Tensor:
    """Maps of background and classes of a mask picture that holds a class in each channel.

    Every map is about 1 where its class is and -1 elsewhere. The background's is what is missing
    for their sum to be that of one class among `classes` + 1, so that no seam of background opens
    where one class gives way to another.

    Args:
        picture: decoded mask picture, [B, 3, H, W].
        classes: how many channels hold one, 2 or 3.

    Returns:
        [B, classes + 1, H, W].
    """
    found = picture[:, :classes]
    background = 1.0 - classes - found.sum(dim=1, keepdim=True)
    return torch.cat([background, found], dim=1)
