"""The cases of a project as something to learn from: only what a person has looked at."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.domain.box import Box, full_box
from engine.domain.review import ReviewState
from engine.domain.volume import PLANE_AXIS, Volume
from engine.errors import UserError
from engine.evaluation.pairs import Pair
from engine.io.kinds import file_stem, stem_of
from engine.io.project import (
    CaseEntry,
    LabelEntry,
    ProjectFile,
    case_of,
    label_slices,
    read_project,
)
from engine.training.patients import patient_in
from engine.training.sources import LoadedCase

# What `Case.patient_key` holds where DICOM tells the patient; elsewhere it is the case's name.
_DICOM_KEY = re.compile(r"[0-9a-f]{24}")
LOOKED_AT = frozenset({ReviewState.CORRECTED, ReviewState.APPROVED})


class Named(Protocol):
    """One target or class of a model."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def class_ids(self) -> tuple[int, ...]: ...  # noqa: D102


class Finds(Protocol):
    """`TrainOptions` and `ModelInfo`: what a model finds, and along which plane it slices."""

    @property
    def targets(self) -> Sequence[Named]: ...  # noqa: D102

    @property
    def classes(self) -> Mapping[int, str]: ...  # noqa: D102

    @property
    def plane(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Wanted:
    """What a model learns from the labels of a project, which are told apart by their names.

    Attributes:
        values: name of a label -> its value in `LoadedCase.truth`.
        joined: targets of several classes; a label of that name could be any of them.
        plane: "scan", "axial", "coronal" or "sagittal".
    """

    values: Mapping[str, int]
    joined: frozenset[str]
    plane: str = "scan"

    @classmethod
    def of(cls, model: Finds) -> Wanted:
        """What options or a model ask for; a single target takes the label of its own name.

        Raises:
            UserError: two classes have one name.
        """
        if len(model.targets) == 1:
            target = model.targets[0]
            return cls({_folded(target.name): target.class_ids[0]}, frozenset(), model.plane)
        values: dict[str, int] = {}
        for number, name in model.classes.items():
            if _folded(name) in values:
                raise UserError(
                    f"Two classes of the model are called {name}.",
                    hint="The labels of a project are told apart by their names.",
                )
            values[_folded(name)] = number
        joined = {_folded(t.name) for t in model.targets if len(t.class_ids) > 1}
        return cls(values, frozenset(joined - values.keys()), model.plane)

    def axis(self, entry: CaseEntry) -> int:
        """The axis that the model slices the entry's scan along."""
        return entry.plane if self.plane == "scan" else PLANE_AXIS[self.plane]

    def table(self, labels: Iterable[LabelEntry]) -> NDArray[np.uint8]:
        """256 values: label id of a case -> value in `LoadedCase.truth`; 0: not learned."""
        found = np.zeros(256, dtype=np.uint8)
        for label in labels:
            found[label.id] = self.values.get(_folded(label.name), 0)
        return found


def _folded(name: str) -> str:
    return name.strip().casefold()


@dataclass(frozen=True, eq=False)
class ProjectSource:
    """A case of a project; a `CaseSource`.

    Attributes:
        name: of the case, unlike those of the other cases of the run.
        place: index in the project.
        entry: the case as the project keeps it.
        project: the project's file.
        wanted: what is learned.
        shows: values of `LoadedCase.truth` that occur where a person has looked.
    """

    name: str
    place: int
    entry: CaseEntry
    project: Path
    wanted: Wanted
    shows: frozenset[int]

    @property
    def group(self) -> str:
        """The same for two cases of one patient."""
        return group_of(self.entry)

    @property
    def content(self) -> str:
        """A hash of what is learned from it; the pixels of the scan do not count."""
        parts = {"labels", "box", "review", "slice_review", "label_map", "shape", "plane"}
        kept = self.entry.model_dump_json(include=parts)
        return hashlib.sha256(kept.encode()).hexdigest()

    @property
    def pair(self) -> Pair:
        """For scores."""
        box = _box_of(self.entry) if self.entry.box else None
        image = Path(self.entry.source)
        slices = looked_at(self.entry)
        return ProjectPair(self.name, image, self.project, slices, box, source=self)

    def load(self) -> LoadedCase:
        """Opens the scan; the truth holds the model's values, background where nobody looked.

        Raises:
            UserError: the scan is gone, can't be read, or lies on another grid than the labels.
        """
        try:
            case = case_of(self.entry)
        except UserError as error:
            raise UserError(
                f"The case {self.entry.name} of {self.project.name}: {error.message}",
                hint=error.hint,
            ) from error
        if not case.scan.is_even and self.wanted.axis(self.entry) != case.scan.plane:
            raise UserError(
                f"The case {self.entry.name} of {self.project.name} has slices that lie unevenly, "
                "and the model works across them.",
                hint="Take the case out of the project, or choose another model.",
            )
        truth = self.wanted.table(self.entry.labels)[case.label_map.array]
        slices = looked_at(self.entry)
        if not case.scan.loaded.all() and self.wanted.axis(self.entry) == case.scan.plane:
            there = np.flatnonzero(case.scan.loaded).tolist()
            slices = tuple(n for n in there if slices is None or n in slices)
        if slices is not None and self.wanted.axis(self.entry) != case.scan.plane:
            slices = None  # `why_not` has seen that nothing unseen lies inside the box
        return LoadedCase(case.scan, truth, slices, case.box)


@dataclass(frozen=True, kw_only=True)
class ProjectPair(Pair):
    """A case of a project as something to score on; where nobody looked nothing is compared."""

    source: ProjectSource

    def open(self) -> Volume:
        """The scan; see `ProjectSource.load`."""
        return self.read()[0]

    def read(
        self, tell: Callable[[str], None] = lambda _: None
    ) -> tuple[Volume, NDArray[np.uint8]]:
        """The scan and the model's values; see `ProjectSource.load`."""
        case = self.source.load()
        for text in case.remarks:
            tell(text)
        return case.scan, case.truth


@dataclass(frozen=True)
class ProjectCases:
    """What a project offers to a model.

    Attributes:
        project: the project's file.
        usable: cases to learn from or to check with.
        left_out: (name, reason) of the others.
        unlearned: labels of usable cases that the model does not know; they become background.
        held: patients of the frozen validation split, also where their cases can't be used now.
        held_names: its cases.
    """

    project: Path
    usable: tuple[ProjectSource, ...]
    left_out: tuple[tuple[str, str], ...]
    unlearned: tuple[str, ...]
    held: frozenset[str]
    held_names: tuple[str, ...]


def read_cases(path: Path, wanted: Wanted) -> ProjectCases:
    """The cases of a project file.

    Raises:
        UserError: the file can't be read, or its labels are damaged.
    """
    return cases_of(read_project(path), path, wanted)


def cases_of(project: ProjectFile, path: Path, wanted: Wanted) -> ProjectCases:
    """The cases of a project that is open; scans are not opened.

    Raises:
        UserError: labels are damaged.
    """
    usable: list[ProjectSource] = []
    left_out: list[tuple[str, str]] = []
    unlearned: set[str] = set()
    names: set[str] = set()
    for place, entry in enumerate(project.cases):
        reason = why_not(entry, wanted)
        if reason:
            left_out.append((entry.name, reason))
            continue
        seen, table = _values_seen(entry), wanted.table(entry.labels)
        unlearned |= {x.name for x in entry.labels if x.id in seen and not table[x.id]}
        shows = frozenset(int(table[n]) for n in seen) - {0}
        name = _distinct(entry.name, names)
        usable.append(ProjectSource(name, place, entry, path, wanted, shows))
    frozen = [entry for entry in project.cases if entry.validation]
    return ProjectCases(
        path,
        tuple(usable),
        tuple(left_out),
        tuple(sorted(unlearned)),
        frozenset(group_of(entry) for entry in frozen),
        tuple(entry.name for entry in frozen),
    )


def why_not(entry: CaseEntry, wanted: Wanted) -> str:
    """Why a case can't be learned from, as half a sentence; "" if it can.

    A case must be corrected or approved, and its list of labels must have each class by name: a
    class without a label was not looked for, and is not the same as one that is not there.

    Raises:
        UserError: its labels are damaged.
    """
    if entry.review not in LOOKED_AT or entry.shape is None:
        return "is neither corrected nor approved"
    names = {_folded(label.name) for label in entry.labels}
    missing = next((name for name in wanted.values if name not in names), None)
    if missing is not None:
        return f"has no label {missing}"
    for label in entry.labels:
        if _folded(label.name) in wanted.joined and label.id in _values_seen(entry):
            return f"has voxels of {label.name}, which the model tells apart more finely"
    slices = looked_at(entry)
    inside = _box_of(entry).range_along(entry.plane)
    if slices is not None and not any(n in inside for n in slices):
        return "has no slice that is corrected or approved (inside its box, if it has one)"
    if wanted.axis(entry) != entry.plane and slices is not None and {*inside} - {*slices}:
        return (
            f"has slices that nobody has corrected or approved, and the model's slices "
            f"({wanted.plane}) cross them"
        )
    return ""


def looked_at(entry: CaseEntry) -> tuple[int, ...] | None:
    """The slices of the scan's own plane that a person has corrected or approved; None is all.

    All of an approved case; of a corrected one those whose own state says so. A picture's only
    slice has the state of the case.
    """
    if entry.shape is None or entry.review not in LOOKED_AT:
        return ()
    if entry.review is ReviewState.APPROVED or entry.shape[entry.plane] == 1:
        return None
    return tuple(sorted(n for n, state in entry.slice_review.items() if state in LOOKED_AT))


def group_of(entry: CaseEntry) -> str:
    """The same for two cases of one patient.

    DICOM tells the patient. Of other files the name may (`patients`); else each file is a patient
    of its own.
    """
    if _DICOM_KEY.fullmatch(entry.patient_key):
        return entry.patient_key
    source = Path(entry.source)
    return patient_in(stem_of(source)) or f"{source}#{entry.series}"


def _box_of(entry: CaseEntry) -> Box:
    whole = full_box(entry.shape or (0, 0, 0))
    if entry.box is None:
        return whole
    box = Box(entry.box.start, entry.box.stop).clipped(whole.shape)
    return whole if box.is_empty else box


def _values_seen(entry: CaseEntry) -> frozenset[int]:
    """Label ids that occur where a person has looked, inside the box."""
    slices, box = looked_at(entry), _box_of(entry)
    region, inside = box.in_slice(entry.plane), box.range_along(entry.plane)
    found: set[int] = set()
    for index, values in label_slices(entry):
        if index in inside and (slices is None or index in slices):
            found |= set(np.unique(values[region]).tolist())
    return frozenset(found)


def _distinct(name: str, taken: set[str]) -> str:
    """A name for lists of one name a line."""
    plain = " ".join(file_stem(name).split()) or "case"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain} ({number})"
    taken.add(found)
    return found
