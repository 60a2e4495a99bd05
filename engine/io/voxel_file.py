"""Voxels of an NRRD or MetaImage file, read here: a damaged header must not end the program.

ITK's own reader of NRRD writes past a buffer where a damaged line is long, and takes the window's
process with it.
"""

from __future__ import annotations

import bz2
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Affine
from engine.errors import UserError
from engine.io.headers import DEFLATE_LIMIT, MAX_BYTES, check_size, cut_short

MOST_HEADER = 2**20  # bytes that are looked at for the end of a header
FROM_END = -1
MOST_FILES = 20_000
_CHUNK = 16 * 2**20
_PATTERN = re.compile(r"[^%]*%0?[0-9]?d[^%]*")  # such as slice%03d.raw
# How many bytes one of the file can become: a number that is written in digits takes two bytes at
# least, and gives up to eight. bzip2 knows no such limit.
_MOST_TIMES = {"raw": 1, "gzip": DEFLATE_LIMIT, "zlib": DEFLATE_LIMIT, "text": 4, "hex": 1}


@dataclass(frozen=True)
class VoxelFile:
    """What a header says.

    Attributes:
        path: the file that was opened, for the sentences.
        pieces: the files with the voxels, one after the other and each with as many, and where
            they begin in each; `FROM_END` where they end with the file. It may be `path` itself.
        encoding: "raw", "gzip", "zlib", "bzip2", "hex" or "text".
        skipped: bytes to leave out after unpacking.
        dtype: of the stored values, with the file's byte order.
        sizes: of all axes of the file, the fastest first.
        channels: the axis of the parts of a colour, or None.
        time: the axis of the time points, or None.
        affine: (first, second, third axis in space) to world mm in RAS+.
        oriented: False where nothing says how the patient lies.
        words: what else the header says, by name.
        remarks: what is odd about it.
    """

    path: Path
    pieces: tuple[tuple[Path, int], ...]
    encoding: str
    dtype: np.dtype[Any]
    sizes: tuple[int, ...]
    affine: Affine
    skipped: int = 0
    channels: int | None = None
    time: int | None = None
    oriented: bool = True
    words: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Of all voxels."""
        return int(np.prod(self.sizes, dtype=object)) * self.dtype.itemsize

    @property
    def parts(self) -> int:
        """Numbers a voxel."""
        return 1 if self.channels is None else self.sizes[self.channels]


def read_head(path: Path, end: bytes) -> bytes:
    """The start of a file up to and with a mark, or its first `MOST_HEADER` bytes without one."""
    with path.open("rb") as stream:
        start = stream.read(MOST_HEADER)
    return start[: start.index(end) + len(end)] if end in start else start


def file_beside(path: Path, name: str) -> Path:
    """The file with the voxels that a header names.

    Raises:
        UserError: there is none.
    """
    found = path.parent / name
    if not found.is_file():  # a pipe would be waited for
        raise UserError(
            f"{path.name} needs the file {found.name}, which is missing.",
            hint="Copy both files into one folder.",
        )
    return found


def files_beside(path: Path, name: str, listed: list[str], sizes: tuple[int, ...]) -> list[Path]:
    """The files with the voxels, in their order: one, those of a list, or those of a pattern.

    Args:
        path: the header.
        name: what it says: a name, "LIST", "LIST 2", or "slice%03d.raw 1 60 1".
        listed: the names behind "LIST".
        sizes: of all axes. A file holds all but the last of them, or as many as stands behind
            "LIST", or behind a pattern and its three numbers.

    Raises:
        UserError: one is missing, lies in another folder, or there are not as many as it takes.
    """
    words = name.split()
    if words[0].upper() == "LIST":
        names, inside = listed, words[1:]
    elif len(words) >= 3 and _PATTERN.fullmatch(words[0]):
        first, last = int(words[1]), int(words[2])
        step = int(words[3]) if len(words) > 3 else 1
        numbers = range(first, last + (1 if step > 0 else -1), step)
        names, inside = [words[0] % n for n in numbers[:MOST_FILES]], words[4:]
    else:
        return [file_beside(path, name)]
    dimensions = int(inside[0].rstrip("dD")) if inside else len(sizes) - 1
    wanted = math.prod(sizes[dimensions:])
    if dimensions < 1 or len(names) != wanted or wanted > MOST_FILES:
        raise UserError(
            f"{path.name} names {len(names)} files for its voxels, and needs {wanted}.",
            hint="Copy the file again from where it came.",
        )
    strange = [n for n in names if n in ("", ".", "..") or "/" in n or "\\" in n]
    if strange:
        raise UserError(
            f"{path.name} names files of another folder ({strange[0][:60]}) for its voxels.",
            hint="Copy them into one folder, and name them without their folder.",
        )
    return [file_beside(path, each) for each in names]


def check(found: VoxelFile) -> None:
    """Refuses what can't be opened, before anything is allocated.

    Raises:
        UserError: the sizes make no sense, or are more than the file can hold.
    """
    name, axes = found.path.name, len(found.sizes) - (found.channels is not None)
    if not 2 <= axes <= 4:
        raise UserError(f"{name} has {axes} dimensions; a scan has two or three.")
    if min(found.sizes) < 1:
        raise UserError(f"{name} has an axis of {min(found.sizes)} voxels: it is damaged.")
    if found.parts not in (1, 3):
        raise UserError(
            f"{name} holds {found.parts} numbers a voxel; a scan has one, or three for colour.",
            hint="Save the one you need as a file of its own.",
        )
    if found.parts == 3 and found.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{name} holds colours of an unknown kind ({found.dtype.name}).")
    times = _MOST_TIMES.get(found.encoding)
    on_disk = sum(file.stat().st_size for file, _ in found.pieces)
    if times is not None and found.nbytes > on_disk * times:
        raise cut_short(found.path)
    check_size(found.path, found.nbytes)
    if not _is_place(found.affine):
        raise UserError(
            f"{name} does not say where its voxels lie: its directions are broken.",
            hint="Convert the scan again from its DICOM files.",
        )


def _is_place(affine: Affine) -> bool:
    with np.errstate(all="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0), abs(np.linalg.det(affine[:3, :3]))
    is_finite = np.isfinite(affine).all() and np.isfinite(sizes[0]).all() and np.isfinite(sizes[1])
    return bool(is_finite and sizes[1] >= 1e-12)


def read_voxels(found: VoxelFile) -> NDArray[Any]:
    """A view ``[first, second, third, (time), (colour)]`` of the stored values.

    Raises:
        UserError: the file ends before them.
    """
    flat = np.empty(found.nbytes // found.dtype.itemsize, dtype=found.dtype)
    share = flat.size // len(found.pieces)
    for n, (file, start) in enumerate(found.pieces):
        part = flat[n * share : (n + 1) * share]
        with file.open("rb") as stream:
            stream.seek(file.stat().st_size - part.nbytes if start == FROM_END else start)
            if found.encoding == "text":
                part[:] = _from_text(found, stream, share)
            else:
                _fill(part.view(np.uint8), found, stream)
    stored = flat.reshape(found.sizes, order="F")
    if found.time is not None:
        stored = np.moveaxis(stored, found.time, -1)
    if found.channels is not None:
        before = found.time is not None and found.time < found.channels
        stored = np.moveaxis(stored, found.channels - before, -1)
    return stored


def _from_text(found: VoxelFile, stream: IO[bytes], count: int) -> NDArray[Any]:
    text = stream.read().replace(b",", b" ")
    values = np.fromstring(text.decode("ascii"), dtype=np.float64, sep=" ")
    if values.size < count:
        raise cut_short(found.path)
    with np.errstate(invalid="ignore"):  # looked at below
        stored = values[:count].astype(found.dtype)
    if found.dtype.kind in "iu" and (stored != values[:count]).any():
        raise ValueError("a number that the type can't hold")
    return stored


def _fill(buffer: NDArray[np.uint8], found: VoxelFile, stream: IO[bytes]) -> None:
    """Reads as many bytes as there is room for."""
    left, done = found.skipped, 0
    for block in _unpacked(found.encoding, stream):
        part = np.frombuffer(block, np.uint8)[left:]
        left = max(0, left - len(block))
        wanted = part[: buffer.size - done]
        buffer[done : done + wanted.size] = wanted
        done += wanted.size
        if found.encoding == "raw" and done == buffer.size:
            break  # what is packed is read to its end, where its checksum is
    if done < buffer.size:
        raise cut_short(found.path)


def _unpacked(encoding: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks of the unpacked bytes; at most as many as a scan that opens can have."""
    if encoding == "zlib":
        yield from _inflated(stream)
        return
    if encoding == "hex":
        yield from _of_digits(stream)
        return
    packed = {"gzip": gzip.open, "bzip2": bz2.open}.get(encoding)
    source: Any = packed(stream) if packed else stream
    for _ in range(MAX_BYTES // _CHUNK + 1):
        block = source.read(_CHUNK)
        if not block:
            return
        yield block


def _inflated(stream: IO[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj()
    data = stream.read(_CHUNK)
    while data and not unpack.eof:
        yield unpack.decompress(data, _CHUNK)
        data = unpack.unconsumed_tail or stream.read(_CHUNK)


def _of_digits(stream: IO[bytes]) -> Iterator[bytes]:
    """Bytes of two hexadecimal digits each, with or without blanks between them."""
    left = b""
    while data := stream.read(_CHUNK):
        digits = left + b"".join(data.split())
        even = len(digits) // 2 * 2
        left = digits[even:]
        yield bytes.fromhex(digits[:even].decode("ascii"))
