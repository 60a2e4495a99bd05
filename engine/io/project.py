"""The project file: one JSON document that remembers cases and the work on them."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.domain.box import Box
from engine.domain.case import Case
from engine.domain.grid import Grid
from engine.domain.label_map import LabelMap
from engine.domain.labels import Label, LabelList
from engine.domain.manifest import ModelUse
from engine.domain.review import ReviewState
from engine.errors import UserError
from engine.io.doors import BegunCase, Progress, begin_case
from engine.io.kinds import reading, writing
from engine.io.manifests import APPLICATION
from engine.io.replacing import PROJECT_FORMAT, check_replaceable, json_mark
from engine.system.atomic import atomic_write_text

PROJECT_SUFFIX = ".sdseg.json"
_VERSION = 1

Index3 = tuple[int, int, int]
Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Level, Level, Level]
# Before the bytes, in hex, of a path that is no text.
AS_BYTES = "bytes:"
# Slice index -> zlib in base64.
PackedSlices = dict[Annotated[int, Field(ge=0)], str]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelEntry(_Strict):
    """One label."""

    id: int = Field(ge=1, le=255)
    name: str
    colour: Colour
    locked: bool = False
    visible: bool = True
    concept: tuple[str, str, str] | None = None


class BoxEntry(_Strict):
    """A box, half-open, in the array's order (k, j, i)."""

    start: Index3
    stop: Index3


class CaseEntry(_Strict):
    """A case and the work on it; the scan itself stays where it is.

    Attributes:
        source: absolute path of the scan's file or folder.
        nearby: its path seen from the project file; used if `source` is gone.
        series: one-way hash of the DICOM series, or "".
        modality: of the scan; put back where the file itself does not say (NIfTI).
        shape, affine, plane: the grid the labels were drawn on; no shape for a case that was
            listed but never opened.
        label_map, origins: slices that hold anything, along `plane`.
        model: name of the model that the user chose, "" for none; None is the automatic choice.
        model_use: which model proposed last, or None.
        validation: belongs to the frozen validation split, which no model learns from.
    """

    name: str
    source: str
    nearby: str = ""
    series: str = ""
    modality: str = ""
    patient_key: str = ""
    shape: Index3 | None = None
    affine: tuple[tuple[float, float, float, float], ...] = ()
    plane: int = Field(default=0, ge=0, le=2)
    labels: list[LabelEntry] = []
    box: BoxEntry | None = None
    review: ReviewState = ReviewState.NEW
    slice_review: dict[int, ReviewState] = {}
    label_map: PackedSlices = {}
    origins: PackedSlices = {}
    model: str | None = None
    model_use: ModelUse | None = None
    validation: bool = False

    @model_validator(mode="after")
    def _work_belongs_to_the_grid(self) -> CaseEntry:
        """Labels are one of a kind, and work lies on slices that there are."""
        if len({label.id for label in self.labels}) != len(self.labels):
            raise ValueError("two labels have one id")
        if self.source.startswith(AS_BYTES):
            bytes.fromhex(self.source.removeprefix(AS_BYTES))  # ValueError where it is none
        if self.shape is None:
            return self
        affine = np.array(self.affine)
        if min(self.shape) < 1 or affine.shape != (4, 4):
            raise ValueError("a grid needs a shape and an affine")
        if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0.0:
            raise ValueError("the affine maps nowhere")
        slices = {*self.label_map, *self.origins, *self.slice_review}
        if slices and not 0 <= min(slices) <= max(slices) < self.shape[self.plane]:
            raise ValueError("a slice lies outside the scan")
        return self


class ProjectFile(_Strict):
    """All of a project file.

    Attributes:
        cases: in the order of the case list.
        current: index of the case that was open.
        model: name of the chosen model, or "" for the automatic choice.
    """

    format: Literal["sdseg-project"] = PROJECT_FORMAT
    version: Literal[1] = _VERSION
    application: str = APPLICATION
    cases: list[CaseEntry] = []
    current: int = 0
    model: str = ""


def entry_of(case: Case) -> CaseEntry:
    """A case as it is kept in a project."""
    scan = case.scan
    return CaseEntry(
        name=case.name,
        source=str(case.source.absolute()),
        series=scan.stored.series,
        modality=scan.modality,
        patient_key=case.patient_key,
        shape=scan.grid.shape,
        affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in scan.grid.affine),
        plane=scan.plane,
        labels=[LabelEntry(**vars(label)) for label in case.labels],
        box=BoxEntry(start=case.box.start, stop=case.box.stop) if case.box else None,
        review=case.review,
        slice_review=dict(case.slice_review),
        label_map=_pack_label_map(case.label_map),
        origins={i: _pack(bits) for i, bits in case.label_map.origins.packed_slices().items()},
    )


def bare_entry(source: Path, name: str, series: str = "") -> CaseEntry:
    """A case that was listed but never opened: nothing is known of it but where it is."""
    shown = name.encode("utf-8", "replace").decode("utf-8")
    return CaseEntry(name=shown, source=_as_text(source.absolute()), series=series)


def case_of(entry: CaseEntry) -> Case:
    """Opens the scan of an entry and puts the work back.

    Raises:
        UserError: the scan is gone, can't be read, or is not the one the labels were drawn on.
    """
    begun = begin_case_of(entry)
    begun.finish(None)
    return begun.case


