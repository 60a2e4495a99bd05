"""The header of an NRRD file (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from engine.domain.grid import Affine
from engine.errors import UserError
from engine.io.kinds import suffix_of
from engine.io.voxel_file import FROM_END, VoxelFile, file_beside, read_head

_MOST_HEADER = 2**20
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong", "long long", "long long int", "signed long long", "signed long long int",
        "int64", "int64_t",
    ),
    "u8": (
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t",
    ),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "text": "text", "txt": "text", "ascii": "text",
}  # fmt: skip
# To RAS+ from the spaces that name the patient's sides.
_SPACES = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_UNNAMED = (-1, -1, 1)  # a space without a name is taken as LPS+, as ITK does
_IN_SPACE = ("domain", "space", "time", "???", "none", "")
_VECTOR = re.compile(r"none|\([^()]*\)")


def read_nrrd_header(path: Path) -> VoxelFile:
    """Reads and understands the header.

    Args:
        path: .nrrd, or .nhdr with its voxels in another file.

    Raises:
        UserError: it is of a kind that can't be opened.
        ValueError, KeyError and others: it is damaged.
    """
    head = read_head(path, b"\n\n", _MOST_HEADER)
    if b"\r\n\r\n" in head:
        head = read_head(path, b"\r\n\r\n", _MOST_HEADER)
    if head[:4] != b"NRRD":
        raise UserError(f"{path.name} is not an NRRD file, whatever its name says.")
    fields, words = _lines(head.decode("utf-8", "replace"))
    sizes = tuple(int(n) for n in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]):
        raise ValueError("as many sizes as dimensions")
    channels, time, inside = _axes(path, fields, len(sizes))
    data_path, offset = _data(path, fields, len(head))
    return VoxelFile(
        path, data_path, offset, _encoding(path, fields), _dtype(path, fields), sizes,
        _affine(fields, inside, [sizes[axis] for axis in inside]),
        skipped=max(0, int(fields.get("byteskip", 0))) if offset != FROM_END else 0,
        channels=channels,
        time=time,
        oriented=_space_name(fields) in _SPACES,
        words=words,
    )  # fmt: skip


def _lines(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Fields by their names without spaces, and the keys with values of whoever wrote it."""
    fields: dict[str, str] = {}
    words: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        if line.startswith("#"):
            continue
        key, mark, value = line.partition(":=")
        name, colon, said = line.partition(": ")
        if mark and (not colon or len(key) < len(name)):
            words[key] = value
        elif colon:
            fields[name.strip().lower().replace(" ", "")] = said.strip()
    return fields, words


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    code = _TYPE_OF.get(fields["type"].lower())
    if code is None:
        raise UserError(f"{path.name} holds values of an unknown type: it is damaged.")
    if code[1] == "1" or _ENCODINGS.get(fields["encoding"].lower()) == "text":
        return np.dtype(code)
    return np.dtype({"little": "<", "big": ">"}[fields["endian"].lower()] + code)


def _encoding(path: Path, fields: dict[str, str]) -> str:
    found = _ENCODINGS.get(fields["encoding"].lower())
    if found is None:
        raise UserError(
            f"{path.name} is packed in a way that can't be opened.", hint="Save it with gzip."
        )
    return found


def _data(path: Path, fields: dict[str, str], head: int) -> tuple[Path, int]:
    """The file with the voxels, and where they begin."""
    name = fields.get("datafile", "")
    if not name and suffix_of(path) == ".nhdr":
        raise UserError(f"{path.name} does not say which file holds its voxels.")
    data_path = file_beside(path, name) if name else path
    begin = 0 if name else head
    if int(fields.get("byteskip", 0)) == FROM_END and _encoding(path, fields) == "raw":
        return data_path, FROM_END
    return data_path, begin + _length_of_lines(data_path, begin, int(fields.get("lineskip", 0)))


def _length_of_lines(path: Path, begin: int, count: int) -> int:
    """Bytes that so many lines take."""
    if count <= 0:
        return 0
    with path.open("rb") as stream:
        stream.seek(begin)
        start = stream.read(_MOST_HEADER).split(b"\n", count)
    return sum(len(line) + 1 for line in start[:count])


def _axes(path: Path, fields: dict[str, str], count: int) -> tuple[int | None, int | None, list]:
    """The axis of the parts of a voxel, that of time, and those in space."""
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * count
    if len(kinds) != count:
        raise ValueError("a kind an axis")
    parts = [axis for axis in range(count) if kinds[axis] not in _IN_SPACE]
    if len(parts) > 1:
        raise UserError(f"{path.name} has {count} dimensions; a scan has two or three.")
    inside = [axis for axis in range(count) if axis not in parts]
    time = None
    if len(inside) == 4:
        vectors = _vectors(fields, count)
        said = [a for a in inside if kinds[a] == "time" or (vectors and vectors[a] is None)]
        time = said[-1] if said else inside[-1]
        inside.remove(time)
    return (parts[0] if parts else None), time, inside


def _space_name(fields: dict[str, str]) -> str:
    return fields.get("space", "").lower().removesuffix("-time").removesuffix("t")


def _vectors(fields: dict[str, str], count: int) -> list[list[float] | None]:
    """The direction of each axis; None for one that lies not in space; empty without directions."""
    text = fields.get("spacedirections", "")
    if not text:
        return []
    said = _VECTOR.findall(text)
    if len(said) != count or _VECTOR.sub("", text).strip():
        raise ValueError("a direction an axis")
    vectors = [None if text == "none" else _numbers(text[1:-1].split(",")) for text in said]
    return [None if v is None or any(map(math.isnan, v)) else v for v in vectors]


def _numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts]


def _affine(fields: dict[str, str], inside: list[int], sizes: list[int]) -> Affine:
    """The first, second and third axis in space to world mm in RAS+."""
    count = int(fields["dimension"])
    vectors = _vectors(fields, count)
    affine = np.eye(4)
    for column, axis in enumerate(inside[:3]):
        if vectors:
            affine[:3, column] = _in_space(vectors[axis])
        else:
            affine[column, column] = _of_axis(fields, "spacings", axis, count, 1.0)
            affine[column, 3] = _of_axis(fields, "axismins", axis, count, 0.0)
    if len(inside) == 2 and vectors:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    origin = fields.get("spaceorigin")
    if origin is not None:
        affine[:3, 3] = _in_space(_numbers(origin.strip("() ").split(",")))
    signs = _SPACES.get(_space_name(fields), _UNNAMED)
    return np.array([*signs, 1.0])[:, None] * affine


def _in_space(vector: list[float] | None) -> list[float]:
    """Three numbers; those of a plane get a third, time has a fourth that is left out."""
    if vector is None or len(vector) < 2:
        raise ValueError("an axis in space has a direction")
    return [*vector, 0.0][:3]


def _of_axis(fields: dict[str, str], name: str, axis: int, count: int, default: float) -> float:
    numbers = _numbers(fields.get(name, "").split())
    if not numbers:
        return default
    if len(numbers) != count:
        raise ValueError("a number an axis")
    return default if math.isnan(numbers[axis]) else numbers[axis]
