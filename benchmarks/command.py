"""How the commands of the benchmarks end, and what they refuse alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from engine.cli.main import say_error
from engine.errors import Cancelled, UserError

STOPPED = 130  # as a shell tells of a program that Ctrl+C ended


def run_command(work: Callable[[], int]) -> int:
    """The exit code of a command; what a person can mend is told in a sentence."""
    try:
        return work()
    except UserError as error:
        say_error(error)
        return 1
    except (Cancelled, KeyboardInterrupt):
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return STOPPED


def check_trial(*folders: tuple[Path, Path]) -> None:
    """Keeps a trial from counting as a result, and from replacing an unfinished run.

    Args:
        folders: what was chosen, and what is the real runs' own.

    Raises:
        UserError: they are the same.
    """
    if any(chosen == own for chosen, own in folders):
        raise UserError("A trial is no result.", hint="Give it --results and --work of its own.")
