"""What may be replaced: nothing but files that this program wrote itself, and never a source.

Each file says who wrote it: a PNG in its text, a NIfTI, NRRD, MetaImage or DICOM file in its
header, a JSON document in its first entry. A name alone proves nothing: ``eye.png`` may be a mask
or somebody's only photograph.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from pathlib import Path

from engine.errors import UserError
from engine.io.kinds import MANIFEST_ENDING, suffix_of
from engine.io.voxel_file import read_head

PROGRAM = "SDSeg Studio"
GENERATOR = f"{PROGRAM}, research use only"  # what a labelme file says of who wrote it
MANIFEST_FORMAT = "sdseg-manifest"
PROJECT_FORMAT = "sdseg-project"
MODEL_FILES = ("model.json", "config.json", "store.json")
# A PNG's text, a NIfTI header and the first entry of a JSON document all lie within this.
_HEAD = 2048
# NRRD and MetaImage have long headers; older ones of ours name the program behind all labels.
_HEADER_ENDS = {".nrrd": b"\n\n", ".mha": b"\nElementDataFile"}
_PNG_MARK = f"tEXtSoftware\0{PROGRAM}".encode()
_NRRD_MARK = f"\nSoftware:={PROGRAM}\n".encode()
_METAIMAGE_MARK = f"\nSoftware = {PROGRAM}\n".encode()


def check_targets(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Makes sure, before anything is written, that no file is lost by it.

    Args:
        targets: every file that is to be written, and the folder that takes them.
        sources: files and folders that are only read.

    Raises:
        UserError: a target is a source, however it is spelt, or a file of somebody else.
    """
    read = [source for source in sources if source.exists()]
    for target in targets:
        if not target.exists():
            continue
        if any(target.samefile(source) for source in read):
            raise UserError(
                f"{target.name} is read as a scan and is never overwritten.",
                hint="Choose another name or folder for the mask.",
            )
        if target.is_file():
            check_replaceable(target, *_marks(target))


def check_can_be_made(path: Path) -> None:
    """Makes sure, before anything is computed, that a file can be made in its folder.

    Raises:
        UserError: where its folder should be is a file, or nobody may write there.
    """
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "nothing can be written to that folder" if above.is_dir() else "it is a file"
        raise UserError(
            f"{path.name} can't be saved in {above.name or above}: {reason}.",
            hint="Choose another folder.",
        )


def check_replaceable(path: Path, *marks: bytes) -> None:
    """Refuses a file that is there, holds something, and has none of these marks.

    Raises:
        UserError: it is somebody else's.
    """
    if not path.exists() or any(mark in _start_of(path) for mark in marks):
        return
    if path.is_file() and path.stat().st_size == 0:
        return
    raise UserError(
        f"{path.name} is there already and was not written by {PROGRAM}, so it is not replaced.",
        hint="Choose another name or folder, or move that file away first.",
    )


def check_report(path: Path) -> None:
    """Refuses to replace anything but an older outcome: JSON that is no other file of ours.

    Raises:
        UserError: a picture, a manifest, a project or part of a model has this name.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return
    start = _start_of(path)
    others = (json_mark(MANIFEST_FORMAT), json_mark(PROJECT_FORMAT), GENERATOR.encode())
    is_other = path.name in MODEL_FILES or any(mark in start for mark in others)
    if is_other or not start.lstrip().startswith((b"{", b"[")):
        raise UserError(
            f"{path.name} is there already and is no outcome of a command, so it is not replaced.",
            hint="Choose another name with --json.",
        )


def json_mark(form: str) -> bytes:
    """How a JSON document of this program begins: with its format."""
    return f'"format": "{form}"'.encode()


def _marks(path: Path) -> tuple[bytes, ...]:
    suffix = suffix_of(path)
    line = {".png": _PNG_MARK, ".nrrd": _NRRD_MARK, ".mha": _METAIMAGE_MARK}.get(suffix)
    if line is not None:
        return (line,)
    if path.name.endswith(MANIFEST_ENDING):
        return (json_mark(MANIFEST_FORMAT),)
    return (GENERATOR.encode(),) if suffix == ".json" else (PROGRAM.encode(),)


def _start_of(path: Path) -> bytes:
    end = _HEADER_ENDS.get(suffix_of(path))
    try:
        if end is not None:
            return read_head(path, end)
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            return stream.read(_HEAD)
    except (OSError, EOFError):  # whatever it is, it is not ours
        return b""
