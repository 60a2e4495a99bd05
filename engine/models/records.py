"""What is known of a model beside its folder: `store.json`, by the model's hash.

A model folder never changes after it is written; what comes later is noted here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import UserError
from engine.system.atomic import atomic_write_text
from engine.system.paths import user_data_dir

STORE_JSON = "store.json"
MAX_STORE_BYTES = 1_000_000
MAX_TITLE = 80
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Damaged(UserError):
    """store.json can't be read as what it should be; it may be set aside."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRecord(_Frozen):
    """What came after one model was written.

    Attributes:
        title: the display name that a person gave it; None keeps the one of model.json.
    """

    title: str | None = None

    @field_validator("title")
    @classmethod
    def _title_can_be_shown(cls, title: str | None) -> str | None:
        if title is not None and title_fault(title):
            raise ValueError(title_fault(title))
        return title


class Records(_Frozen):
    """All of `store.json`.

    Attributes:
        format_version: of this file.
        models: SHA-256 of a model -> what is known of it.
    """

    format_version: Literal[1] = 1
    models: dict[Sha256, ModelRecord] = {}

    def title(self, sha256: str) -> str | None:
        """The display name that a person gave a model, or None."""
        record = self.models.get(sha256)
        return record.title if record else None

    def with_title(self, sha256: str, title: str) -> Records:
        """A copy in which a model has a display name."""
        record = self.models.get(sha256, ModelRecord()).model_copy(update={"title": title})
        return self.model_copy(update={"models": {**self.models, sha256: record}})

    def without(self, sha256: str) -> Records:
        """A copy that knows nothing of a model."""
        rest = {known: record for known, record in self.models.items() if known != sha256}
        return self.model_copy(update={"models": rest})


def title_fault(title: str) -> str:
    """Why a display name can't be taken, as half a sentence; "" if it can."""
    if not title.strip():
        return "it is empty"
    if len(title) > MAX_TITLE:
        return f"it has more than {MAX_TITLE} characters"
    if not title.isprintable():  # line ends, other control characters, marks that turn text round
        return "it has characters that can't be shown"
    return ""


def store_folder() -> Path:
    """The folder of the user's own models; it need not exist."""
    return user_data_dir() / "models"


def read_records() -> Records:
    """What `store.json` says; nothing where it is missing.

    Raises:
        Damaged: it is too large, or not of this format.
        UserError: it was written by another version of the program, or may not be read.
    """
    file = store_folder() / STORE_JSON
    try:
        if file.stat().st_size > MAX_STORE_BYTES:
            raise Damaged(f"{file} is too large.", hint=_ASIDE)
        return Records.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Records()
    except ValidationError as error:
        if any(e["loc"] == ("format_version",) for e in error.errors()):
            raise UserError(
                f"{file} was written by another version of the program; display names are "
                "left out.",
                hint="Update SDSeg Studio.",
            ) from error
        raise Damaged(f"{file} is damaged; display names are left out.", hint=_ASIDE) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{file} can't be read: {reason}.") from error


def write_records(records: Records) -> None:
    """Saves `store.json` all or nothing.

    Raises:
        UserError: it can't be written, or would become too large.
    """
    content = records.model_dump_json(indent=1)
    if len(content.encode("utf-8")) > MAX_STORE_BYTES:
        raise UserError(f"{STORE_JSON} has no room left.", hint="Remove models that nobody uses.")
    folder = store_folder()
    make_folder(folder)
    atomic_write_text(folder / STORE_JSON, content)


def records_to_change() -> Records:
    """As `read_records`; a damaged file is renamed first, so that it is never overwritten.

    Raises:
        UserError: of another version, may not be read, or can't be renamed.
    """
    try:
        return read_records()
    except Damaged:
        set_aside(store_folder() / STORE_JSON)
        return Records()


def set_aside(file: Path) -> Path:
    """Renames a damaged file to the first free `NAME.damaged-N`; its new place.

    Raises:
        UserError: it can't be renamed.
    """
    number = 1
    while (kept := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    try:
        os.rename(file, kept)
    except OSError as error:
        raise UserError(f"{file} is damaged and can't be set aside: {error.strerror}.") from error
    return kept


def make_folder(folder: Path) -> None:
    """Makes a folder of the user's data if it is missing.

    Raises:
        UserError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} can't be made: {error.strerror or error}.") from error


_ASIDE = f"It is kept as {STORE_JSON}.damaged-1 once a display name changes."
