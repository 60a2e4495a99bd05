"""What is minimised, as one module: a batch in, its losses out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import UserError
from engine.sdseg.config import DOWN_SAMPLING
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.losses import decoded_logits, mask_loss, noise_and_latent_loss
from engine.training.options import Objective

Corner = tuple[int, int]
TINY = 1e-6  # a third of three pictures is one


def check_pyramid(network: SDSegNetwork, goal: Objective) -> None:
    """Refuses a mask term on a pyramid that is not there.

    Raises:
        UserError: the vision encoder has no trunk.
    """
    if goal.pyramid_weight and not isinstance(network.vision_encoder, TrunkVisionEncoder):
        raise UserError(
            "--pyramid-weight needs a vision encoder with a trunk.",
            hint="Leave it out, or train with --preset compact.",
        )


def diffused(places: Sequence[int], share: float) -> list[int]:
    """Which of this process's pictures eq. 3 is computed for, evenly spread over the whole batch.

    Args:
        places: in the batch.
        share: of the batch, 0..1.

    Returns:
        Indices into `places`.

    Raises:
        UserError: the share is less than a picture of each process.
    """
    found = [
        n for n, place in enumerate(places)
        if math.floor((place + 1) * share + TINY) > math.floor(place * share + TINY)
    ]  # fmt: skip
    if not found:
        raise UserError(
            f"--sdseg-share {share:g} is less than a picture of each batch.",
            hint="Choose a larger one, or a larger --batch.",
        )
    return found


class Losses(nn.Module):
    """Eq. 3 and the mask terms of a network.

    Attributes:
        network: its vision encoder and U-Net learn.
        pyramid_head: 1x1 convolution from the trunk's pyramid to mask logits, 8 x 8 a cell, or
            None.
        crop: side of the decoded part in latent cells; None decodes all.
    """

    def __init__(
        self, network: SDSegNetwork, goal: Objective, classes: int, size: int, precision: str
    ) -> None:
        """Of a network for `classes` and pictures of `size` pixels.

        Raises:
            UserError: the pyramid is wanted of a vision encoder that has none.
        """
        super().__init__()
        self.network, self.goal, self.classes, self.precision = network, goal, classes, precision
        self.pyramid_head = self._make_pyramid_head()
        cells = size // DOWN_SAMPLING
        side = max(1, round(cells * goal.mask_crop))
        self.crop = side if side < cells else None
        self.cells = cells

    def _make_pyramid_head(self) -> nn.Conv2d | None:
        check_pyramid(self.network, self.goal)
        encoder = self.network.vision_encoder
        if not self.goal.pyramid_weight or not isinstance(encoder, TrunkVisionEncoder):
            return None
        maps = 1 if self.classes == 1 else self.classes + 1
        return nn.Conv2d(encoder.config["pyramid_channels"], maps * DOWN_SAMPLING**2, 1)

    def corners(self, masks: Tensor, generators: Sequence[torch.Generator]) -> list[Corner] | None:
        """Where each picture is decoded for the mask term, as (row, column) of a latent cell.

        A random pixel of the target lies inside where there is one; of several classes each that
        is there has the same chance, or a large one would crowd a small one out.

        Args:
            masks: [B, C, S, S] in {0, 1}.
            generators: one a picture.
        """
        if self.crop is None:
            return None
        found: list[Corner] = []
        for mask, generator in zip(masks, generators, strict=True):
            row, column, pick = torch.rand(3, generator=generator).tolist()
            spots = torch.nonzero(_one_class(mask, generator))
            last = self.cells - self.crop
            corner = [int(row * (last + 1)), int(column * (last + 1))]
            if len(spots):
                spot = spots[int(pick * len(spots))] // DOWN_SAMPLING
                for axis in range(2):
                    low = max(0, int(spot[axis]) - self.crop + 1)
                    high = min(last, int(spot[axis]))
                    share = (row, column)[axis]
                    corner[axis] = low + int(share * (high - low + 1))
            found.append((corner[0], corner[1]))
        return found

    def forward(
        self,
        pictures: Tensor,
        masks: Tensor,
        z0: Tensor,
        noise: Tensor,
        t: Tensor,
        corners: list[Corner] | None,
        some: Tensor,
    ) -> dict[str, Tensor]:
        """The losses of a batch, each a mean; "loss" is their weighted sum.

        Args:
            pictures: [B, 3, S, S] in [-1, 1].
            masks: [B, C, S, S] in {0, 1}.
            z0, noise: mask latents and noise, [D, 4, h, w].
            t: timesteps, int64 [D].
            corners: from `corners`, D of them.
            some: which of the pictures these belong to, int64 [D]; from `diffused`.
        """
        network, goal = self.network, self.goal
        z_t = network.schedule.add_noise(z0, noise, t)
        with self._autocast(pictures.device):
            condition, pyramid_logits = self._condition(pictures, some)
            output = network.predict(z_t, t, condition)
        output = output.float()
        noise_l1, latent_l1 = noise_and_latent_loss(network, output, z0, z_t, noise, t)
        losses = {"noise": noise_l1, "latent": latent_l1}
        total = goal.sdseg_weight * (noise_l1 + goal.latent_lambda * latent_l1)
        if goal.mask_weight:
            estimate = network.schedule.latent_estimate(output, z_t, t, network.prediction_type)
            losses["mask"] = self._decoded_loss(estimate, masks[some], corners)
            total = total + goal.mask_weight * losses["mask"]
        if pyramid_logits is not None:
            losses["pyramid"] = mask_loss(pyramid_logits.float(), masks)
            total = total + goal.pyramid_weight * losses["pyramid"]
        return {"loss": total, **losses}

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _decoded_loss(
        self, estimate: Tensor, masks: Tensor, corners: list[Corner] | None
    ) -> Tensor:
        """The mask term of latent estimates [D, 4, h, w] and their masks [D, C, S, S]."""
        part, truth = self._parts(estimate, masks, corners)
        with self._autocast(masks.device):
            decoded = self.network.decode_picture(part)
        return mask_loss(decoded_logits(decoded, self.classes), truth)

    def _condition(self, pictures: Tensor, some: Tensor) -> tuple[Tensor, Tensor | None]:
        """Condition latents of some pictures, and the pyramid's mask logits of all."""
        encoder = self.network.vision_encoder
        if self.pyramid_head is None or not isinstance(encoder, TrunkVisionEncoder):
            return self.network.condition(pictures[some]), None
        pyramid = encoder.pyramid(pictures)
        logits = F.pixel_shuffle(self.pyramid_head(pyramid), DOWN_SAMPLING)
        return encoder.out(pyramid[some]), logits

    def _parts(
        self, estimate: Tensor, masks: Tensor, corners: list[Corner] | None
    ) -> tuple[Tensor, Tensor]:
        """The latent cells that are decoded, and the same part of the masks."""
        if corners is None or self.crop is None:
            return estimate, masks
        side, pixels = self.crop, self.crop * DOWN_SAMPLING
        cells = [
            z[:, r : r + side, c : c + side] for z, (r, c) in zip(estimate, corners, strict=True)
        ]
        parts = [
            m[:, r * DOWN_SAMPLING :, c * DOWN_SAMPLING :][:, :pixels, :pixels]
            for m, (r, c) in zip(masks, corners, strict=True)
        ]
        return torch.stack(cells), torch.stack(parts)


def _one_class(mask: Tensor, generator: torch.Generator) -> Tensor:
    """[S, S] of a class that a mask [C, S, S] holds, at random; all 0 where it holds none."""
    held = mask[mask.any(dim=2).any(dim=1)]
    if len(held) < 2:
        return held[0] if len(held) else mask[0]
    return held[int(torch.randint(len(held), (1,), generator=generator))]
