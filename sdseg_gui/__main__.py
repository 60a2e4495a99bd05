"""The entry: the window, or a command; nothing here imports Qt before it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

CHILD = "--child"
USAGE = """usage: sdseg [PATH]            open the window, on PATH if it is given
       sdseg --demo            open the window on the built-in picture
       sdseg COMMAND ...       work without a window; sdseg COMMAND --help
       sdseg --version

commands: segment, train, finetune, evaluate, prepare-data, import-checkpoint, models, info,
          convert, commands

Research use only. Not a medical device."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: without the program's name; None means the process's own.

    Returns:
        The exit code.
    """
    # No library goes to a hub by itself; `models pull` has its own way there.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        print(USAGE)
        return 0
    if first == "--version":
        from engine import __version__

        print(f"sdseg {__version__}")
        return 0
    if first == CHILD:
        from engine.cli.child import main as run_child

        return run_child(arguments[1:])
    if first == "commands":
        return _print_commands(arguments[1:])
    if _is_command(first):
        from engine.cli import main as run_command

        return run_command(arguments)
    return _open_window(arguments)


def _print_commands(arguments: list[str]) -> int:
    import argparse
    import json

    from sdseg_gui.commands import COMMANDS, print_table

    parser = argparse.ArgumentParser(
        prog="sdseg commands", description="Lists the window's commands: id, title, key, menu."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write them there too")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    print_table()
    if args.json is None:
        return 0
    from engine.cli.main import say_error
    from engine.errors import UserError
    from engine.system.atomic import atomic_write_text

    rows = [
        {"id": c.id, "title": c.plain_title, "keys": c.keys, "menu": c.menu.replace("&", "")}
        for c in COMMANDS
    ]
    try:
        atomic_write_text(args.json, json.dumps(rows, indent=1))
    except UserError as error:
        say_error(error)
        return 1
    return 0


def _is_command(word: str) -> bool:
    """True for a command's name; a file of that name is meant only if it is written as a path."""
    from engine.cli.main import COMMANDS

    return word in COMMANDS


def _open_window(arguments: list[str]) -> int:
    from engine.system.device import has_display

    demo = arguments == ["--demo"]
    paths = [] if demo else arguments
    if len(paths) > 1 or any(p.startswith("-") for p in paths):
        odd = next((p for p in paths if p.startswith("-")), paths[-1])
        print(f"{USAGE}\n\nerror: '{odd}' is not understood.", file=sys.stderr)
        return 2
    if paths and not Path(paths[0]).exists():
        print(f"error: There is no file, folder or command {paths[0]}.", file=sys.stderr)
        print("hint: sdseg --help lists the commands.", file=sys.stderr)
        return 1
    if not has_display():
        return _without_display(paths)
    from sdseg_gui.app import run_window

    return run_window(Path(paths[0]) if paths else None, demo=demo)


def _without_display(paths: list[str]) -> int:
    """The window's job without a window, so that a first try on a server shows something."""
    from engine.cli import main as run_command

    print("There is no display here; segmenting without a window instead.")
    if paths:
        print("hint: sdseg segment INPUT --output OUT", file=sys.stderr)
        return run_command(["segment", paths[0], "--output", "sdseg-masks", "--overlay"])
    return run_command(["segment", "--demo"])


if __name__ == "__main__":
    raise SystemExit(main())
