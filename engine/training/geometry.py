"""Random positions: one affine matrix a picture, and pictures and masks seen through it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.dataset import SliceDataset
from engine.training.options import Augmentation
from engine.training.randomness import Draw, step_generator

# A view without the target: how much closer it may be, how often it is looked for.
EMPTY_ZOOM = (1.2, 3.5)
EMPTY_TRIES = 16
COARSE = 48  # side of the picture that such views are tried on
MOST_TARGET = 0.004  # share of a view that may be target to count as empty on the coarse picture
LEAST_PICTURE = 0.6  # share of it that must not be the black border


def exclusive(masks: Tensor) -> Tensor:
    """Shares of classes a pixel, [B, C, H, W] in 0..1, as {0, 1} with one class at most."""
    if masks.shape[1] == 1:
        return (masks > 0.5).float()
    chosen = F.one_hot(likeliest(masks), masks.shape[1] + 1)[..., 1:]
    return chosen.permute(0, 3, 1, 2).float()


def likeliest(masks: Tensor) -> Tensor:
    """The class with the largest share of each pixel, [B, C, H, W] to int64 [B, H, W]; 0 is none.

    The first of several equal ones. `max` is several times as fast as `argmax` over this axis.
    """
    background = 1.0 - masks.sum(dim=1, keepdim=True)
    return torch.cat([background, masks], dim=1).max(dim=1).indices


def warp(values: Tensor, matrices: Tensor, side: int | None = None) -> Tensor:
    """Values [B, C, S, S] seen through matrices [B, 2, 3], linearly; outside is 0."""
    size = side or values.shape[-1]
    shape = [len(values), values.shape[1], size, size]
    grid = F.affine_grid(matrices, shape, align_corners=False)
    return F.grid_sample(values, grid, mode="bilinear", align_corners=False)


def place_randomly(pictures: Tensor, masks: Tensor, rules: Augmentation, draw: Draw) -> Tensor:
    """One matrix a picture, output to input coordinates, float32 [B, 2, 3].

    Args:
        pictures: [B, 3, S, S] in [-1, 1]; looked at for views without the target alone.
        masks: [B, C, S, S] in 0..1, likewise.
        rules: how far things move.
        draw: a generator a picture.
    """
    matrices = _matrices(draw, rules)
    if not rules.empty_share:
        return matrices
    wanted = draw.between(0.0, 1.0) < rules.empty_share
    for n in torch.nonzero(wanted)[:, 0].tolist():
        view = _empty_view(pictures[n : n + 1], masks[n : n + 1], matrices[n], draw.generators[n])
        if view is not None:
            matrices[n] = view
    return matrices


def target_free_share(data: SliceDataset, rules: Augmentation, seed: int, views: int) -> float:
    """Share of augmented pictures that show no target.

    It is less than `rules.empty_share` where pictures have no part without it: lungs fill theirs.

    Args:
        data: of the training.
        rules: of the training.
        seed: of the training.
        views: that are looked at, evenly over the pictures.
    """
    without = 0
    for view in range(views):
        picture, mask = data.batch(torch.tensor([view * len(data) // views]))
        draw = Draw([step_generator(seed, "share", view)])
        matrix = place_randomly(picture, mask, rules, draw)
        without += not exclusive(warp(mask, matrix)).any()
    return without / views


def _matrices(draw: Draw, rules: Augmentation) -> Tensor:
    angle = draw.between(-rules.rotate, rules.rotate) * (math.pi / 180.0)
    zoom = torch.exp(draw.between(math.log(rules.scale[0]), math.log(rules.scale[1])))
    stretch = draw.around_one(1.0 + rules.aspect)
    x_scale, y_scale = stretch.sqrt() / zoom, 1.0 / (stretch.sqrt() * zoom)
    flip_x, flip_y = draw.sign(), draw.sign()
    if "h" in rules.flips:
        x_scale = x_scale * flip_x
    if "v" in rules.flips:
        y_scale = y_scale * flip_y
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x, shift_y = (draw.between(-2.0 * rules.shift, 2.0 * rules.shift) for _ in range(2))
    rows = [
        torch.stack([cos * x_scale, -sin * y_scale, shift_x], dim=1),
        torch.stack([sin * x_scale, cos * y_scale, shift_y], dim=1),
    ]
    return torch.stack(rows, dim=1)


def _empty_view(
    picture: Tensor, mask: Tensor, matrix: Tensor, generator: torch.Generator
) -> Tensor | None:
    """A closer view that shows none of the target, turned and mirrored as `matrix`, or None."""
    target = F.adaptive_max_pool2d(mask.sum(dim=1, keepdim=True), COARSE)
    there = F.adaptive_max_pool2d((picture > -0.98).float().amax(dim=1, keepdim=True), COARSE)
    both = torch.cat([target, there], dim=1)
    turned = matrix[:, :2] / matrix[:, :2].det().abs().sqrt()
    for _ in range(EMPTY_TRIES):
        u = torch.rand(3, generator=generator)
        zoom = math.exp(
            math.log(EMPTY_ZOOM[0]) + u[0].item() * math.log(EMPTY_ZOOM[1] / EMPTY_ZOOM[0])
        )
        centre = (u[1:] * 2.0 - 1.0) * (1.0 - 0.7 / zoom)
        view = torch.cat([turned / zoom, centre[:, None]], dim=1)
        found = warp(both, view[None], COARSE)[0].mean(dim=(1, 2))
        if found[0] <= MOST_TARGET and found[1] >= LEAST_PICTURE:
            return view
    return None
