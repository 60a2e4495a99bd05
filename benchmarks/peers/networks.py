"""The networks that SDSeg is compared with. All give logits at the picture's own size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from engine.sdseg.trunk import TAPS, EfficientNetLite0, load_pretrained

PYRAMID = 96  # width of the pyramid and of the head
UNET_WIDTHS = (16, 32, 64, 128, 256)  # of MONAI's tutorials; 1.6 M parameters
DYNUNET_WIDTHS = (32, 64, 128, 256, 320, 320)  # nnU-Net's plan for 2-D, down to 1/32


def make_network(side: str, maps: int) -> nn.Module:
    """A fresh network of a side, for so many maps of logits."""
    if side == "fpn":
        network = TrunkWithPyramid(maps)
        load_pretrained(network.trunk)
        return network
    if side == "unet":
        unet = UNet(2, 3, maps, UNET_WIDTHS, (2,) * 4, num_res_units=2, norm="batch")
        # A sixth faster on a CPU; it has no GroupNorm, which is inexact so.
        return unet.to(memory_format=torch.channels_last)
    return DynUNet(
        spatial_dims=2, in_channels=3, out_channels=maps, kernel_size=[3] * 6,
        strides=[1] + [2] * 5, upsample_kernel_size=[2] * 5, filters=DYNUNET_WIDTHS,
        deep_supervision=True, deep_supr_num=3,
    )  # fmt: skip  # its own norm is nnU-Net's: of instances, with scale and shift that are learnt


def parts_of(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(what starts fresh, a pre-trained trunk's parameters)."""
    trunk = list(network.trunk.parameters()) if isinstance(network, TrunkWithPyramid) else []
    inside = {id(p) for p in trunk}
    return [p for p in network.parameters() if id(p) not in inside], trunk


def outputs_of(output: Tensor) -> list[Tensor]:
    """Logits [B, M, H, W], the finest first; DynUNet in training gives several, stacked."""
    return list(output.unbind(dim=1)) if output.ndim == 5 else [output]


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )


class TrunkWithPyramid(nn.Module):
    """SDSeg's trunk under a semantic feature pyramid (Kirillov et al., CVPR 2019).

    Top-down pyramid from 1/32 to 1/4; the taps at 1/2 are folded into the level of 1/4 by
    space-to-depth, as in SDSeg's vision encoder. Every level is smoothed and brought to 1/4; their
    sum, two convolutions later, gives logits at 1/4, and bilinear upsampling the rest.
    """

    def __init__(self, maps: int, width: int = PYRAMID) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        (half, _), (quarter, _), *coarse = TAPS.values()
        channels = [4 * half + quarter, *(c for c, _ in coarse)]
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(_convolution(width, width) for _ in channels)
        self.head = nn.Sequential(_convolution(width, width), nn.Conv2d(width, maps, 1))

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to logits [B, maps, H, W]; H and W multiples of 32."""
        half, quarter, *coarse = self._features(picture)
        fine = torch.cat([F.pixel_unshuffle(half, 2), quarter], dim=1)
        levels = [lateral(x) for lateral, x in zip(self.laterals, [fine, *coarse], strict=True)]
        for n in range(len(levels) - 2, -1, -1):
            levels[n] = levels[n] + F.interpolate(levels[n + 1], scale_factor=2.0, mode="nearest")
        size = levels[0].shape[-2:]
        smooth = [
            F.interpolate(layer(x), size=size, mode="bilinear")
            for layer, x in zip(self.smooth, levels, strict=True)
        ]
        logits = self.head(torch.stack(smooth).sum(dim=0))
        return F.interpolate(logits.float(), scale_factor=4.0, mode="bilinear")

    def _features(self, picture: Tensor) -> list[Tensor]:
        """As SDSeg runs its trunk: on a CPU in fp32, channels last, which is the fastest."""
        picture = picture.contiguous(memory_format=torch.channels_last)
        with torch.autocast(picture.device.type, enabled=False):
            return [x.contiguous() for x in self.trunk(picture.float())]
