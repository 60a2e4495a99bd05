"""Gradients: clipped, and refused where they are no numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from engine.errors import UserError


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> bool:
    """Scales all gradients so that their norm is at most `limit`; 0 leaves them as they are.

    Returns:
        False if one of them is NaN or infinite; then the step must not be taken.
    """
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit or math.inf)
    return bool(torch.isfinite(norm))


def not_a_number(part: str, option: str) -> UserError:
    """The error for a gradient of a part that is trained before the main run."""
    return UserError(
        f"A gradient became not a number while the {part} was trained.",
        hint=f"Use a lower rate: {option}.",
    )
