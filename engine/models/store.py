"""The models that are there: built-in ones and the user's own; nothing here needs torch."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from engine.errors import UserError
from engine.models.records import Records, read_records, store_folder
from engine.models.schema import MODEL_JSON, NEEDED, ModelInfo
from engine.system.resources import resource_path

MAX_JSON_BYTES = 1_000_000
BROKEN = "Get the model again, or remove its folder."


@dataclass(frozen=True)
class ModelEntry:
    """One model folder.

    Attributes:
        folder: where it is.
        info: its model.json.
        sha256: the model's hash; model.json names the hash of every other file that decides the
            answer, so the hash of model.json stands for all of them.
        built_in: True for models that come with the program.
        title: what lists show: the display name that a person gave it, else the one of model.json.
    """

    folder: Path
    info: ModelInfo
    sha256: str
    built_in: bool
    title: str

    @property
    def name(self) -> str:
        """The model's identifier."""
        return self.info.name


def read_entry(folder: Path, built_in: bool = False) -> ModelEntry:
    """Reads one model folder's description; its weights are checked when they are loaded.

    Raises:
        UserError: it is no model folder, or model.json is broken.
    """
    file = folder / MODEL_JSON
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{folder.name}: {MODEL_JSON} is too large.", hint=BROKEN)
        content = file.read_bytes()
        info = ModelInfo.model_validate_json(content)
    except FileNotFoundError as error:
        raise UserError(f"{folder.name} is not a model: {MODEL_JSON} is missing.") from error
    except ValidationError as error:
        if any(e["loc"] == ("format_version",) for e in error.errors()):
            raise UserError(
                f"{folder.name}: {MODEL_JSON} was written by another version of the program.",
                hint="Update SDSeg Studio, or get a model for this version.",
            ) from error
        raise UserError(f"{folder.name}: {MODEL_JSON} can't be read.", hint=BROKEN) from error
    except OSError as error:
        raise UserError(f"{folder.name}: {MODEL_JSON} can't be read.", hint=BROKEN) from error
    return ModelEntry(folder, info, hashlib.sha256(content).hexdigest(), built_in, info.title)


def list_models() -> tuple[list[ModelEntry], list[UserError]]:
    """All models that can be read, built-in ones first, and a sentence for each that can't."""
    records = _titles()
    entries: list[ModelEntry] = []
    broken: list[UserError] = []
    for folder, built_in in _folders():
        try:
            entry = read_entry(folder, built_in)
            entries.append(replace(entry, title=records.title(entry.sha256) or entry.info.title))
        except UserError as error:
            broken.append(error)
    return entries, broken


def store_warnings(entries: list[ModelEntry]) -> list[str]:
    """Sentences on what is odd though no model is broken.

    An identifier that several models share means the first of them, built-in ones before others;
    and `store.json` may be damaged, which costs the display names alone.
    """
    warnings: list[str] = []
    try:
        read_records()
    except UserError as error:
        warnings.append(error.message)
    sharing: dict[str, list[ModelEntry]] = defaultdict(list)
    for entry in entries:
        sharing[entry.name].append(entry)
    for name, group in sharing.items():
        if len(group) > 1:
            folders = " and ".join(str(entry.folder) for entry in group)
            warnings.append(f"{folders} share the identifier {name}, which means the first.")
    return warnings


def _titles() -> Records:
    try:
        return read_records()
    except UserError:  # `store_warnings` says it; the models are there all the same
        return Records()


def _folders() -> list[tuple[Path, bool]]:
    found: list[tuple[Path, bool]] = []
    with contextlib.suppress(UserError, OSError):  # a checkout without built-in models
        found += [(folder, True) for folder in sorted(resource_path("models").iterdir())]
    with contextlib.suppress(OSError):  # not made yet, or not ours to read
        found += [(folder, False) for folder in sorted(store_folder().iterdir())]
    return [(f, b) for f, b in found if not f.name.startswith(".") and os.path.isdir(f)]


def find_model(name_or_folder: str | Path) -> ModelEntry:
    """A model by its identifier, its display name, or the path of its folder, in this order.

    Of several with one identifier the first in the list is meant: a built-in one before the
    user's. The others can be named by their folders or display names.

    Raises:
        UserError: there is none.
    """
    text, folder = str(name_or_folder), Path(name_or_folder)
    entries, _ = list_models()
    for found in (
        [e for e in entries if e.name == text],
        [e for e in entries if e.title.casefold() == text.casefold()],
        [e for e in entries if os.path.isdir(folder) and e.folder.samefile(folder)],
    ):
        if found:
            return found[0]
    if os.path.isdir(folder):
        return read_entry(folder)
    installed = store_folder() / text
    if Path(text).name == text and os.path.isdir(installed):
        return read_entry(installed)  # a broken one says why it is
    names = ", ".join(entry.name for entry in entries) or "none"
    raise UserError(
        f"There is no model named {name_or_folder}.",
        hint=f"Installed models: {names}. A folder with a model can be named too.",
    )


def verify(entry: ModelEntry) -> list[str]:
    """Names of the files that are missing or are not what they were saved as."""
    bad: list[str] = []
    for name in sorted({*NEEDED, *entry.info.hashes}):
        file = entry.folder / name
        if not file.is_file() or file_sha256(file) != entry.info.hashes.get(name):
            bad.append(name)
    return bad


def file_sha256(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
