"""DICOM SEG out: a binary segmentation that refers to its source's own images (PS3.3 A.51)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from engine import __version__
from engine.domain.case import Case
from engine.domain.label_map import Origin
from engine.domain.labels import Label
from engine.domain.manifest import RESEARCH_USE, ModelUse
from engine.errors import UserError
from engine.io.dicom import source_stack
from engine.io.dicom_stack import Stack
from engine.io.kinds import reading
from engine.io.manifests import count_voxels
from engine.io.orientation import to_stored
from engine.io.replacing import PROGRAM
from engine.system.atomic import atomic_write

_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID",
)  # fmt: skip
# Attributes that must be there, but may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_TISSUE = Code("85756007", "SCT", "Tissue")
_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
_OTHER_FORMAT = "Export the mask as NIfTI (.nii.gz)."
_SERIES_OFFSET = 1000  # series of results are numbered far from those of the scanner


def write_seg(path: Path, array: NDArray[np.uint8], case: Case, model: ModelUse | None) -> None:
    """Writes a label map as DICOM SEG, all of it or nothing.

    Patient, study and frame of reference are the source's, or no archive could file it.

    Args:
        path: ends in .dcm.
        array: uint8 ``[k, j, i]`` on the case's grid.
        case: from DICOM; its files are read again.
        model: who proposed, for the segments that a model has a part in.

    Raises:
        UserError: the source is no DICOM or lacks what a SEG must repeat, or nothing is drawn.
    """
    values = _drawn(path, array, case)
    stack = source_stack(case)
    sources = _sources(stack)
    frames = _frames(array, case, stack, sources)
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    with warnings.catch_warnings(), _building(path, case):
        warnings.simplefilter("ignore")
        segmentation = _segmentation(sources, numbers[frames], _segments(case, values, model))
    with atomic_write(path) as draft:
        segmentation.save_as(draft, enforce_file_format=True)


def _drawn(path: Path, array: NDArray[np.uint8], case: Case) -> list[int]:
    """The labels that are drawn; refuses what no SEG can hold."""
    if case.scan.stored.format != "dicom":
        raise UserError(
            f"{path.name} can't be written: only a mask of a DICOM scan can be DICOM SEG.",
            hint=_OTHER_FORMAT,
        )
    values = [int(v) for v in np.unique(array) if v]
    if not values:
        raise UserError(
            f"{path.name} can't be written: a DICOM SEG holds at least one segment, and nothing "
            "is drawn.",
            hint=_OTHER_FORMAT,
        )
    return values


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
        series_number=_SERIES_OFFSET + int(sources[0].get("SeriesNumber") or 0),
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


@contextmanager
def _building(path: Path, case: Case) -> Iterator[None]:
    """highdicom refuses what does not conform; the reason is for programmers."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            f"{path.name} can't be written: the images of {case.name} lack something that a DICOM "
            "SEG must repeat, or hold it in a wrong form.",
            hint=_OTHER_FORMAT,
        ) from error


def _sources(stack: Stack) -> list[Dataset]:
    """The datasets of the images without their pixels, each file once, in the stack's order."""
    found: list[Dataset] = []
    for path in dict.fromkeys(image.path for image in stack.images):
        with reading(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        missing = [name for name in _NEEDED if not ds.get(name)]
        if missing:
            raise UserError(
                f"{path.name} lacks what a DICOM SEG must repeat ({', '.join(missing)}).",
                hint=_OTHER_FORMAT,
            )
        for name in _MAY_BE_EMPTY:
            if name not in ds:
                setattr(ds, name, "")
        found.append(ds)
    return found


def _frames(
    array: NDArray[np.uint8], case: Case, stack: Stack, sources: Sequence[Dataset]
) -> NDArray[np.uint8]:
    """Labels ``[frame, row, column]``, in the order of the source's images or frames."""
    stored = to_stored(array, case.scan.stored)  # [column, row, slice]
    planes = stored.transpose(2, 1, 0)[list(stack.places)]
    if stack.images[0].frame is None:
        return np.ascontiguousarray(planes)
    frames = np.zeros((stack.images[0].frames, *planes.shape[1:]), dtype=np.uint8)
    frames[np.array([image.frame for image in stack.images])] = planes
    return frames


def _segments(
    case: Case, values: Sequence[int], model: ModelUse | None
) -> list[hd.seg.SegmentDescription]:
    labels = {label.id: label for label in case.labels}
    counts = count_voxels(case.label_map)
    erased = bool(counts[0, Origin.HAND])
    described: list[hd.seg.SegmentDescription] = []
    for number, value in enumerate(values, start=1):
        label = labels.get(value, Label(value, f"label {value}", (128, 128, 128)))
        by_hand, by_model = counts[value, Origin.HAND], counts[value, Origin.MODEL]
        kind = _algorithm_type(bool(by_hand) or erased, bool(by_model))
        category, what = (_ANATOMY, _code(label)) if label.concept else (_TISSUE, _TISSUE)
        described.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=label.name[:64],
                segmented_property_category=category,
                segmented_property_type=what,
                algorithm_type=kind,
                algorithm_identification=None if kind == "MANUAL" else _algorithm(model),
                display_color=CIELabColor.from_rgb(*label.colour),
            )
        )
    return described


def _algorithm_type(edited: bool, by_model: bool) -> str:
    """AUTOMATIC only for what no hand has touched."""
    if not by_model:
        return "MANUAL"
    return "SEMIAUTOMATIC" if edited else "AUTOMATIC"


def _algorithm(model: ModelUse | None) -> Any:
    name = model.name if model else PROGRAM
    version = model.sha256[:16] if model else __version__
    return hd.AlgorithmIdentificationSequence(
        name=name[:64],
        family=codes.DCM.ArtificialIntelligence,  # type: ignore[union-attr]
        version=version,
        source=PROGRAM,
    )


def _code(label: Label) -> Code:
    scheme, value, meaning = label.concept or ("", "", "")
    return Code(value, scheme, meaning)
