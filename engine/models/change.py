"""What changes the store: a model gets a display name, comes in, or goes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import unicodedata
from pathlib import Path

from engine.errors import UserError
from engine.models.records import (
    MAX_TITLE,
    make_folder,
    read_records,
    records_to_change,
    store_folder,
    title_fault,
    write_records,
)
from engine.models.schema import CARD, MODEL_JSON, NEEDED
from engine.models.store import ModelEntry, file_sha256, find_model, list_models, read_entry, verify
from engine.system.atomic import flush, flush_folder
from engine.system.disk import require_space

DRAFT = ".draft-"
TRASH = ".trash-"
STALE_SECONDS = 86_400  # what a killed run left behind; a younger draft may be another's work
MAX_CARD_BYTES = 1_000_000
AGAIN = "Get the model again from where it came from."


def rename_model(entry: ModelEntry, title: str) -> str:
    """Gives a model a display name; the folder stays as it is, so built-in ones can have one too.

    Args:
        entry: the model.
        title: at most `MAX_TITLE` characters that can be shown; blanks at the ends are dropped.

    Returns:
        The display name as it was noted.

    Raises:
        UserError: the name can't be taken or belongs to another model, or can't be saved.
    """
    if fault := title_fault(title.strip()):
        raise UserError(
            f"{entry.title} can't get this name: {fault}.",
            hint=f"Choose 1 to {MAX_TITLE} letters, digits, signs and blanks.",
        )
    title = unicodedata.normalize("NFC", title.strip())
    for other in list_models()[0]:
        taken = {other.title.casefold(), other.name.casefold()}
        if other.sha256 != entry.sha256 and title.casefold() in taken:
            raise UserError(
                f"Another model is named {title} already: {other.folder}.",
                hint="Choose another name.",
            )
    write_records(records_to_change().with_title(entry.sha256, title))
    return title


def removable_folder(name: str) -> Path:
    """The folder, in the user's store, of the model that a person wants to be rid of.

    Args:
        name: identifier, display name, or folder; for a broken model the folder's name does too.

    Raises:
        UserError: there is none, it came with the program, or it lies outside the store.
    """
    if Path(name).name != name and _in_store(Path(name)) and _is_folder(Path(name)):
        return Path(os.path.abspath(name))  # not resolved: of a link only the link shall go
    try:
        entry = find_model(name)
    except UserError:
        if _in_store(store_folder() / name) and _is_folder(store_folder() / name):
            return store_folder() / name
        raise
    if entry.built_in:
        raise UserError(
            f"{entry.title} came with the program and can't be removed.",
            hint="Only models of your own can.",
        )
    if not _in_store(entry.folder):
        raise UserError(
            f"{entry.folder} is not in the store of models and is left alone.",
            hint="Delete the folder yourself.",
        )
    return entry.folder


def _is_folder(path: Path) -> bool:
    return path.is_symlink() or path.is_dir()


def _in_store(folder: Path) -> bool:
    store = store_folder()
    parent = Path(os.path.abspath(folder)).parent
    inside = store.is_dir() and parent.is_dir() and parent.samefile(store)
    return inside and not folder.name.startswith(".")


def remove_model(folder: Path) -> None:
    """Deletes a model of the user's, and what `store.json` knows of it.

    The folder gets a hidden name first, so that a half-deleted model never shows. Of a link, only
    the link goes.

    Args:
        folder: as `removable_folder` gives it.

    Raises:
        UserError: it can't be removed; it is still there then.
    """
    sha256 = _hash_of(folder)
    trash = folder.with_name(f"{TRASH}{os.getpid()}-{time.time_ns()}")
    try:
        os.rename(folder, trash)
    except OSError as error:
        raise UserError(
            f"{folder.name} can't be removed: {error.strerror or error}.",
            hint="Close what uses it, and try again.",
        ) from error
    _delete(trash)
    _sweep(folder.parent)
    if sha256 and all(entry.sha256 != sha256 for entry in list_models()[0]):
        _forget(sha256)


def _hash_of(folder: Path) -> str:
    try:
        return read_entry(folder).sha256
    except UserError:  # a broken model, or a link to nothing
        return ""


def _forget(sha256: str) -> None:
    try:
        records = read_records()
    except UserError:  # damaged: nothing in it is in use, and it is left as it is
        return
    if sha256 in records.models:
        write_records(records.without(sha256))


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)  # the rest is hidden, and swept away later


def _sweep(store: Path) -> None:
    """Deletes what runs that were killed left behind."""
    for path in store.iterdir():
        if not path.name.startswith((DRAFT, TRASH)):
            continue
        try:
            old = time.time() - path.lstat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue
        if old or path.name.startswith(TRASH):
            _delete(path)


def add_model(source: Path) -> ModelEntry:
    """Copies a model folder into the user's store: all of it or nothing.

    Only model.json, the card and the files that model.json has hashes of are copied, and the
    copies are compared with the hashes.

    Args:
        source: the folder; it is only read.

    Returns:
        The model in the store.

    Raises:
        UserError: it is no whole model, one like it is there already, or it can't be copied.
    """
    source = source.absolute()  # "." has a name, too
    entry = read_entry(source)
    refuse_known(entry)
    names = sorted({*NEEDED, *entry.info.hashes})
    if missing := [name for name in names if not (source / name).is_file()]:
        raise UserError(f"{source.name} is no whole model: {missing[0]} is missing.", hint=AGAIN)
    store = store_folder()
    make_folder(store)
    require_space(store, sum((source / name).stat().st_size for name in names))
    _sweep(store)
    try:
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=store))
        try:
            _copy(entry, names, draft)
            target = _free_folder(entry)
            os.replace(draft, target)
            flush_folder(store)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{entry.title} can't be added to {store}: {reason}.") from error
    return find_model(target)


def refuse_known(entry: ModelEntry) -> None:
    """Raises UserError if the store has this model, or another one of the same identifier."""
    for other in list_models()[0]:
        if other.sha256 == entry.sha256:
            raise UserError(
                f"{other.title} is there already: {other.folder}.", hint="There is nothing to do."
            )
        if other.name.casefold() == entry.name.casefold():
            where = "came with the program" if other.built_in else f"lies in {other.folder}"
            raise UserError(
                f"Another model has the identifier {entry.name} already; it {where}.",
                hint="Remove that one first, or use the new one by its folder: --model FOLDER.",
            )


def _copy(entry: ModelEntry, names: list[str], draft: Path) -> None:
    card = entry.folder / CARD
    extra = [CARD] if card.is_file() and card.stat().st_size <= MAX_CARD_BYTES else []
    for name in [MODEL_JSON, *names, *extra]:
        copy = draft / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry.folder / name, copy)
        flush(copy)
    changed = file_sha256(draft / MODEL_JSON) != entry.sha256
    bad = [MODEL_JSON] if changed else verify(read_entry(draft))
    if bad:
        raise UserError(
            f"{entry.folder.name} is damaged: {bad[0]} is not the file that was saved.", hint=AGAIN
        )
    draft.chmod(0o755)  # mkdtemp makes folders that only their owner reads
    for folder in {(draft / name).parent for name in names} | {draft}:
        flush_folder(folder)


def _free_folder(entry: ModelEntry) -> Path:
    """Where a model goes: named after it, in letters that every file system takes."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", entry.name).strip("-")[:60] or "model"
    folder = store_folder() / plain
    reserved = re.fullmatch(r"(?i)con|prn|aux|nul|(com|lpt)\d", plain)
    if reserved or os.path.lexists(folder):
        folder = store_folder() / f"{plain}-{entry.sha256[:8]}"
    return folder
