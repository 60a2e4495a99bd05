"""Values on the command line that lie in a range; anything else is wrong usage."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from engine.domain.targets import Target
from engine.errors import UserError

Pair = tuple[float, float]
# As in `engine.training.effects`, which needs torch.
EFFECT_NAMES = (
    "bias_field", "low_resolution", "gibbs", "histogram", "sharpen", "rician", "dropout",
)  # fmt: skip


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise ArgumentTypeError(f"'{text}' is not a whole number") from error
        if value < low:
            raise ArgumentTypeError(f"'{text}' is less than {low}")
        if value > high:
            raise ArgumentTypeError(f"'{text}' is more than {high}")
        return value

    return read


def number(low: float, high: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """A finite number from `low` (`above`: beyond it) to `high`."""

    def read(text: str) -> float:
        value = _number(text)
        if value < low or value > high or (above and value == low):
            edge = "more than" if above else "at least"
            most = "" if math.isinf(high) else f" and at most {high:g}"
            raise ArgumentTypeError(f"'{text}' should be {edge} {low:g}{most}")
        return value

    return read


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is not a number") from error
    if not math.isfinite(value):
        raise ArgumentTypeError(f"'{text}' is not a finite number")
    return value


share = number(0.0, 1.0)
fraction = number(0.0, 1.0, above=True)
count = whole(1)
seed = whole(0, 2**63 - 1)  # what torch's generators take
steps = whole(1, 1000)  # of the reverse process


def pair(text: str) -> Pair:
    """``40,400`` as two numbers."""
    words = text.split(",")
    if len(words) != 2:
        raise ArgumentTypeError(f"'{text}': write two numbers with a comma between them")
    return _number(words[0]), _number(words[1])


def window(text: str) -> Pair:
    """``40,400`` as level and width."""
    level, width = pair(text)
    if width <= 0.0:
        raise ArgumentTypeError(f"'{text}': the second number, the width, must exceed 0")
    return level, width


def scale(text: str) -> Pair:
    """From the smallest to the largest zoom."""
    low, high = pair(text)
    if not 0.0 < low <= high:
        raise ArgumentTypeError(f"'{text}': the smaller zoom comes first, and both exceed 0")
    return low, high


def levels(text: str) -> Pair:
    """The largest lower and the smallest upper end of a random window on 0..1."""
    low, high = pair(text)
    if not 0.0 <= low < high <= 1.0:
        raise ArgumentTypeError(f"'{text}': two numbers from 0 to 1, the smaller first")
    return low, high


def flips(text: str) -> str:
    """``h``, ``v``, both in any order, or nothing."""
    if len(set(text)) != len(text) or not set(text) <= {"h", "v"}:
        raise ArgumentTypeError(f"'{text}': write h, v, hv or ''")
    return "".join(sorted(text))


def effects(text: str) -> tuple[tuple[str, float], ...]:
    """``gibbs=0.2,dropout=0.1`` as pairs."""
    found: list[tuple[str, float]] = []
    for word in text.split(","):
        name, _, chance = word.partition("=")
        if name not in EFFECT_NAMES:
            raise ArgumentTypeError(f"'{name}' is none of {', '.join(EFFECT_NAMES)}")
        if name in dict(found):
            raise ArgumentTypeError(f"'{name}' is named twice")
        try:
            found.append((name, share(chance)))
        except ArgumentTypeError as error:
            raise ArgumentTypeError(f"'{word}': write NAME=CHANCE, from 0 to 1") from error
    return tuple(found)


def parse_target(text: str) -> Target:
    """``disc=1,2`` as a target.

    Raises:
        UserError: it does not look like that.
    """
    name, _, ids = text.partition("=")
    if not name.strip() or not all(x.strip().isdigit() for x in ids.split(",")):
        raise UserError(f"The target '{text}' is not understood.", hint="Write NAME=1 or NAME=1,2.")
    return Target(name.strip(), tuple(int(x) for x in ids.split(",")))


def target(text: str) -> Target:
    """A target for argparse: what is not understood is wrong usage."""
    try:
        found = parse_target(text)
    except UserError as error:
        raise ArgumentTypeError(f"{error.message} {error.hint}") from error
    if not all(1 <= n <= 255 for n in found.class_ids):
        raise ArgumentTypeError(f"'{text}': class ids are 1 to 255")
    return found
