"""How a mutant comes of a valid file: the same for the same seed, format and number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Damage = Callable[[random.Random, bytearray, int], None]
# As a field of a header would hold them, in 1, 2, 4 or 8 bytes of either order.
EXTREMES = (
    0, 1, 2, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1,
    2**63, 2**64 - 1, 10_000, 100_000, 10**9,
)  # fmt: skip
FLOATS = (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0", b"\0\0\x80\xbf")
WORDS = (
    b"0", b"-1", b"1", b"65535", b"100000", b"2147483647", b"-2147483648", b"4294967295", b"nan",
    b"inf", b"-inf", b"1e308", b"1e-308", b"9" * 40, b"", b"x", b"0 0 0", b"\\",
)  # fmt: skip
NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
LONGEST = 64  # bytes that one piece of damage touches, but for those that move a whole part


def damaged(content: bytes, head: int, rng: random.Random) -> bytes:
    """A copy with one to three kinds of damage.

    Args:
        content: of a valid file.
        head: bytes at its start that are its header; half of the damage is done there.
        rng: decides.
    """
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            rng.choice(KINDS)(rng, data, head)
    return bytes(data)


def _place(rng: random.Random, data: bytearray, head: int) -> int:
    return rng.randrange(min(head, len(data)) if rng.random() < 0.5 else len(data))


def _part(rng: random.Random, data: bytearray, head: int) -> slice:
    """A short part, now and then up to all that follows."""
    start = _place(rng, data, head)
    longest = LONGEST if rng.random() < 0.8 else len(data)
    return slice(start, min(len(data), start + rng.randint(1, longest)))


def flip_bits(rng: random.Random, data: bytearray, head: int) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[_place(rng, data, head)] ^= 1 << rng.randrange(8)


def set_bytes(rng: random.Random, data: bytearray, head: int) -> None:
    part = _part(rng, data, head)
    length = part.stop - part.start
    data[part] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def cut_short(rng: random.Random, data: bytearray, head: int) -> None:
    del data[_place(rng, data, head) :]


def insert(rng: random.Random, data: bytearray, head: int) -> None:
    start = _place(rng, data, head)
    data[start:start] = rng.randbytes(rng.randint(1, LONGEST))


def delete(rng: random.Random, data: bytearray, head: int) -> None:
    del data[_part(rng, data, head)]


def duplicate(rng: random.Random, data: bytearray, head: int) -> None:
    part = _part(rng, data, head)
    data[part.stop : part.stop] = data[part] * rng.choice((1, 1, 2, 8))


def swap(rng: random.Random, data: bytearray, head: int) -> None:
    one, two = _part(rng, data, head), _part(rng, data, head)
    first, second = bytes(data[one]), bytes(data[two])
    data[one], data[two] = second[: len(first)], first[: len(second)]


def extreme_number(rng: random.Random, data: bytearray, head: int) -> None:
    """Over a field of the header, where fields usually begin: at an even place."""
    size = rng.choice((1, 2, 2, 4, 4, 8))
    value = rng.choice(EXTREMES) % 256**size
    field = value.to_bytes(size, rng.choice(("little", "big")))
    if size == 4 and rng.random() < 0.3:
        field = rng.choice(FLOATS)
    start = rng.randrange(min(head, len(data))) & (-2 if rng.random() < 0.8 else -1)
    data[start : start + len(field)] = field[: len(data) - start]


def extreme_text(rng: random.Random, data: bytearray, head: int) -> None:
    """Over a number that is written in digits, in its own length or not."""
    numbers = list(NUMBER.finditer(data, 0, head))
    if not numbers:
        extreme_number(rng, data, head)
        return
    found = rng.choice(numbers)
    word, length = rng.choice(WORDS), found.end() - found.start()
    if rng.random() < 0.6:
        word = word.ljust(length)[:length]
    data[found.start() : found.end()] = word


KINDS: tuple[Damage, ...] = (
    flip_bits, flip_bits, set_bytes, set_bytes, cut_short, insert, delete, duplicate, swap,
    extreme_number, extreme_number, extreme_text,
)  # fmt: skip
