"""`models`: what is installed, and whether it is intact."""

from __future__ import annotations

import argparse
from typing import Any

from engine.cli.main import Failed, say_error, say_warning
from engine.errors import UserError


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `models` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models", help="installed models", description="Lists the installed models."
    )
    parser.add_argument("action", nargs="?", choices=["list", "check"], default="list")
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Lists the models, or checks every file of theirs against its hash.

    Raises:
        Failed: a model is damaged.
    """
    from engine.models.store import list_models, verify

    entries, broken = list_models()
    rows: list[dict[str, Any]] = []
    damaged = [error.message for error in broken]
    for entry in entries:
        info = entry.info
        targets = ", ".join(t.name for t in info.targets)
        print(f"{info.name:24} {info.title} (finds {targets}; {info.kind})")
        row = {"name": info.name, "title": info.title, "sha256": entry.sha256}
        rows.append({**row, "built_in": entry.built_in, "targets": targets})
        if args.action == "check":
            bad = verify(entry)
            damaged += [f"{info.name}: {name} is damaged or missing" for name in bad]
    report = {"models": rows, "damaged": damaged}
    if args.action == "check" and damaged:
        for text in damaged:
            say_error(UserError(f"{text.rstrip('.')}."))
        raise Failed(report)
    for text in damaged:
        say_warning(text)
    return report
