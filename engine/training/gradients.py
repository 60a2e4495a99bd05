"""The optimiser of all training, and its gradients: clipped, and refused where no numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> bool:
    """Scales all gradients so that their norm is at most `limit`; 0 leaves them as they are.

    Returns:
        False if one of them is NaN or infinite; then the step must not be taken.
    """
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit or math.inf)
    return bool(torch.isfinite(norm))


def adamw(parameters: Iterable[Any], rate: float, weight_decay: float = 0.0) -> torch.optim.AdamW:
    """AdamW with fused steps: on a CPU they take a quarter of the time of a loop over tensors.

    Args:
        parameters: of a network, or groups of them, whose own "lr" goes before `rate`.
        rate: learning rate.
        weight_decay: decoupled from the gradient.
    """
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay, fused=True)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, part: str, option: str) -> None:
    """One step for a part that is trained before the main run, its gradient's norm at most 1.

    Args:
        loss: of the step.
        optimiser: of all the part's parameters.
        part, option: what is trained, and the option of its rate, for the error.

    Raises:
        UserError: a gradient became not a number; the step is not taken.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    learning = [p for group in optimiser.param_groups for p in group["params"]]
    if not clip_gradients(learning, 1.0):
        raise UserError(
            f"A gradient became not a number while the {part} was trained.",
            hint=f"Use a lower rate: {option}.",
        )
    optimiser.step()
