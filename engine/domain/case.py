"""A case: one study or picture being worked on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.domain.box import Box
from engine.domain.label_map import LabelMap
from engine.domain.labels import LabelList
from engine.domain.review import ReviewState
from engine.domain.volume import Volume


@dataclass
class Case:
    """A scan with the work done on it.

    Attributes:
        name: what the window shows; never a patient's name.
        source: the file or folder the scan was read from (never written).
        scan: the picture or volume.
        label_map: on the scan's grid.
        labels: what its values mean.
        box: region of interest, or None for the whole.
        review: state of the case as a whole.
        slice_review: state of each slice that is not new.
        patient_key: the same for two cases of one patient; a one-way hash, never the id itself.
        warnings: what was odd about the source, one sentence each.
    """

    name: str
    source: Path
    scan: Volume
    label_map: LabelMap
    labels: LabelList = field(default_factory=LabelList)
    box: Box | None = None
    review: ReviewState = ReviewState.NEW
    slice_review: dict[int, ReviewState] = field(default_factory=dict[int, ReviewState])
    patient_key: str = ""
    warnings: tuple[str, ...] = ()


def new_case(scan: Volume, source: Path, patient_key: str = "") -> Case:
    """A case with an empty label map."""
    label_map = LabelMap(scan.grid.shape, scan.plane)
    name = source.name if source.is_dir() else source.name.removesuffix(".gz").rsplit(".", 1)[0]
    return Case(name, source, scan, label_map, patient_key=patient_key or name)
