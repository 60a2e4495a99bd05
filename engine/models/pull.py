"""`models pull`: a repository of a hub, or a local folder, becomes a model or starting weights."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.models.change import add_model, refuse_known
from engine.models.download import fetch, is_intact
from engine.models.hub import Hub, HubFile, Listing
from engine.models.records import make_folder
from engine.models.schema import CARD, MODEL_JSON
from engine.models.store import ModelEntry, read_entry
from engine.system.atomic import flush_folder
from engine.system.disk import GB, require_space
from engine.system.paths import user_data_dir

MAX_TOTAL_BYTES = 20_000_000_000
MAX_TEXT_BYTES = 20_000_000  # of everything but weights
USUAL = (".json", ".safetensors")
WEIGHTS = (".ckpt", ".safetensors")  # a .ckpt only where it is named, and alone
TEXTS = {CARD, "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"}
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|(com|lpt)\d)(\..*)?")


@dataclass(frozen=True)
class Pulled:
    """What came of a pull.

    Attributes:
        source: OWNER/NAME, or the local folder.
        commit: of the repository; "" for a local folder.
        folder: where it is now.
        files: what was taken.
        model: the model in the store; None for starting weights.
    """

    source: str
    commit: str
    folder: Path
    files: tuple[HubFile, ...]
    model: ModelEntry | None


@dataclass(frozen=True)
class Progress:
    """Whom a pull tells how far it is: bytes in all first, then how many more are there."""

    begin: Callable[[int], object] = lambda _total: None
    advance: Callable[[int], object] = lambda _count: None


def pull(
    source: str,
    revision: str = "",
    names: Sequence[str] = (),
    progress: Progress | None = None,
) -> Pulled:
    """Takes a model into the store, or starting weights into `weights`.

    Nothing shows under its final name before all of it is there and has the right hashes.

    Args:
        source: OWNER/NAME on the hub, or a folder; a folder of that name wins.
        revision: branch, tag or commit; "" is the hub's main branch.
        names: files, or folders of files, to take alone; empty for configuration, weights in
            safetensors, card and licence.
        progress: told how far it is.

    Raises:
        UserError: whatever a person can mend; what was downloaded stays for the next try.
    """
    progress = progress or Progress()
    if Path(source).expanduser().is_dir():
        return _pull_folder(Path(source).expanduser(), revision, names, progress)
    if not REPOSITORY.fullmatch(source) or ".." in source or "--" in source:
        raise UserError(
            f"{source} is neither a folder nor OWNER/NAME of a repository.",
            hint="As in: sdseg models pull stabilityai/sd-vae-ft-mse",
        )
    hub = Hub()
    listing = hub.listing(source, revision)
    files = choose_files(listing.files, names)
    _check_size(files, source)
    return _pull_repository(hub, source, listing, files, progress)


def choose_files(files: Sequence[HubFile], names: Sequence[str] = ()) -> tuple[HubFile, ...]:
    """The files of a repository that are wanted; model.json first, then the small ones.

    Raises:
        UserError: one is asked for that is not there or not allowed, one has a name that leads
            out of the folder, or there is none.
    """
    if names:
        chosen = _named_files(files, names)
    else:
        chosen = [file for file in files if _is_usual(file.name)]
    for file in chosen:
        if not is_safe_name(file.name):
            raise UserError(
                f"The repository has a file that would leave its folder: {file.name!r}.",
                hint="Don't use this repository.",
            )
    if not any(file.name.endswith(WEIGHTS) for file in chosen):
        raise UserError(
            "There are no weights in safetensors among these files.",
            hint="A .ckpt can be named alone with --file; it is then for import-checkpoint.",
        )
    return tuple(sorted(chosen, key=lambda file: (file.name != MODEL_JSON, file.size, file.name)))


def is_safe_name(name: str) -> bool:
    """True if a repository's file name stays inside a folder, on every system."""
    if not name.isprintable() or len(name) > 500 or any(sign in name for sign in '\\:*?"<>|'):
        return False
    return all(_is_safe_part(part) for part in name.split("/"))


def _is_safe_part(part: str) -> bool:
    """No "", "." or "..", nothing that Windows reads as something else."""
    ends_plainly = part == part.strip(" ") and not part.endswith(".")
    return 0 < len(part) <= 200 and ends_plainly and not RESERVED.fullmatch(part)


def _is_usual(name: str) -> bool:
    """Configuration, safetensors, card and licence; nothing hidden, nothing that can run."""
    *folders, last = name.split("/")
    if any(part.startswith(".") and part.strip(".") for part in (*folders, last)):
        return False
    return last.endswith(USUAL) or last in TEXTS


