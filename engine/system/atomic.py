"""Saving all or nothing.

The new content goes to a temporary file beside the target, is flushed to the disk, and replaces
the target in one step. Whatever fails before that step leaves the old file as it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.errors import UserError

DRAFT_PREFIX = ".~"  # of unfinished files; after a crash they may be deleted


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; on success it becomes `path`.

    The temporary name ends with the target's own name, so that libraries which look at the ending
    (``.nii.gz``) do the right thing.

    Args:
        path: the file to replace or create; its folder must exist.

    Raises:
        UserError: the folder is missing or read-only, or the disk is full. Nothing is left behind
            and the old file stays.
    """
    draft: Path | None = None
    try:
        draft = _draft_beside(path)
        yield draft
        flush(draft)
        os.replace(draft, path)
        flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path.name} can't be saved: {reason}.",
            hint="Choose another folder, or free some space, and save again.",
        ) from error
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Saves bytes all or nothing; see `atomic_write`."""
    with atomic_write(path) as draft:
        draft.write_bytes(content)


def atomic_write_text(path: Path, content: str) -> None:
    """Saves text as UTF-8 all or nothing; see `atomic_write`."""
    atomic_write_bytes(path, content.encode("utf-8"))


@contextlib.contextmanager
def draft_beside(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk to work in; whatever is left of it goes in the end.

    Raises:
        UserError: nothing can be written there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder.name} can't be written: {error.strerror}.") from error
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def publish_folder(draft: Path, folder: Path) -> None:
    """Gives a finished draft its name; after a crash there is all of it or nothing.

    Args:
        draft: from `draft_beside`; whatever it holds is flushed to the disk first.
        folder: must not exist.

    Raises:
        UserError: the disk refused.
    """
    try:
        for path in draft.rglob("*"):
            if path.is_file():
                flush(path)
            else:
                flush_folder(path)
        draft.chmod(0o755)
        flush_folder(draft)
        os.replace(draft, folder)
        flush_folder(folder.parent)
    except OSError as error:
        raise UserError(f"{folder.name} can't be written: {error.strerror}.") from error


def _draft_beside(path: Path) -> Path:
    # A short random prefix: a long file name must not become too long by being saved.
    handle, name = tempfile.mkstemp(prefix=DRAFT_PREFIX, suffix=_ending(path), dir=path.parent)
    os.close(handle)
    draft = Path(name)
    # mkstemp makes files that only their owner reads; a saved file is like any other.
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    draft.chmod(mode)
    return draft


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flush(file: Path) -> None:
    """Waits until a file's content is on the disk."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    if os.name == "nt":  # Windows has no handle on a folder to flush
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
