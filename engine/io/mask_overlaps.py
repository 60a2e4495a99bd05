"""Labels put into one array after another, and the question where two of them want a voxel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Choice, ChoiceNeeded

FIRST, LAST = "first", "last"  # which of two overlapping segments gets a voxel
_BASE = 1 << 16  # above every label; 1..65535 as a number of a set is that label alone
_MOST_SETS = 10_000  # of labels that meet somewhere; real segmentations have some dozens
_NAMED = 3  # pairs in a sentence, lost labels in an answer
_LETTERS = 24  # of a name in it
_Numbers = NDArray[np.unsignedinteger[Any]]


class Placing:
    """Puts the labels of a file into an array; `finish` asks where two labels want a voxel.

    Args:
        path: of the file, for the sentences.
        shape: of the array, in the order (k, j, i).
        overlap: FIRST or LAST gives such a voxel to the lower or the higher label; "" asks.
        kind: of the labels; those of segmentations go beyond 255.

    Attributes:
        array: ``[k, j, i]``, what was put so far.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        overlap: str,
        kind: type[np.uint8] | type[np.uint16] = np.uint8,
    ) -> None:
        self.array: _Numbers = np.zeros(shape, dtype=kind)
        self._path, self._overlap = path, overlap
        self._sets: NDArray[np.uint32] | None = None  # which labels want a voxel, where some meet
        self._members: dict[int, frozenset[int]] = {}
        self._numbers: dict[frozenset[int], int] = {}

    def put(self, place: NDArray[np.intp], new: _Numbers) -> None:
        """Writes labels.

        Args:
            place: voxels (i, j, k), ``[3, n]``, none of them twice.
            new: label of each.
        """
        i, j, k = place
        old = self.array[k, j, i]
        taken = (old != 0) & (old != new)
        asks = self._overlap not in (FIRST, LAST)
        if asks and (self._sets is not None or taken.any()):
            self._note(k, j, i, new)
        higher = np.maximum(old, new) if self._overlap == LAST else np.minimum(old, new)
        self.array[k, j, i] = np.where(taken, higher, new)

    def finish(self, names: Mapping[int, str]) -> _Numbers:
        """The array, once all was put.

        Args:
            names: of the labels.

        Raises:
            ChoiceNeeded: a voxel would get two labels, and nothing was chosen.
        """
        if self._sets is None:
            return self.array
        counts = np.zeros(max(_BASE, *self._members) + 1, dtype=np.int64)
        for part in self._sets:
            counts += np.bincount(part.reshape(-1), minlength=counts.size)
        found = {self._labels(int(n)): int(counts[n]) for n in np.flatnonzero(counts) if n}
        raise self._question(found, _Names(names, found))

    def _note(
        self, k: NDArray[np.intp], j: NDArray[np.intp], i: NDArray[np.intp], new: _Numbers
    ) -> None:
        """Remembers which labels want each voxel, as the number of a set of labels."""
        if self._sets is None:
            self._sets = self.array.astype(np.uint32)
        codes = self._sets[k, j, i].astype(np.int64) * _BASE + new
        known, back = np.unique(codes, return_inverse=True)
        joined = [self._joined(*divmod(code, _BASE)) for code in known.tolist()]
        self._sets[k, j, i] = np.array(joined, dtype=np.uint32)[back]

    def _labels(self, number: int) -> frozenset[int]:
        return self._members.get(number) or frozenset({number} - {0})

    def _joined(self, number: int, label: int) -> int:
        """The number of a set of labels and one more; a set that is one too many stays as it is."""
        labels = self._labels(number) | {label}
        if len(labels) == 1:
            return label
        if labels not in self._numbers:
            if len(self._numbers) == _MOST_SETS:
                return number
            self._numbers[labels] = _BASE + len(self._numbers)
            self._members[self._numbers[labels]] = labels
        return self._numbers[labels]

    def _question(self, found: Mapping[frozenset[int], int], names: _Names) -> ChoiceNeeded:
        pairs: Counter[tuple[int, int]] = Counter()
        for labels, count in found.items():
            pairs.update(dict.fromkeys(combinations(sorted(labels), 2), count))
        ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        word = "pixel" if 1 in self.array.shape else "voxel"
        at_least = "at least " * (len(self._numbers) == _MOST_SETS)
        parts = [
            f"{names[low]} and {names[high]} in {at_least}{count:,} {word}{'s' * (count > 1)}"
            for (low, high), count in ranked[:_NAMED]
        ]
        if len(ranked) > _NAMED:
            parts.append(f"and {len(ranked) - _NAMED:,} more pairs")
        (low, high), _count = ranked[0]
        is_clear = len(ranked) == 1
        first = names[low] if is_clear else "the lower number"
        last = names[high] if is_clear else "the higher number"
        left = _what_is_lost(found, names, first, min) + _what_is_lost(found, names, last, max)
        return ChoiceNeeded(
            f"Labels of {self._path.name} overlap: {', '.join(parts)}. "
            f"A {word} can have one label.{left}",
            hint=f"Choose with --overlap first: {first} gets them, or with --overlap last: "
            f"{last} gets them.",
            about="overlap",
            choices=[Choice(FIRST, f"{first} gets them"), Choice(LAST, f"{last} gets them")],
        )


class _Names:
    """How labels are called in a sentence: by number too, where two have the same name."""

    def __init__(self, names: Mapping[int, str], found: Iterable[frozenset[int]]) -> None:
        used = {label for labels in found for label in labels}
        short = {label: _shortened(names.get(label, f"label {label}")) for label in used}
        often = Counter(short.values())
        self._texts = {
            label: f"{text} ({label})" if often[text] > 1 else text for label, text in short.items()
        }

    def __getitem__(self, label: int) -> str:
        return self._texts[label]


def _shortened(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= _LETTERS else f"{plain[: _LETTERS - 3]}..."


def _what_is_lost(
    found: Mapping[frozenset[int], int],
    names: _Names,
    winner: str,
    rule: Callable[[frozenset[int]], int],
) -> str:
    """A sentence about labels of which nothing is left if a rule chooses, or ""."""
    used = {label for labels in found for label in labels}
    lost = sorted(used - {rule(labels) for labels in found})
    if not lost:
        return ""
    more = f" and {len(lost) - _NAMED} more" * (len(lost) > _NAMED)
    gone = ", ".join(names[label] for label in lost[:_NAMED])
    return f" If {winner} gets them, nothing is left of {gone}{more}."
