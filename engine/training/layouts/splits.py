"""Lists for training, validation and test that every computer draws alike."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from engine.errors import UserError


@dataclass(frozen=True)
class Split:
    """Three lists of names that share none.

    Attributes:
        train, val, test: sorted names.
        rule: how they were drawn, for people.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    rule: str

    def lists(self) -> dict[str, tuple[str, ...]]:
        """Name of each list -> what it holds."""
        return {"train": self.train, "val": self.val, "test": self.test}


def drawn(salt: str, names: Iterable[str]) -> list[str]:
    """Names in the order of the SHA-256 of ``SALT/NAME``: mixed, and the same everywhere."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())


def draw(
    salt: str,
    groups: Mapping[str, str],
    rule: str,
    *,
    val: int,
    test: int | Collection[str],
) -> Split:
    """Draws whole groups for test, then for val, until each has enough; the rest is for training.

    Args:
        salt: name of the data set.
        groups: name of each case -> the group that stays together; its own name if it is alone.
        rule: for people.
        val: how many cases val gets at least; exactly as many if every case is alone.
        test: the same for test, or the names of a list that is given.

    Raises:
        UserError: so few groups that a list stays empty.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    order = drawn(salt, members)
    if isinstance(test, int):
        tested = _take(order, members, test)
    else:
        tested = sorted(test)
        order = [group for group in order if not set(members[group]) & set(tested)]
    watched = _take(order, members, val)
    trained = sorted(name for group in order for name in members[group])
    split = Split(tuple(trained), tuple(watched), tuple(tested), rule)
    empty = [name for name, cases in split.lists().items() if not cases]
    if empty:
        raise UserError(
            f"{len(groups)} cases in {len(members)} groups are too few: none is left for "
            f"{empty[0]}.txt.",
            hint="Give the whole data set.",
        )
    return split


def _take(order: list[str], members: Mapping[str, list[str]], wanted: int) -> list[str]:
    """Takes groups from the front of `order` until there are `wanted` cases."""
    taken: list[str] = []
    while order and len(taken) < wanted:
        taken += members[order.pop(0)]
    return sorted(taken)


def alone(names: Iterable[str]) -> dict[str, str]:
    """Every case is its own group."""
    return {name: name for name in names}


def share(count: int, part: int, whole: int) -> int:
    """As many of `count` as `part` is of `whole`, at least one."""
    return max(1, round(count * part / whole))


def check_count(title: str, found: int, wanted: int) -> None:
    """The paper's counts need the whole data set.

    Raises:
        UserError: it is not.
    """
    if found != wanted:
        raise UserError(
            f"{title} has {wanted} cases with masks, and {found} are here.",
            hint="Get the missing ones, or take --split leak-free, which takes any number.",
        )
