"""One file from a hub: goes on where it stopped, and is compared with the hub's hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from engine.errors import UserError
from engine.models.hub import OFFLINE_HINT, Hub, HubFile
from engine.models.records import make_folder
from engine.models.store import file_sha256
from engine.system.atomic import flush

PARTIAL = ".partial"
CHUNK = 1 << 20
Advance = Callable[[int], object]  # told how many bytes more are there


def fetch(
    hub: Hub, repository: str, commit: str, file: HubFile, folder: Path, advance: Advance
) -> Path:
    """Downloads one file to `folder`, under its name in the repository.

    Until it is whole and has the right hash it is named NAME.partial. A partial file that is
    there already is gone on with.

    Args:
        hub: where from.
        repository: OWNER/NAME.
        commit: the exact one.
        file: its name must have been checked.
        folder: where to.
        advance: told of every byte, also of those that were there before.

    Returns:
        The file's place.

    Raises:
        UserError: the hub can't be reached or the line broke (the partial file stays), the
            content is not what the hub says (it is deleted), or the disk is full.
    """
    place = folder / file.name
    if place.is_file():
        advance(file.size)
        return place
    make_folder(place.parent)
    partial = place.with_name(place.name + PARTIAL)
    try:
        _complete(hub, repository, commit, file, partial, advance)
        flush(partial)
        _check_content(partial, file, hub)
        partial.replace(place)
    except OSError as error:
        raise UserError(f"{place} can't be written: {error.strerror or error}.") from error
    return place


def _check_content(partial: Path, file: HubFile, hub: Hub) -> None:
    """Deletes and refuses a file that is not the hub's."""
    if not is_intact(partial, file):
        partial.unlink()
        raise UserError(
            f"{file.name} is not the file that {hub.host} describes: its hash differs.",
            hint="It was deleted. Pull again; if it happens again, tell the model's owner.",
        )


def is_intact(path: Path, file: HubFile) -> bool:
    """True if a file has the size and the hash that the hub says."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256:
        return file_sha256(path) == file.sha256
    return not file.git_sha1 or _git_sha1(path) == file.git_sha1


def _git_sha1(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _complete(
    hub: Hub, repository: str, commit: str, file: HubFile, partial: Path, advance: Advance
) -> None:
    there = partial.stat().st_size if partial.is_file() else 0
    if there > file.size:
        there = 0
    if there == file.size > 0:
        advance(there)
        return
    with (
        hub.content(repository, commit, file.name, there) as (stream, first),
        partial.open("r+b" if partial.is_file() else "xb") as target,
    ):
        target.truncate(first)
        target.seek(first)
        advance(first)
        left = file.size - first
        # One byte more than there should be is asked for, so that a longer file is noticed.
        while chunk := stream.read(min(CHUNK, left + 1)):
            target.write(chunk)
            left -= len(chunk)
            if left < 0:
                return
            advance(len(chunk))
    if left > 0:
        raise UserError(
            f"The connection to {hub.host} broke off at {file.size - left} of {file.size} bytes of "
            f"{file.name}.",
            hint=OFFLINE_HINT,
        )
