"""The header of a MetaImage file, in and out (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.domain.grid import Affine
from engine.errors import UserError
from engine.io.voxel_file import FROM_END, VoxelFile, files_beside, read_head

_LAST = re.compile(rb"^ElementDataFile\s*[=:][^\n]*\n?", re.MULTILINE)
_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4",
    "LONG": "i4", "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4",
    "DOUBLE": "f8",
}  # fmt: skip
_TO_RAS = np.array([[-1.0], [-1.0], [1.0], [1.0]])
# The side that an axis comes from: along LPS+, and against it.
_SIDES = ("RL", "AP", "IS")


def read_metaimage_header(path: Path) -> VoxelFile:
    """Reads and understands the header; its scale of intensities is left out, as by ITK.

    Args:
        path: .mha, or .mhd with its voxels in another file.

    Raises:
        UserError: it is of a kind that can't be opened.
        ValueError, KeyError and others: it is damaged.
    """
    start = read_head(path, b"\0")
    last = _LAST.search(start)
    if last is None:
        raise UserError(f"{path.name} is not a MetaImage file, or cut short.")
    words = _fields(start[: last.end()].decode("utf-8", "replace"))
    count = int(words["NDims"])
    sizes = tuple(int(n) for n in words["DimSize"].split())
    if len(sizes) != count or words.get("ObjectType", "Image") != "Image":
        raise ValueError("as many sizes as dimensions")
    parts = int(words.get("ElementNumberOfChannels", 1))
    listed = start[last.end() :].decode("utf-8", "replace").split("\n")
    pieces = _pieces(path, words, last.end(), [n.strip() for n in listed if n.strip()], sizes)
    binary, packed = _yes(words, "BinaryData", "True"), _yes(words, "CompressedData", "False")
    return VoxelFile(
        path, pieces, "zlib" if packed else "raw" if binary else "text",
        _dtype(path, words), sizes if parts == 1 else (parts, *sizes), _affine(words, count),
        channels=None if parts == 1 else 0,
        time=3 + (parts != 1) if count == 4 else None,
        words=words,
    )  # fmt: skip


def metaimage_header(
    dtype: np.dtype[Any],
    sizes: Iterable[int],
    affine: Affine,
    packed: int,
    words: Mapping[str, str],
) -> bytes:
    """The header of a file with its voxels behind it, little-endian and packed by zlib.

    Args:
        dtype: of the voxels.
        sizes: of the three axes, the fastest first.
        affine: (first, second, third axis, square to each other) to world mm in LPS+.
        packed: bytes of the packed voxels.
        words: keys and values of our own, written early: they tell whose file it is.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    kind = next(name for name, code in _TYPES.items() if code == dtype.str[1:])
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        **words,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(packed),
        "TransformMatrix": _text((affine[:3, :3] / spacing).T),
        "Offset": _text(affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": _sides(affine),
        "ElementSpacing": _text(spacing),
        "DimSize": " ".join(map(str, sizes)),
        "ElementType": f"MET_{kind}",
        "ElementDataFile": "LOCAL",  # the last one: the voxels follow
    }
    return "".join(f"{key} = {value}\n" for key, value in fields.items()).encode("utf-8", "replace")


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{n:.17g}" for n in (numbers + 0.0).reshape(-1))


def _sides(affine: Affine) -> str:
    """Where each axis comes from, in the patient's letters; oblique ones paired as ITK does it."""
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, letters = np.abs(cosines), [""] * 3
    for _ in letters:
        world, axis = np.unravel_index(left.argmax(), left.shape)
        letters[axis] = _SIDES[world][int(cosines[world, axis] < 0)]
        left[world], left[:, axis] = -1, -1
    return "".join(letters)


def _fields(text: str) -> dict[str, str]:
    parted = (re.split(r"\s*[=:]\s*", line, maxsplit=1) for line in text.splitlines())
    return {parts[0].strip(): parts[1].strip() for parts in parted if len(parts) == 2}


def _yes(words: dict[str, str], name: str, default: str) -> bool:
    return words.get(name, default)[:1].upper() in ("T", "1")


def _dtype(path: Path, words: dict[str, str]) -> np.dtype:
    code = _TYPES.get(words["ElementType"].removeprefix("MET_").removesuffix("_ARRAY"))
    if code is None:
        raise UserError(f"{path.name} holds values of an unknown type: it is damaged.")
    is_big = _yes(words, "ElementByteOrderMSB", words.get("BinaryDataByteOrderMSB", "False"))
    return np.dtype((">" if is_big else "<") + code)


def _pieces(
    path: Path, words: dict[str, str], head: int, listed: list[str], sizes: tuple[int, ...]
) -> tuple[tuple[Path, int], ...]:
    """The files with the voxels, and where they begin in each."""
    name = words["ElementDataFile"]
    if name.upper() == "LOCAL":
        return ((path, head),)
    if not name:
        raise UserError(f"{path.name} does not say where its voxels are: it is damaged.")
    skipped = int(words.get("HeaderSize", 0))
    start = skipped if skipped >= 0 else FROM_END
    return tuple((file, start) for file in files_beside(path, name, listed, sizes))


def _affine(words: dict[str, str], count: int) -> Affine:
    """The first, second and third axis to world mm in RAS+; MetaImage's world is LPS+."""
    turn = _numbers(words, ("TransformMatrix", "Rotation", "Orientation"), count * count)
    origin = _numbers(words, ("Offset", "Position", "Origin"), count)
    spacing = _numbers(words, ("ElementSpacing", "ElementSize"), count)
    within = min(count, 3)
    affine = np.eye(4)
    directions = np.eye(count) if turn is None else turn.reshape(count, count).T
    steps = np.ones(count) if spacing is None else spacing
    affine[:within, :within] = (directions * steps)[:within, :within]
    if origin is not None:
        affine[:within, 3] = origin[:within]
    return _TO_RAS * affine


def _numbers(words: dict[str, str], names: tuple[str, ...], count: int) -> np.ndarray | None:
    text = next((words[name] for name in names if name in words), None)
    if text is None:
        return None
    numbers = np.array([float(part) for part in text.split()])
    if numbers.size != count:
        raise ValueError("as many numbers as axes")
    return numbers
