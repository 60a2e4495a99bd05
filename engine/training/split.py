"""The frozen validation split of a project: chosen once, by patient, then kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import UserError
from engine.evaluation.pairs import read_names
from engine.io.project import ProjectFile
from engine.training.project_cases import ProjectCases, ProjectSource

SHARE = 0.2
MOST_REASONS = 4


@dataclass(frozen=True)
class Split:
    """Who is learned from and who is checked with.

    Attributes:
        train, val: cases; no patient is in both.
        chosen: patients were added to the validation split now, so it should be kept.
    """

    train: tuple[ProjectSource, ...]
    val: tuple[ProjectSource, ...]
    chosen: bool

    def kept_in(self, project: ProjectFile, path: Path) -> ProjectFile:
        """The project with this split frozen; a case that was in it already stays in it."""
        places = {source.place for source in self.val if source.project == path}
        cases = [
            entry.model_copy(update={"validation": entry.validation or place in places})
            for place, entry in enumerate(project.cases)
        ]
        return project.model_copy(update={"cases": cases})


def split_cases(offers: Sequence[ProjectCases]) -> Split:
    """Deals the usable cases of projects.

    A project whose split is frozen keeps it: new cases are learned from, unless they are of one of
    its patients, in which case they join it. Of another project about a fifth of the cases, at
    least one, become validation cases: whole patients, in an order that depends on their names
    alone, and so that both sides show every class. If no project has two patients, all are dealt
    together.

    Args:
        offers: one a project.

    Raises:
        UserError: there are not two patients, a class is missing on one side, or the frozen cases
            can't be used.
    """
    named = _distinct_names(offers)
    everything = [source for offer in named for source in offer.usable]
    _check_enough(named, everything)
    held = {group for offer in named for group in offer.held}
    for offer in named:
        if not offer.held:
            held |= _dealt(offer.usable, held)
    if not held:
        held = _dealt(everything, held)
    train = tuple(source for source in everything if source.group not in held)
    val = tuple(source for source in everything if source.group in held)
    _check_sides(named, train, val)
    for side, cases in (("learn from", train), ("check with", val)):
        _check_shown(side, cases, everything[0].wanted.values)
    return Split(train, val, not all(source.entry.validation for source in val))


def resumed_split(offers: Sequence[ProjectCases], train: Path, val: Path) -> Split:
    """The split that a stopped run has kept.

    Args:
        offers: one a project, in the order the run was started with.
        train, val: lists that the run wrote.

    Raises:
        UserError: a list can't be read, or a case can't be used any more.
    """
    known = {source.name: source for offer in _distinct_names(offers) for source in offer.usable}
    sides: list[tuple[ProjectSource, ...]] = []
    for kept in (train, val):
        names = read_names(kept)
        gone = next((name for name in names if name not in known), None)
        if gone is not None:
            raise UserError(
                f"The run in {kept.parent.name} uses the case {gone}, which is not corrected or "
                f"approved in {offers[0].project.name} any more.",
                hint="Put it back to resume the run, or start anew without --resume.",
            )
        sides.append(tuple(known[name] for name in names))
    return Split(sides[0], sides[1], False)


def _dealt(cases: Sequence[ProjectSource], held: Iterable[str]) -> set[str]:
    """The patients of a project that become its validation split; none if it has one patient."""
    groups: dict[str, list[ProjectSource]] = {}
    for source in cases:
        groups.setdefault(source.group, []).append(source)
    free = sorted(groups.keys() - {*held}, key=lambda group: _draw(groups[group]))
    if len(groups) < 2 or len(free) < len(groups):
        return set()
    turns = [_first(free[n:] + free[:n], groups) for n in range(len(free))]
    return set(max(turns, key=lambda chosen: _shown_on_both_sides(chosen, groups)))


def _draw(cases: Sequence[ProjectSource]) -> tuple[str, str]:
    name = min(source.name for source in cases)
    return hashlib.sha256(name.encode()).hexdigest(), name


def _first(order: list[str], groups: dict[str, list[ProjectSource]]) -> list[str]:
    """The first patients of an order that make up a fifth of the cases, but not all patients."""
    wanted = max(1, round(SHARE * sum(len(cases) for cases in groups.values())))
    chosen: list[str] = []
    count = 0
    for group in order[:-1]:
        if count >= wanted:
            break
        chosen.append(group)
        count += len(groups[group])
    return chosen


def _shown_on_both_sides(chosen: list[str], groups: dict[str, list[ProjectSource]]) -> int:
    sides: list[set[int]] = [set(), set()]
    for group, cases in groups.items():
        for source in cases:
            sides[group in chosen] |= source.shows
    return len(sides[0] & sides[1])


def _distinct_names(offers: Sequence[ProjectCases]) -> list[ProjectCases]:
    """Cases of one name in two projects get the project's name too."""
    if len(offers) == 1:
        return list(offers)
    counts: dict[str, int] = {}
    for offer in offers:
        for source in offer.usable:
            counts[source.name] = counts.get(source.name, 0) + 1
    return [
        replace(
            offer,
            usable=tuple(
                source
                if counts[source.name] == 1
                else replace(source, name=f"{source.name} ({number}: {source.project.name})")
                for source in offer.usable
            ),
        )
        for number, offer in enumerate(offers, 1)
    ]


def _check_enough(offers: Sequence[ProjectCases], cases: Sequence[ProjectSource]) -> None:
    names = ", ".join(offer.project.name for offer in offers)
    reasons = reasons_of(offers)
    if len(cases) < 2:
        found = f"only {cases[0].name}" if cases else "none"
        raise UserError(
            f"Two cases of {names} at least must be corrected or approved; {found} can be used"
            f"{': ' + reasons if reasons else ''}.",
            hint="One case is learned from, another one checks what was learned; the slices of a "
            "single volume resemble each other too much for that.",
        )
    if len({source.group for source in cases}) < 2:
        raise UserError(
            f"All {len(cases)} cases of {names} that can be used are of one patient.",
            hint="Correct or approve a case of another patient, to check what was learned.",
        )


def reasons_of(offers: Sequence[ProjectCases]) -> str:
    """Why cases were left out, for a message; "" if none was."""
    left = [f"{name} {reason}" for offer in offers for name, reason in offer.left_out]
    more = f"; {len(left) - MOST_REASONS} more" if len(left) > MOST_REASONS else ""
    return "; ".join(left[:MOST_REASONS]) + more


def _check_sides(
    offers: Sequence[ProjectCases],
    train: Sequence[ProjectSource],
    val: Sequence[ProjectSource],
) -> None:
    names = ", ".join(name for offer in offers for name in offer.held_names)
    if not val:
        raise UserError(
            f"None of the validation cases ({names}) can be used: {reasons_of(offers)}.",
            hint="Approve one of them again. The split of a project stays as it was first chosen.",
        )
    if not train:
        raise UserError(
            f"All cases that can be used belong to the validation split ({names}).",
            hint="Correct or approve a case of another patient, to learn from.",
        )


def _check_shown(side: str, cases: Sequence[ProjectSource], values: Iterable[str]) -> None:
    shown = {number for source in cases for number in source.shows}
    for name in values:
        if cases[0].wanted.values[name] not in shown:
            names = ", ".join(source.name for source in cases[:MOST_REASONS])
            raise UserError(
                f"None of the cases to {side} shows the label {name} ({names}"
                f"{' ...' if len(cases) > MOST_REASONS else ''}).",
                hint="It must be drawn in cases of two patients at least: in one to learn from and "
                "in one to check with.",
            )
