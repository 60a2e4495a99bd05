"""Stopping a network in the middle of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from engine.errors import Cancelled


@contextmanager
def interruptible(network: nn.Module, is_cancelled: Callable[[], bool] | None) -> Iterator[None]:
    """Within it, every layer asks first whether it may still run.

    A pass over a batch can take seconds on a CPU, a single layer takes a fraction of one.

    Raises:
        Cancelled: `is_cancelled` said so.
    """
    if is_cancelled is None:
        yield
        return

    def ask(*_: object) -> None:
        if is_cancelled():
            raise Cancelled

    layers = [module for module in network.modules() if not any(module.children())]
    hooks = [layer.register_forward_pre_hook(ask) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
