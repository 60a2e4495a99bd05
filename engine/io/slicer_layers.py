"""Segmentations of 3D Slicer whose segments overlap: a .seg.nrrd of several layers.

Each voxel has a list of numbers, one a layer; a segment is a number of one layer, so the same
number means another segment in the next one
(slicer.readthedocs.io, Developer guide, MRML overview, Segmentations).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.itk import volume_of
from engine.io.kinds import reading, suffix_of
from engine.io.mask_overlaps import Placing
from engine.io.nrrd import read_nrrd_header
from engine.io.voxel_file import check, read_voxels


@dataclass(frozen=True)
class _Segment:
    name: str
    layer: int
    value: int


def read_layers(path: Path, overlap: str) -> tuple[Volume, dict[int, str]] | None:
    """The segments as labels, numbered in the order in which the file describes them.

    Args:
        path: of a mask; only an NRRD file can have layers.
        overlap: as `Placing` wants it.

    Returns:
        A volume of uint8 labels, and their names by number; None for a file without layers.

    Raises:
        ChoiceNeeded: segments overlap, and nothing was chosen.
        UserError: the file is damaged.
    """
    if suffix_of(path) not in (".nrrd", ".nhdr"):
        return None
    with reading(path):
        found = read_nrrd_header(path)
        segments = _segments(found.words)
        if found.channels is None or found.time is not None or not segments:
            return None
        if len(segments) > np.iinfo(np.uint8).max:
            raise UserError(f"{path.name} holds more than 255 segments.")
        layered = replace(found, channels=None, time=found.channels)
        check(layered)
        stored = read_voxels(layered)
        placing = Placing(path, stored.shape[2::-1], overlap)
        for number, segment in enumerate(segments, start=1):
            place = np.stack(np.nonzero(stored[..., segment.layer] == segment.value))
            new = np.full(place.shape[1], number, dtype=np.uint8)
            placing.put(place, new)
        names = {n: segment.name for n, segment in enumerate(segments, start=1)}
        labels = placing.finish(names).T
        volume, _ = volume_of(replace(layered, time=None), labels, None)
        return volume, names


def _segments(words: dict[str, str]) -> list[_Segment]:
    segments: list[_Segment] = []
    while f"Segment{len(segments)}_LabelValue" in words:
        key = f"Segment{len(segments)}_"
        name = words.get(f"{key}Name") or words.get(f"{key}ID") or str(len(segments) + 1)
        layer = int(words.get(f"{key}Layer", 0))
        segments.append(_Segment(name, layer, int(words[f"{key}LabelValue"])))
    return segments
