"""The header of an NRRD file, in and out (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.domain.grid import Affine
from engine.errors import UserError
from engine.io.headers import other_unit
from engine.io.kinds import suffix_of
from engine.io.voxel_file import FROM_END, MOST_HEADER, VoxelFile, files_beside, read_head

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("unsigned char", "uchar", "uint8", "uint8_t"),
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
    "text": "text", "txt": "text", "ascii": "text", "hex": "hex",
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
_UNIT = re.compile(r'"([^"]*)"')
_MM = ("", "mm", "millimeter", "millimeters", "millimetre", "millimetres", "???")
_UNIT_NAMES = {"m": "metres", "um": "micrometres", "µm": "micrometres", "μm": "micrometres"}
_ENDS = (b"\n\n", b"\r\n\r\n")  # of a header that has its voxels behind it
# What a value may not hold as it is, and how it stands there.
_ESCAPES = {"\\": "\\\\", "\n": "\\n"}
_ESCAPED = re.compile(r"\\([\\n])")


def read_nrrd_header(path: Path) -> VoxelFile:
    """Reads and understands the header.

    Args:
        path: .nrrd, or .nhdr with its voxels in another file.

    Raises:
        UserError: it is of a kind that can't be opened.
        ValueError, KeyError and others: it is damaged.
    """
    head = read_head(path, _ENDS[0])
    if _ENDS[1] in head:
        head = read_head(path, _ENDS[1])
    if head[:4] != b"NRRD":
        raise UserError(f"{path.name} is not an NRRD file, whatever its name says.")
    fields, words, listed = _lines(head.decode("utf-8", "replace"))
    sizes = tuple(int(n) for n in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]):
        raise ValueError("as many sizes as dimensions")
    channels, time, inside = _axes(path, fields, len(sizes))
    return VoxelFile(
        path, _pieces(path, fields, head, listed, sizes), _encoding(path, fields),
        _dtype(path, fields), sizes,
        _affine(fields, inside, [sizes[axis] for axis in inside]),
        skipped=max(0, int(fields.get("byteskip", 0))),
        channels=channels,
        time=time,
        oriented=_space_name(fields) in _SPACES,
        words=words,
        remarks=_units(path, fields, inside),
    )  # fmt: skip


def nrrd_header(
    dtype: np.dtype[Any], sizes: Iterable[int], affine: Affine, words: Mapping[str, str]
) -> bytes:
    """The header of a file with its voxels behind it, little-endian and packed by gzip.

    Args:
        dtype: of the voxels.
        sizes: of the three axes, the fastest first.
        affine: (first, second, third axis) to world mm in LPS+, the space of ITK and 3D Slicer.
        words: keys and values of our own, written first: they tell whose file it is.
    """
    vectors = [f"({','.join(f'{n:.17g}' for n in column)})" for column in affine[:3].T + 0.0]
    lines = [
        "NRRD0004",
        *(f"{key}:={_escaped(value)}" for key, value in words.items()),
        f"type: {_TYPES[dtype.str[1:]][0]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {vectors[3]}",
    ]
    return "\n".join([*lines, "", ""]).encode("utf-8", "replace")


def _escaped(value: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in value)


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda hit: "\n" if hit[1] == "n" else "\\", value)


def _lines(text: str) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Fields by their names without spaces; keys and values of whoever wrote it; listed files."""
    fields: dict[str, str] = {}
    words: dict[str, str] = {}
    listed: list[str] = []
    for line in re.split(r"\r?\n", text)[1:]:  # a value may hold what Unicode ends a line with
        if fields.get("datafile", "").upper().startswith("LIST"):  # the rest are their names
            listed += [line.strip()] if line.strip() else []
            continue
        if line.startswith("#"):
            continue
        key, mark, value = line.partition(":=")
        name, colon, said = line.partition(": ")
        if mark and (not colon or len(key) < len(name)):
            words[_unescaped(key)] = _unescaped(value)
        elif colon:
            fields[name.strip().lower().replace(" ", "")] = said.strip()
    return fields, words, listed


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


def _pieces(
    path: Path, fields: dict[str, str], head: bytes, listed: list[str], sizes: tuple[int, ...]
) -> tuple[tuple[Path, int], ...]:
    """The files with the voxels, and where they begin in each."""
    name = fields.get("datafile", "")
    if not name and suffix_of(path) == ".nhdr":
        raise UserError(f"{path.name} does not say which file holds its voxels.")
    if not name and not head.endswith(_ENDS):
        raise UserError(
            f"{path.name} is damaged: its header does not end within {MOST_HEADER >> 20} MB.",
            hint="Get the file again from where it came, or save the scan as NIfTI (.nii.gz).",
        )
    files = files_beside(path, name, listed, sizes) if name else [path]
    begin = 0 if name else len(head)
    if int(fields.get("byteskip", 0)) < 0:
        if _encoding(path, fields) != "raw":
            raise ValueError("where packed voxels end can't be told beforehand")
        return tuple((file, FROM_END) for file in files)
    lines = int(fields.get("lineskip", 0))
    return tuple((file, begin + _length_of_lines(file, begin, lines)) for file in files)


def _length_of_lines(path: Path, begin: int, count: int) -> int:
    """Bytes that so many lines take."""
    if count <= 0:
        return 0
    with path.open("rb") as stream:
        stream.seek(begin)
        start = stream.read(MOST_HEADER).split(b"\n", count)
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
    if not vectors:
        affine[: len(inside[:3]), 3] = _first_voxel(fields, inside[:3], sizes[:3])
    if len(inside) == 2 and vectors:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    origin = fields.get("spaceorigin")
    if origin is not None:
        affine[:3, 3] = _in_space(_numbers(origin.strip("() ").split(",")))
    signs = _SPACES.get(_space_name(fields), _UNNAMED)
    return np.array([*signs, 1.0])[:, None] * affine


def _first_voxel(fields: dict[str, str], inside: list[int], sizes: list[int]) -> list[float]:
    """Its place by the edges of each axis; at 0 unless all of them tell it, as ITK has it."""
    count = int(fields["dimension"])
    centres = (fields.get("centers") or fields.get("centerings") or "").lower().split()
    place: list[float] = []
    for axis, size in zip(inside, sizes, strict=True):
        low, high, step = (
            _of_axis(fields, name, axis, count, math.nan)
            for name in ("axismins", "axismaxs", "spacings")
        )
        is_node = len(centres) == count and centres[axis] == "node"
        if math.isnan(step):
            step = (high - low) / max(1, size - is_node)
        place.append(low + step * (0.0 if is_node else 0.5))
    return [0.0] * len(place) if any(map(math.isnan, place)) else place


def _units(path: Path, fields: dict[str, str], inside: list[int]) -> tuple[str, ...]:
    """A sentence if lengths are in anything but mm."""
    name, axes = ("spaceunits", range(3)) if "spaceunits" in fields else ("units", inside)
    said: list[str] = _UNIT.findall(fields.get(name, ""))
    named = [said[axis].strip() for axis in axes if axis < len(said)]
    odd = [unit for unit in named if unit.lower() not in _MM]
    return (other_unit(path, _UNIT_NAMES.get(odd[0], odd[0][:20])),) if odd else ()


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
