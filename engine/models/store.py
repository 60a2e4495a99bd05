"""The models that are there: built-in ones and the user's own; nothing here needs torch."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from engine.errors import UserError
from engine.models.schema import MODEL_JSON, NEEDED, ModelInfo
from engine.system.paths import user_data_dir
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
    """

    folder: Path
    info: ModelInfo
    sha256: str
    built_in: bool

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
    return ModelEntry(folder, info, hashlib.sha256(content).hexdigest(), built_in)


def list_models() -> tuple[list[ModelEntry], list[UserError]]:
    """All models that can be read, built-in ones first, and a sentence for each that can't."""
    entries: list[ModelEntry] = []
    broken: list[UserError] = []
    for folder, built_in in _folders():
        try:
            entries.append(read_entry(folder, built_in))
        except UserError as error:
            broken.append(error)
    return entries, broken


def _folders() -> list[tuple[Path, bool]]:
    found: list[tuple[Path, bool]] = []
    with contextlib.suppress(UserError):  # a checkout without built-in models
        found += [(folder, True) for folder in sorted(resource_path("models").iterdir())]
    user = user_data_dir() / "models"
    if user.is_dir():
        found += [(folder, False) for folder in sorted(user.iterdir())]
    return [(f, b) for f, b in found if f.is_dir() and not f.name.startswith(".")]


def find_model(name_or_folder: str | Path) -> ModelEntry:
    """A model by its name, or by the path of its folder.

    Raises:
        UserError: there is none.
    """
    entries, _ = list_models()
    for entry in entries:
        if entry.info.name == str(name_or_folder):
            return entry
    folder = Path(name_or_folder)
    if folder.is_dir():
        return read_entry(folder)
    names = ", ".join(entry.info.name for entry in entries) or "none"
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
