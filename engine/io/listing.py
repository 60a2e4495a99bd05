"""What a folder holds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import UserError
from engine.io.kinds import (
    MANIFEST_ENDING,
    Kind,
    is_dicomdir,
    kind_by_name,
    kind_of,
    looks_like_dicom,
    natural_key,
    stem_of,
)

MANIFEST_SUFFIX = MANIFEST_ENDING
# Of the mask of one slice of a volume: NAME_0007.png.
SLICE_NUMBER = re.compile(r"_([0-9]{4,})\.png$", re.IGNORECASE)
OVERLAY_SUFFIX = ".overlay.png"
# What people call a mask: eye_mask, eye-seg, mask_eye.
MASK_WORDS = r"(?:mask|masks|seg|segmentation|label|labels|gt|annotation|groundtruth)"
_MASK_NAME = re.compile(rf"(.+)[ _.-]{MASK_WORDS}|{MASK_WORDS}[ _.-](.+)", re.DOTALL)
DEEPEST = 8  # levels of folders in which DICOM files are looked for
MOST_FOLDERS = 5000  # that are looked at: a whole disk is none that somebody means to open
LOOKED_AT = 16  # files of a folder that tell whether it holds DICOM

Progress = Callable[[int, int], None]


def list_cases(path: Path, progress: Progress | None = None) -> list[Path]:
    """The cases behind a path, in natural order.

    A folder gives its pictures and NIfTI files. Left out are masks that this program wrote beside
    them, and files named as the mask of another one (``eye_mask.png`` beside ``eye.jpg``). A folder
    with DICOM files is one case itself. Where a folder holds nothing that opens, its DICOMDIR is
    the case, or else the folders with DICOM files below it. A file is itself.

    Args:
        path: file or folder.
        progress: called with (folders looked at, 0, as nobody knows how many there are) for each
            folder and before each file that may be DICOM; may raise `Cancelled`.

    Raises:
        UserError: nothing there can be opened, or too many folders would have to be looked at.
    """
    if kind_of(path) is not Kind.FOLDER:
        return [path]
    tell = progress or _nobody
    try:
        files = sorted((p for p in path.iterdir() if _is_visible_file(p)), key=natural_key)
    except OSError as error:
        raise UserError(
            f"The folder {path.name} can't be read.", hint="Ask for the right to read it."
        ) from error
    cases = [p for p in files if kind_by_name(p) is not None and not is_own_mask(p)]
    stems = {stem_of(p).casefold() for p in cases}
    cases = [p for p in cases if not mask_names(stem_of(p)) & stems]
    if any(_is_dicom(p) for p in _each(files, lambda: tell(0, 0))):
        cases.append(path)
    if not cases:
        cases = [p for p in files if is_dicomdir(p)] or _dicom_folders_below(path, tell)
    if not cases:
        raise UserError(
            f"The folder {path.name} holds no picture, NIfTI or DICOM file.",
            hint=_where_else(path),
        )
    return cases


def mask_names(stem: str) -> set[str]:
    """The stems, in small letters, that a file is the mask of by its own: ``eye_mask`` of eye."""
    hit = _MASK_NAME.fullmatch(stem.casefold())
    return set() if hit is None else {group for group in hit.groups() if group}


def is_own_mask(path: Path) -> bool:
    """True for a mask or overlay that this program wrote: its manifest lies beside it."""
    if path.name.lower().endswith(OVERLAY_SUFFIX):
        return True
    beside = manifest_of(path)
    if not beside.is_file():
        return False
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # retina.png may be the picture and retina.nii.gz its mask: the manifest names the picture.
    return isinstance(manifest, dict) and manifest.get("source") != path.name


def manifest_of(mask: Path) -> Path:
    """``NAME.manifest.json`` beside a mask; all slices ``NAME_0007.png`` share one."""
    beside = mask.with_name(stem_of(mask) + MANIFEST_SUFFIX)
    numbered = SLICE_NUMBER.search(mask.name)
    if numbered is None or beside.is_file():
        return beside
    return mask.with_name(mask.name[: numbered.start()] + MANIFEST_SUFFIX)


def _dicom_folders_below(path: Path, tell: Progress) -> list[Path]:
    """Folders with DICOM files, at most `DEEPEST` levels down; some files of each are looked at.

    Raises:
        UserError: there are more than `MOST_FOLDERS`.
    """
    found: list[Path] = []
    for count, (folder, folders, files) in enumerate(os.walk(path)):
        if count > MOST_FOLDERS:
            raise _too_many(path, found)
        here = Path(folder)
        depth = len(here.relative_to(path).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if depth < DEEPEST else []
        visible = [here / name for name in sorted(files) if not name.startswith(".")][:LOOKED_AT]
        tell(count, 0)
        if here != path and any(_is_dicom(p) for p in _each(visible, lambda n=count: tell(n, 0))):
            found.append(here)
    return sorted(found, key=lambda p: [natural_key(Path(part)) for part in p.parts])


def _each(files: list[Path], before: Callable[[], None]) -> Iterator[Path]:
    """The files, one by one; `before` may end it: on a slow disk each takes its time."""
    for file in files:
        before()
        yield file


def _nobody(_done: int, _total: int) -> None:
    """Nobody wants to know how far it is."""


def _too_many(path: Path, found: list[Path]) -> UserError:
    """What to say of a folder that is more than one study."""
    where = f", for example {found[0].relative_to(path)}" if found else ""
    return UserError(
        f"The folder {path.name or path} holds no case itself, and more than {MOST_FOLDERS} "
        "folders below it.",
        hint=f"Open a folder nearer to the images{where}.",
    )


def _is_dicom(path: Path) -> bool:
    # A DICOMDIR is only the table of contents of the folders beside it.
    return kind_by_name(path) is None and looks_like_dicom(path) and not is_dicomdir(path)


def _is_visible_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _where_else(path: Path) -> str:
    folders = sorted((p.name for p in path.iterdir() if p.is_dir()), key=str.casefold)
    if not folders:
        return "Choose another folder."
    return f"Open one of its folders: {', '.join(folders[:3])}{' ...' if folders[3:] else ''}."
