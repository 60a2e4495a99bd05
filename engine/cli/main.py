"""From arguments to a command, and from its outcome to an exit code."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import Cancelled, UserError
from engine.system.atomic import atomic_write_text
from engine.system.processes import is_first, let_the_first_speak

# Each is a module beside this one, with _ for -, with `add_parser(commands)` and `run(args)`.
COMMANDS = (
    "segment", "train", "finetune", "evaluate", "prepare-data", "import-checkpoint", "models",
    "info", "convert",
)  # fmt: skip


# What the system refuses and a person can mend; any other error of it is a fault of the program.
MENDABLE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG,
}  # fmt: skip


class Failed(Exception):
    """The work was done in part: exit code 1, and what `--json` reports.

    Attributes:
        report: as a complete run would have reported it, with `failed`.
    """

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__("part of the work failed")
        self.report = report


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage once, also where several processes were started."""

    def error(self, message: str) -> NoReturn:
        let_the_first_speak()
        super().error(message)

    def _read_args_from_files(self, arg_strings: list[str]) -> list[str]:
        try:
            return super()._read_args_from_files(arg_strings)
        except UnicodeDecodeError:
            self.error("the file of options is not text in UTF-8")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="sdseg",
        description="SDSeg Studio without its window. Research use only. Not a medical device.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"engine.cli.{name.replace('-', '_')}")
        command = module.add_parser(commands)
        command.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there")
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
        argv: without the program's name.

    Returns:
        0 when the work was done, 1 for what a person can mend, 2 for wrong usage.
    """
    try:
        args = build_parser().parse_args(argv)
        args.typed = list(argv)
        return _run(args)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        let_the_first_speak()
        say_error(_refused_by_system(error))
        return 1


def _refused_by_system(error: OSError) -> UserError:
    where = Path(str(error.filename)).name[:60] if error.filename else "A file"
    return UserError(
        f"{where} can't be read or written: {(error.strerror or 'disk error').lower()}.",
        hint="Free some space, or choose another folder or name.",
    )


def _run(args: argparse.Namespace) -> int:
    try:
        if args.json:
            _check_report(args.json)
        report, code = args.run(args), 0
    except Failed as failed:
        report, code = failed.report, 1
    except UserError as error:
        let_the_first_speak()
        say_error(error)
        return 1
    except (Cancelled, KeyboardInterrupt):
        if is_first():
            say_error(UserError("Stopped before it was done."))
        return 1
    if args.json and report is not None:
        try:
            _write_report(args.json, report)
        except UserError as error:
            say_error(error)
            return 1
    return code


def _check_report(path: Path) -> None:
    from engine.io.replacing import check_report

    check_report(path)


def _write_report(path: Path, report: dict[str, Any]) -> None:
    _check_report(path)
    atomic_write_text(path, json.dumps(report, indent=1))


def say_error(error: UserError) -> None:
    """One `error:` line, and a `hint:` line if there is one."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def say_warning(text: str) -> None:
    """One `warning:` line."""
    print(f"warning: {text}", file=sys.stderr)


def counted(number: int, word: str) -> str:
    """A number and its noun: 1 slice, 2 slices."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
