"""Voxels of an NRRD or MetaImage file, read here: a damaged header must not end the program.

ITK's own reader of NRRD writes past a buffer where a damaged line is long, and takes the window's
process with it.
"""

from __future__ import annotations

import bz2
import gzip
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
_CHUNK = 16 * 2**20
# How many bytes one of the file can become: a number that is written in digits takes two bytes at
# least, and gives up to eight. bzip2 knows no such limit.
_MOST_TIMES = {"raw": 1, "gzip": DEFLATE_LIMIT, "zlib": DEFLATE_LIMIT, "text": 4}


@dataclass(frozen=True)
class VoxelFile:
    """What a header says.

    Attributes:
        path: the file that was opened, for the sentences.
        data_path: the file with the voxels, which may be the same.
        offset: where they begin; `FROM_END` where they end with the file.
        encoding: "raw", "gzip", "zlib", "bzip2" or "text".
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
    data_path: Path
    offset: int
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
        UserError: there is none, or there are several.
    """
    if name.split(" ")[0].upper() == "LIST" or "%" in name:
        raise UserError(
            f"The voxels of {path.name} lie in several files.", hint="Save it as one file."
        )
    found = path.parent / name
    if not found.is_file():  # a pipe would be waited for
        raise UserError(
            f"{path.name} needs the file {found.name}, which is missing.",
            hint="Copy both files into one folder.",
        )
    return found


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
    if times is not None and found.nbytes > found.data_path.stat().st_size * times:
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
    with found.data_path.open("rb") as stream:
        start = found.offset
        if start == FROM_END:
            start = found.data_path.stat().st_size - found.nbytes
        stream.seek(start)
        if found.encoding == "text":
            flat = _from_text(found, stream)
        else:
            flat = _from_bytes(found, stream).view(found.dtype)
    stored = flat.reshape(found.sizes, order="F")
    if found.time is not None:
        stored = np.moveaxis(stored, found.time, -1)
    if found.channels is not None:
        before = found.time is not None and found.time < found.channels
        stored = np.moveaxis(stored, found.channels - before, -1)
    return stored


def _from_text(found: VoxelFile, stream: IO[bytes]) -> NDArray[Any]:
    count = found.nbytes // found.dtype.itemsize
    text = stream.read().replace(b",", b" ")
    values = np.fromstring(text.decode("ascii"), dtype=np.float64, sep=" ")
    if values.size < count:
        raise cut_short(found.path)
    with np.errstate(invalid="ignore"):  # looked at below
        stored = values[:count].astype(found.dtype)
    if found.dtype.kind in "iu" and (stored != values[:count]).any():
        raise ValueError("a number that the type can't hold")
    return stored


def _from_bytes(found: VoxelFile, stream: IO[bytes]) -> NDArray[np.uint8]:
    buffer = np.empty(found.nbytes, dtype=np.uint8)
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
    return buffer


def _unpacked(encoding: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks of the unpacked bytes; at most as many as a scan that opens can have."""
    if encoding == "zlib":
        yield from _inflated(stream)
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