def begin_case_of(
    entry: CaseEntry,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> BegunCase:
    """As `case_of`, but slices of a long DICOM series may be left to read; see `begin_case`."""
    source = Path(entry.source)
    begun = begin_case(source, series=entry.series, progress=progress, check=check)
    begun.case.name = entry.name
    if entry.shape is not None:
        _put_back(begun.case, entry, entry.shape)
    return begun


def _put_back(case: Case, entry: CaseEntry, shape: Index3) -> None:
    source = Path(entry.source)
    grid = Grid(shape, np.array(entry.affine))
    if not case.scan.grid.same_place(grid) or case.scan.plane != entry.plane:
        raise UserError(
            f"{source.name} has changed since the project was saved: its grid is another one.",
            hint="Put the old file back; the labels stay in the project.",
        )
    with _unpacking(source.name):
        case.label_map = _unpack_label_map(entry, shape)
    if not case.scan.modality:
        case.scan = replace(case.scan, modality=entry.modality)
    case.labels = LabelList(tuple(Label(**dict(label)) for label in entry.labels))
    box = Box(entry.box.start, entry.box.stop).clipped(shape) if entry.box else None
    case.box = None if box is None or box.is_empty else box
    case.review = entry.review
    case.slice_review = dict(entry.slice_review)
    case.patient_key = entry.patient_key


def label_slices(entry: CaseEntry) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The slices of an entry that hold labels, uint8 [rows, columns], without opening its scan.

    Raises:
        UserError: they are damaged.
    """
    rows, columns = _slice_shape(entry, entry.shape or (1, 1, 1))
    with _unpacking(Path(entry.source).name):
        for index, text in entry.label_map.items():
            yield index, _unpack(text, rows * columns).reshape(rows, columns)


@contextmanager
def _unpacking(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, IndexError, zlib.error) as error:
        raise UserError(
            f"The labels of {name} in the project are damaged.",
            hint="Open an older copy of the project.",
        ) from error


def write_project(path: Path, project: ProjectFile) -> None:
    """Writes a project, all of it or nothing.

    Raises:
        UserError: the disk refused, or a file that is no project lies there; it stays as it was.
    """
    check_replaceable(path, json_mark(PROJECT_FORMAT))
    folder = path.absolute().parent
    cases = [_placed(entry, folder) for entry in project.cases]
    text = project.model_copy(update={"cases": cases}).model_dump_json(indent=1)
    with writing(path):
        atomic_write_text(path, text + "\n")


def read_project(path: Path) -> ProjectFile:
    """Reads a project; sources that moved together with it are found again.

    Raises:
        UserError: it can't be read, or is no project of this version.
    """
    with reading(path):
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    _check_version(path, content)
    try:
        project = ProjectFile.model_validate(content)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{path.name} is damaged: {place or 'its content'} can't be understood.",
            hint="Open an older copy of the project.",
        ) from error
    folder = path.absolute().parent
    cases = [c.model_copy(update={"source": _found_source(c, folder)}) for c in project.cases]
    return project.model_copy(update={"cases": cases})


def _check_version(path: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != PROJECT_FORMAT:
        raise UserError(
            f"{path.name} is not a project of SDSeg Studio.",
            hint="Projects are the files that Save project wrote.",
        )
    version = content.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise UserError(
            f"{path.name} was written by a newer version of the program.",
            hint="Update SDSeg Studio, then open it again.",
        )


def _as_text(path: Path) -> str:
    """A path as JSON can hold it; a name that is no UTF-8 (it may be listed) becomes hex."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return AS_BYTES + os.fsencode(path).hex()
    return str(path)


def _placed(entry: CaseEntry, folder: Path) -> CaseEntry:
    """An entry that says where its source is, seen from the project's folder too."""
    known = entry.source.startswith(AS_BYTES)
    source = entry.source if known else _as_text(Path(entry.source))
    return entry.model_copy(update={"source": source, "nearby": _nearby(source, folder)})


def _nearby(source: str, folder: Path) -> str:
    if source.startswith(AS_BYTES):
        return ""
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # another drive
        return ""


def _found_source(entry: CaseEntry, folder: Path) -> str:
    if entry.source.startswith(AS_BYTES):
        return os.fsdecode(bytes.fromhex(entry.source.removeprefix(AS_BYTES)))
    if entry.nearby and not Path(entry.source).exists() and (folder / entry.nearby).exists():
        return str((folder / entry.nearby).resolve())
    return entry.source


def _pack(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).data, 3)).decode("ascii")


def _unpack(text: str, size: int) -> NDArray[np.uint8]:
    """Exactly `size` bytes, or ValueError; never allocates more."""
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)
    if len(raw) != size or not unpacker.eof:
        raise ValueError(f"{len(raw)} bytes, expected {size}")
    return np.frombuffer(raw, dtype=np.uint8)


def _pack_label_map(label_map: LabelMap) -> dict[int, str]:
    count = label_map.shape[label_map.plane]
    slices = ((index, label_map.slice(index)) for index in range(count))
    return {index: _pack(values) for index, values in slices if values.any()}


def _unpack_label_map(entry: CaseEntry, shape: Index3) -> LabelMap:
    values = np.zeros(shape, dtype=np.uint8)
    rows, columns = _slice_shape(entry, shape)
    for index, text in entry.label_map.items():
        place = (slice(None),) * entry.plane + (index,)
        values[place] = _unpack(text, rows * columns).reshape(rows, columns)
    label_map = LabelMap(shape, entry.plane, values)
    size = -(-rows * columns // 4)
    label_map.origins.load_packed({i: _unpack(text, size) for i, text in entry.origins.items()})
    return label_map


def _slice_shape(entry: CaseEntry, shape: Index3) -> tuple[int, int]:
    rows, columns = (n for axis, n in enumerate(shape) if axis != entry.plane)
    return rows, columns
