"""Whom a fine-tuning would learn from, known without torch and without opening a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.io.project import read_project, write_project
from engine.models.schema import ModelInfo
from engine.training.project_cases import ProjectCases, Wanted, cases_of
from engine.training.split import Split, split_cases


@dataclass(frozen=True)
class Plan:
    """Who would be learned from; frozen, so that threads can share it.

    Attributes:
        train, val: names of the cases.
        places: of the validation cases in the project.
        is_new: the split is not kept in the project yet.
        left_out: (case, reason) of the others.
        unlearned: labels that the model does not know.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    places: frozenset[int]
    is_new: bool
    left_out: tuple[tuple[str, str], ...]
    unlearned: tuple[str, ...]


def plan(project: Path, info: ModelInfo) -> Plan:
    """What a fine-tuning would do.

    Raises:
        UserError: the project can't be read, or has not enough to learn from.
    """
    offer, split = deal(project, info)
    return Plan(
        tuple(source.name for source in split.train),
        tuple(source.name for source in split.val),
        frozenset(source.place for source in split.val),
        split.chosen,
        offer.left_out,
        offer.unlearned,
    )


def deal(project: Path, info: ModelInfo) -> tuple[ProjectCases, Split]:
    """The cases of a project, and how they are dealt out; see `plan`."""
    offer = cases_of(read_project(project), project, Wanted.of(info))
    return offer, split_cases([offer])


def freeze_split(project: Path, info: ModelInfo) -> None:
    """Keeps the validation cases in the project's file, where they are not kept yet.

    Raises:
        UserError: there is not enough to learn from, or a window has the project open.
    """
    _, split = deal(project, info)
    if not split.chosen:
        return
    lock = project.with_name(project.name + ".lock")
    if lock.exists():
        raise UserError(
            f"{project.name} is open in a window, so its validation cases can't be noted there.",
            hint="Start the fine-tuning in the window, or close it. If no window has it open, "
            f"delete {lock.name}.",
        )
    write_project(project, split.kept_in(read_project(project), project))
