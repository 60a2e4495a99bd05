"""`models`: what is installed, whether it is intact, and what changes it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.main import Failed, counted, say_error, say_warning
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.models.pull import Pulled
    from engine.models.store import ModelEntry

NAME_HELP = "identifier or display name of an installed model, or its folder"
PULL_TEXT = """\
Downloads a model, or starting weights, from a Hugging Face hub (HF_ENDPOINT names another one than
huggingface.co, HF_TOKEN an access token). Run again after an interruption, it goes on where it
stopped. Every file is compared with the hub's hash. A model goes into the store; starting weights
go to a folder that `train --init` takes."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `models` and its actions to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models", help="installed models", description="Lists, checks and changes the models."
    )
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add(actions, "list", "what is installed (the default)")
    _name(_add(actions, "info", "everything that is known of a model"))
    check = _add(actions, "check", "compare every file with its hash")
    check.add_argument("name", nargs="?", metavar="NAME", help=f"{NAME_HELP}; without it, all")
    rename = _name(_add(actions, "rename", "give a model a display name"))
    rename.add_argument("title", metavar="NEW_TITLE", help="at most 80 characters")
    _name(_add(actions, "remove", "delete a model of your own"))
    add = _add(actions, "add", "copy a model folder into the store")
    add.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with model.json")
    pull = _add(actions, "pull", "download a model or starting weights", PULL_TEXT)
    pull.add_argument("repository", metavar="REPO", help="OWNER/NAME on the hub, or a folder")
    pull.add_argument(
        "--revision", default="", metavar="R", help="branch, tag or commit; default: the main one"
    )
    pull.add_argument(
        "--file", nargs="+", default=[], action="extend", metavar="NAME", dest="files",
        help="only these files or folders of the repository; a single .ckpt or .safetensors "
        "may be named alone. Default: JSON, safetensors, card and licence",
    )  # fmt: skip
    return parser


def _add(actions: Any, name: str, text: str, description: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=description or f"{text[0].upper()}{text[1:]}."
    )
    # Also taken before the action; without a default of its own it does not undo that.
    parser.add_argument(
        "--json", type=Path, default=argparse.SUPPRESS, metavar="FILE",
        help="write the outcome there",
    )  # fmt: skip
    return parser


def _name(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help=NAME_HELP)
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Does one action.

    Raises:
        Failed: `check` found a damaged model.
        UserError: what a person can mend.
    """
    actions = {"list": _list, "info": _info, "check": _check, "rename": _rename}
    actions |= {"remove": _remove, "add": _add_folder, "pull": _pull}
    return actions[args.action or "list"](args)


def _list(_: argparse.Namespace) -> dict[str, Any]:
    from engine.models.store import list_models, store_warnings

    entries, broken = list_models()
    damaged = [error.message for error in broken]
    for entry in entries:
        print(_line(entry))
    warnings = store_warnings(entries)
    for text in damaged + warnings:
        say_warning(text)
    return {"models": [_row(e) for e in entries], "damaged": damaged, "warnings": warnings}


def _check(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.store import find_model, list_models, store_warnings, verify

    entries, broken = ([find_model(args.name)], []) if args.name else list_models()
    damaged = [error.message for error in broken]
    for entry in entries:
        print(_line(entry))
        damaged += [f"{entry.name}: {name} is damaged or missing" for name in verify(entry)]
    warnings = store_warnings(entries)
    for text in warnings:
        say_warning(text)
    report = {"models": [_row(e) for e in entries], "damaged": damaged, "warnings": warnings}
    for text in damaged:
        say_error(UserError(f"{text.rstrip('.')}."))
    if damaged:
        raise Failed(report)
    print(f"{counted(len(entries), 'model')} checked: every file is as it was saved.")
    return report


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.schema import CARD
    from engine.models.store import find_model

    entry = find_model(args.name)
    info = entry.info
    facts = {
        "identifier": info.name,
        "finds": _targets(entry),
        "made for": info.kind,
        "where": "built-in" if entry.built_in else "of your own",
        "folder": entry.folder,
        "SHA-256": entry.sha256,
        "picture size": f"{info.preprocessing.size} x {info.preprocessing.size}",
        "trained timesteps": info.trained_timesteps,
        "data": info.lineage.data,
        "starting weights": ", ".join(info.lineage.initial_weights),
        "made from": info.lineage.parent_sha256,
        "command": info.lineage.command,
        "licence": info.licence,
        "card": entry.folder / CARD if (entry.folder / CARD).is_file() else "",
    }
    print(entry.title)
    for name, value in facts.items():
        if value:
            print(f"  {name:18} {value}")
    for name, value in info.scores.items():
        print(f"  {name:18} {f'{value:.4f}' if isinstance(value, float) else value}")
    row = _row(entry) | {"folder": str(entry.folder)}
    return {"model": row | {"info": info.model_dump(mode="json")}}


def _rename(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.change import rename_model
    from engine.models.store import find_model, store_warnings

    entry = find_model(args.name)
    warnings = store_warnings([])
    title = rename_model(entry, args.title)
    for text in warnings:
        say_warning(text)
    print(f"{entry.title} is now {title}.")
    return {"model": _row(entry) | {"title": title}, "before": entry.title, "warnings": warnings}


def _remove(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.change import removable_folder, remove_model

    folder = removable_folder(args.name)
    remove_model(folder)
    print(f"Removed {folder}.")
    return {"removed": str(folder)}


def _add_folder(args: argparse.Namespace) -> dict[str, Any]:
    from engine.models.change import add_model

    entry = add_model(args.folder)
    print(f"Added {entry.title} as {entry.name}: {entry.folder}")
    return {"model": _row(entry) | {"folder": str(entry.folder)}}


def _pull(args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from engine.models.pull import Progress, pull

    with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as bar:
        progress = Progress(begin=bar.reset, advance=bar.update)
        pulled = pull(args.repository, args.revision, args.files, progress)
    if pulled.model:
        print(f"Added {pulled.model.title} as {pulled.model.name}: {pulled.folder}")
    else:
        print(pulled.folder)
        for line in _how_to_use(pulled):
            print(line)
    return {
        "source": pulled.source,
        "revision": pulled.commit,
        "folder": str(pulled.folder),
        "model": _row(pulled.model) if pulled.model else None,
        "files": [{"name": f.name, "bytes": f.size} for f in pulled.files],
    }


def _how_to_use(pulled: Pulled) -> list[str]:
    for file in pulled.files:
        if file.name.endswith(".ckpt"):
            path = pulled.folder / file.name
            return [f"As a model of the authors: sdseg import-checkpoint {path} --output MODEL"]
    return [f"As starting weights: sdseg train --init {pulled.folder}"]


def _line(entry: ModelEntry) -> str:
    return f"{entry.name:24} {entry.title} (finds {_targets(entry)}; {entry.info.kind})"


def _row(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "sha256": entry.sha256,
        "built_in": entry.built_in,
        "targets": _targets(entry),
    }


def _targets(entry: ModelEntry) -> str:
    return ", ".join(target.name for target in entry.info.targets)
