"""DICOM SEG out: a binary segmentation that refers to its source's own images (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from engine import __version__
from engine.domain.case import Case
from engine.domain.labels import Label
from engine.domain.manifest import RESEARCH_USE, ModelUse
from engine.io.dicom_source import (
    SERIES_OFFSET,
    MaskSource,
    building,
    mask_source,
    write_dataset,
)
from engine.io.dicom_text import one_text
from engine.io.kinds import MaskForm
from engine.io.replacing import PROGRAM

_TISSUE = Code("85756007", "SCT", "Tissue")
_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")


def write_seg(
    path: Path,
    array: NDArray[np.uint8],
    case: Case,
    model: ModelUse | None = None,
    deidentify: bool = False,
) -> None:
    """Writes a label map as DICOM SEG, all of it or nothing.

    Patient, study and frame of reference are the source's, or no archive could file it.

    Args:
        path: ends in .dcm.
        array: uint8 ``[k, j, i]`` on the case's grid.
        case: from DICOM; its files are read again.
        model: who proposed, for the segments that a model has a part in.
        deidentify: leaves patient and study empty and replaces the UIDs.

    Raises:
        UserError: the source is no DICOM, several files of many frames, or lacks what a SEG must
            repeat, or nothing is drawn.
    """
    source = mask_source(path, array, case, MaskForm.SEG, deidentify)
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[list(source.values)] = np.arange(1, len(source.values) + 1)
    with building(path, case):
        segments = [_segment(source, n, model) for n in range(1, len(source.values) + 1)]
        segmentation = _segmentation(source.datasets, numbers[_frames(source)], segments)
    write_dataset(path, segmentation, deidentify)


def _segmentation(
    sources: Sequence[Dataset],
    frames: NDArray[np.uint8],
    segments: Sequence[hd.seg.SegmentDescription],
) -> hd.seg.Segmentation:
    """Of segment numbers ``[frame, row, column]`` in the order of the sources' frames."""
    segmentation = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=SERIES_OFFSET + int(sources[0].get("SeriesNumber") or 0),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=PROGRAM,
        manufacturer_model_name=PROGRAM,
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description=RESEARCH_USE,
    )
    segmentation.SeriesDescription = f"{PROGRAM}, research use only"
    return segmentation


def _frames(source: MaskSource) -> NDArray[np.uint8]:
    """Labels ``[frame, row, column]``, in the order of the source's images or frames."""
    first = source.stack.images[0]
    if first.frame is None:
        return source.planes
    frames = np.zeros((first.frames, *source.planes.shape[1:]), dtype=np.uint8)
    frames[np.array([image.frame for image in source.stack.images])] = source.planes
    return frames


def _segment(source: MaskSource, number: int, model: ModelUse | None) -> hd.seg.SegmentDescription:
    label = source.label(source.values[number - 1])
    kind = source.algorithm_type(label.id)
    category, what = (_ANATOMY, _code(label)) if label.concept else (_TISSUE, _TISSUE)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=category,
        segmented_property_type=what,
        algorithm_type=kind,
        algorithm_identification=None if kind == "MANUAL" else _algorithm(model),
        display_color=CIELabColor.from_rgb(*label.colour),
    )


def _algorithm(model: ModelUse | None) -> Any:
    return hd.AlgorithmIdentificationSequence(
        name=one_text(model.name if model else "unknown"),
        family=codes.DCM.ArtificialIntelligence,  # type: ignore[union-attr]
        version=model.sha256[:16] if model else "unknown",
        source=PROGRAM if model else "unknown",
    )


def _code(label: Label) -> Code:
    scheme, value, meaning = label.concept or ("", "", "")
    return Code(value, scheme, meaning)
