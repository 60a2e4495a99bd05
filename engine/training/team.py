"""The processes that train together; one alone where nothing else was asked for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, nn
from torch.distributed import DistError

from engine.errors import Cancelled, UserError
from engine.sdseg.devices import choose_device

# The others wait while the first trains the autoencoder and validates; torch's own patience is
# half an hour. Whoever ends is noticed by its broken connection or by the launcher, not by this.
PATIENCE = timedelta(days=7)
REST_S = 0.5  # without Python's lock; clearing up takes microseconds
LIBRARIES = ("gloo", "NCCL")  # named in errors of broken connections


class Team:
    """Processes started by `torchrun` or `accelerate launch`, each with its part of every batch.

    Attributes:
        device: of this process.
        rank, size: this process's number, and how many there are.
    """

    def __init__(self, device_name: str = "auto") -> None:
        """Joins the others.

        Raises:
            UserError: the device is not there.
        """
        wanted = choose_device(device_name)
        self._accelerator = Accelerator(
            cpu=wanted.type == "cpu",
            mixed_precision="no",  # --precision decides, not the launcher
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.size: int = self._accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """True in the one process that prints and writes."""
        return self.rank == 0

    def places(self, batch: int) -> range:
        """This process's places in a batch.

        Raises:
            UserError: the batch can't be shared out evenly.
        """
        if batch % self.size:
            raise UserError(
                f"A batch of {batch} can't be shared out to {self.size} processes.",
                hint=f"Choose a --batch that {self.size} divides.",
            )
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over the processes."""
        if self.size == 1:
            return module
        # The trunk computes channels last, its gradients are shared channels first: no harm.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return self._accelerator.prepare(module)

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Scalars, averaged over the processes."""
        stacked = torch.stack([v.detach().float() for v in values.values()])
        if self.size > 1:
            stacked = self._accelerator.reduce(stacked, reduction="mean")
        return dict(zip(values, stacked.tolist(), strict=True))  # type: ignore[union-attr]

    def any(self, flag: bool) -> bool:
        """True if it is true in any process."""
        if self.size == 1:
            return flag
        total: Any = self._accelerator.reduce(
            torch.tensor(float(flag), device=self.device), reduction="sum"
        )
        return bool(total > 0)

    def share(self, value: Any) -> Any:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        return broadcast_object_list([value], from_process=0)[0]

    @torch.no_grad()
    def share_weights(self, module: nn.Module) -> None:
        """Gives every process the first one's parameters and buffers."""
        if self.size == 1:
            return
        for tensor in module.state_dict().values():
            torch.distributed.broadcast(tensor, src=0)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What stops one process inside stops all, which wait for each other at the end.

        Raises:
            Cancelled, UserError: that of the lowest rank, in every process.
        """
        if self.size == 1:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except (Cancelled, UserError) as met:
            error = met
        except KeyboardInterrupt:
            error = Cancelled()
        errors: list[Exception | None] = [None] * self.size
        torch.distributed.all_gather_object(errors, error)
        for met in errors:
            if met is not None:
                raise met

    @contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Turns the failure of a connection into words, and lets the last exchange come to rest.

        The end of a process group takes gloo's lock while it holds Python's; a thread of gloo that
        still clears up an exchange takes them the other way round, and both would wait for ever.

        Raises:
            UserError: another process has ended, or can't be reached.
        """
        try:
            yield
        except RuntimeError as error:
            broken = isinstance(error, DistError) or any(n in str(error) for n in LIBRARIES)
            if self.size == 1 or not broken:
                raise
            raise UserError(
                "Another process of this run ended or can't be reached.",
                hint="Its own message may say why. Go on from the last checkpoint with --resume.",
            ) from error
        finally:
            if self.size > 1:
                time.sleep(REST_S)

    def part(self) -> None:
        """Leaves the others; nothing can be shared any more."""
        if self.size > 1:
            torch.distributed.destroy_process_group()
