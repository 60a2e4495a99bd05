"""Binds functions to the ids of the command table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sdseg_gui.actions.context import Context
from sdseg_gui.commands import BY_ID

Handler = Callable[..., Any]
Condition = Callable[[Context], bool]
F = TypeVar("F", bound=Handler)


@dataclass(frozen=True)
class Binding:
    """What a command does, when it can, and whether its switch is on."""

    handler: Handler
    condition: Condition
    checked: Condition | None
    whole: bool

    def enabled(self, context: Context) -> bool:
        """Whether it can be used now."""
        return self.condition(context) and not self.waits(context)

    def waits(self, context: Context) -> bool:
        """True if it can't be used because slices of the case are not read yet."""
        return self.whole and context.is_loading


STILL_LOADING = "the case is still being read"
BINDINGS: dict[str, Binding] = {}


def always(_context: Context) -> bool:
    """For commands that can always be used."""
    return True


def has_case(context: Context) -> bool:
    """True with an open case."""
    return context.document.case is not None


def handles(
    command_id: str, enabled: Condition = always, checked: Condition | None = None
) -> Callable[[F], F]:
    """Makes a function the one that carries out a command.

    Args:
        command_id: of the command table.
        enabled: when it can be used.
        checked: for switches: whether it is on.
    """
    if command_id not in BY_ID:
        raise KeyError(command_id)
    if command_id in BINDINGS:
        raise ValueError(f"{command_id} is bound twice")

    def bind(function: F) -> F:
        BINDINGS[command_id] = Binding(function, enabled, checked, BY_ID[command_id].whole)
        return function

    return bind


def carry_out(context: Context, command_id: str, **arguments: Any) -> None:
    """Runs a command, if it can be used now; one that has to wait for the case says so."""
    binding = BINDINGS[command_id]
    if binding.enabled(context):
        binding.handler(context, **arguments)
    elif binding.waits(context):
        context.notifier.say(f"{BY_ID[command_id].plain_title}: {STILL_LOADING}")