def _named_files(files: Sequence[HubFile], names: Sequence[str]) -> list[HubFile]:
    chosen: dict[str, HubFile] = {}
    for name in names:
        alone = len(names) == 1 and name.endswith(WEIGHTS)
        exact = [file for file in files if file.name == name]
        if exact and not alone and not _is_usual(name):
            raise UserError(
                f"{name} is not downloaded: only JSON, safetensors, card and licence are.",
                hint="A single .ckpt may be named, without other files.",
            )
        below = [f for f in files if f.name.startswith(f"{name}/") and _is_usual(f.name)]
        if not exact and not below:
            raise UserError(f"The repository has no file {name}.", hint="Check the name.")
        chosen |= {file.name: file for file in exact or below}
    return list(chosen.values())


def _check_size(files: Sequence[HubFile], source: str) -> None:
    for file in files:
        if not file.name.endswith(WEIGHTS) and file.size > MAX_TEXT_BYTES:
            raise UserError(f"{file.name} of {source} is too large: {file.size} bytes.")
    total = sum(file.size for file in files)
    if total > MAX_TOTAL_BYTES:
        raise UserError(
            f"{source} has {total / GB:.0f} GB, more than the {MAX_TOTAL_BYTES / GB:.0f} GB that "
            "are taken at once.",
            hint="Name the files or folders that you need with --file.",
        )


def _pull_repository(
    hub: Hub, repository: str, listing: Listing, files: tuple[HubFile, ...], progress: Progress
) -> Pulled:
    is_model = any(file.name == MODEL_JSON for file in files)
    final = weights_folder() / repository.replace("/", "--")
    progress.begin(total := sum(file.size for file in files))
    if not is_model and os.path.lexists(final):
        if not all(is_intact(final / file.name, file) for file in files):
            _refuse_taken(final)
        progress.advance(total)
        return Pulled(repository, listing.commit, final, files, None)
    draft = _draft(hub, repository, listing, files)
    require_space(draft, total * (2 if is_model else 1) - _bytes_below(draft))
    for file in files:
        place = fetch(hub, repository, listing.commit, file, draft, progress.advance)
        if file.name == MODEL_JSON:  # the first: no gigabytes for a model that can't be added
            refuse_known(read_entry(place.parent))
    if is_model:
        entry = add_model(draft)
        final = entry.folder
    else:
        entry = None
        _appear(draft, final)
    for left in downloads_folder().glob(f"{repository.replace('/', '--')}@*"):
        shutil.rmtree(left, ignore_errors=True)
    return Pulled(repository, listing.commit, final, files, entry)


def _pull_folder(source: Path, revision: str, names: Sequence[str], progress: Progress) -> Pulled:
    """As from a hub, but nothing says what the hashes should be."""
    if revision:
        raise UserError(f"{source} is a folder, which has no revisions.", hint="Leave --revision.")
    source = source.absolute()
    found = sorted(p for p in source.rglob("*") if p.is_file())
    everything = [HubFile(p.relative_to(source).as_posix(), p.stat().st_size) for p in found]
    files = choose_files(everything, names)
    _check_size(files, source.name)
    progress.begin(total := sum(file.size for file in files))
    if any(file.name == MODEL_JSON for file in files):
        entry = add_model(source)
        progress.advance(total)
        return Pulled(str(source), "", entry.folder, files, entry)
    final = weights_folder() / source.name
    if os.path.lexists(final):
        _refuse_taken(final)
    draft = downloads_folder() / f"{source.name}@folder"
    require_space(draft, total)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for file in files:
            (draft / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file.name, draft / file.name)
            progress.advance(file.size)
        _appear(draft, final)
    except OSError as error:
        raise UserError(f"{source} can't be copied: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Pulled(str(source), "", final, files, None)


def weights_folder() -> Path:
    """Where starting weights go; a folder a repository."""
    return user_data_dir() / "weights"


def downloads_folder() -> Path:
    """Where downloads that are not complete wait."""
    return user_data_dir() / "downloads"


def _draft(hub: Hub, repository: str, listing: Listing, files: Sequence[HubFile]) -> Path:
    """The same folder for the same files of the same commit, so that a new try finds the rest."""
    wanted = [hub.endpoint, listing.commit, *(repr(file) for file in files)]
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:16]
    draft = downloads_folder() / f"{repository.replace('/', '--')}@{digest}"
    make_folder(draft)
    return draft


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _appear(draft: Path, final: Path) -> None:
    make_folder(final.parent)
    try:
        os.rename(draft, final)
        flush_folder(final.parent)
    except OSError as error:
        raise UserError(f"{final} can't be made: {error.strerror or error}.") from error


def _refuse_taken(folder: Path) -> None:
    raise UserError(
        f"{folder} is there already, with other files.",
        hint="Rename or delete that folder, then pull again.",
    )
