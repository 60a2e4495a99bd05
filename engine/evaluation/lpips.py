"""LPIPS with AlexNet: how different two pictures look to a network (Zhang et al., CVPR 2018).

The weights belong to others and are not shipped; a person names a file that has them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.contained import TENSORS_FILE, copy_tensors
from engine.sdseg.weights import read_tensors

# (name, input channels, output channels, kernel, stride, padding, max-pooled before)
CONVOLUTIONS = (
    ("net.slice1.0", 3, 64, 11, 4, 2, False),
    ("net.slice2.3", 64, 192, 5, 1, 2, True),
    ("net.slice3.6", 192, 384, 3, 1, 1, True),
    ("net.slice4.8", 384, 256, 3, 1, 1, False),
    ("net.slice5.10", 256, 256, 3, 1, 1, False),
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10
HINT = (
    "It takes the state dict of the LPIPS AlexNet variant (net.slice1.0.weight ... "
    "lin4.model.1.weight), as .safetensors or .pth."
)


class Lpips:
    """The distance, on the CPU in fp32."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._weights = weights

    @classmethod
    def load(cls, file: Path) -> Lpips:
        """Reads the weights; tensors of other names are left out.

        Args:
            file: `.safetensors`, or a pickled state dict, which a contained child process reads.

        Raises:
            UserError: it can't be read, or a tensor is missing or wrong.
        """
        if not file.is_file():
            raise UserError(f"{file.name} was not found.", hint="Check the path.")
        try:
            tensors = _read(file)
        except UserError as error:
            raise UserError(error.message, hint=HINT) from error
        return cls(_checked(file, tensors))

    @torch.inference_mode()
    def features(self, maps: Tensor) -> list[Tensor]:
        """What the network sees in each map: five tensors [N, C, h, w], unit length along C.

        Args:
            maps: float32 [N, size, size] in 0..1; shown to the network as grey in -1..1.
        """
        shift, scale = (torch.tensor(x).view(1, 3, 1, 1) for x in (SHIFT, SCALE))
        x = ((maps[:, None] * 2.0 - 1.0).expand(-1, 3, -1, -1) - shift) / scale
        found: list[Tensor] = []
        for name, _, _, _, stride, padding, pooled in CONVOLUTIONS:
            x = F.max_pool2d(x, 3, 2) if pooled else x
            weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            x = F.conv2d(x, weight, bias, stride, padding).relu()
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPSILON))
        return found

    @torch.inference_mode()
    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Distance [N] of N pictures from N others, by their `features`; 0 means equal."""
        total = torch.zeros(len(first[0]))
        for layer, (a, b) in enumerate(zip(first, second, strict=True)):
            squared = (a - b).square()
            weighted = F.conv2d(squared, self._weights[f"lin{layer}.model.1.weight"])
            total = total + weighted.mean(dim=(1, 2, 3))
        return total


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that is needed."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (name, before, after, kernel, *_) in enumerate(CONVOLUTIONS):
        shapes[f"{name}.weight"] = (after, before, kernel, kernel)
        shapes[f"{name}.bias"] = (after,)
        shapes[f"lin{layer}.model.1.weight"] = (1, after, 1, 1)
    return shapes


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix.lower() == ".safetensors":
        return read_tensors(file)
    with tempfile.TemporaryDirectory() as folder:
        copy_tensors(file, Path(folder), lambda facts: _check_names(file, tuple(facts.shapes)))
        return read_tensors(Path(folder) / TENSORS_FILE)


def _check_names(file: Path, names: Collection[str]) -> None:
    missing = [name for name in expected_shapes() if name not in names]
    if missing:
        raise UserError(f"{file.name}: {missing[0]} is missing.", hint=HINT)


def _checked(file: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    _check_names(file, tensors.keys())
    for name, shape in expected_shapes().items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            found = list(tensor.shape)
            raise UserError(f"{file.name}: {name} has shape {found}, not {list(shape)}.", hint=HINT)
        if name.startswith("lin") and bool((tensor < 0).any()):
            raise UserError(f"{file.name}: {name} has negative weights.", hint=HINT)
    return {name: tensors[name] for name in expected_shapes()}
