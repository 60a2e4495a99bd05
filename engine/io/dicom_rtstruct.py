"""DICOM RT structure set out: the outlines of each label on the source's images (PS3.3 A.19)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from highdicom.base import SOPClass
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from engine import __version__
from engine.domain.case import Case
from engine.domain.manifest import RESEARCH_USE, ModelUse
from engine.imaging.contours import Points, outlines
from engine.io.dicom_header import ImageHeader
from engine.io.dicom_source import (
    SERIES_OFFSET,
    UTF8,
    MaskSource,
    building,
    mask_source,
    write_dataset,
)
from engine.io.dicom_text import one_text
from engine.io.kinds import MaskForm
from engine.io.replacing import PROGRAM

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # what all readers expect as the class of a study
_DIGITS = 4  # of a millimetre


def write_rtstruct(
    path: Path,
    array: NDArray[np.uint8],
    case: Case,
    model: ModelUse | None = None,
    deidentify: bool = False,
) -> None:
    """Writes a label map as a structure set of closed planar contours, all of it or nothing.

    Each contour lies in the plane of one source image, half-way between the pixels that are in and
    those that are out; a hole is joined to its outline (keyhole, PS3.3 C.8.8.6.3).

    Args:
        path: ends in .dcm.
        array: uint8 ``[k, j, i]`` on the case's grid.
        case: from DICOM; its files are read again.
        model: who proposed, for the labels that a model has a part in.
        deidentify: leaves patient and study empty and replaces the UIDs.

    Raises:
        UserError: the source is no DICOM with positions, lacks what must be repeated, or nothing is
            drawn.
    """
    source = mask_source(path, array, case, MaskForm.RTSTRUCT, deidentify)
    numbers = range(1, len(source.values) + 1)
    with building(path, case):
        structures = _structure_set(source)
        structures.StructureSetROISequence = [_roi(source, n, model) for n in numbers]
        structures.ROIContourSequence = [_contours(source, n) for n in numbers]
        structures.RTROIObservationsSequence = [_observation(n) for n in numbers]
    write_dataset(path, structures, deidentify)


def _structure_set(source: MaskSource) -> Dataset:
    """Patient, study, series and what the contours refer to."""
    first, now = source.datasets[0], datetime.now()
    ds = SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=generate_uid(),
        series_number=SERIES_OFFSET + int(first.get("SeriesNumber") or 0),
        sop_instance_uid=generate_uid(),
        sop_class_uid=RTStructureSetStorage,
        instance_number=1,
        modality="RTSTRUCT",
        manufacturer=PROGRAM,
        manufacturer_model_name=PROGRAM,
        software_versions=__version__,
        series_description=f"{PROGRAM}, research use only",
        # Explicit elements of numbers end at 64 KB: an outline of many points would not fit.
        transfer_syntax_uid=ImplicitVRLittleEndian,
    )
    ds.copy_patient_and_study_information(first)
    ds.SpecificCharacterSet = UTF8
    ds.OperatorsName = ""
    ds.StructureSetLabel = "SEGMENTATION"
    ds.StructureSetDescription = RESEARCH_USE
    ds.StructureSetDate = now.strftime("%Y%m%d")
    ds.StructureSetTime = now.strftime("%H%M%S")
    ds.FrameOfReferenceUID = first.FrameOfReferenceUID
    ds.PositionReferenceIndicator = str(first.get("PositionReferenceIndicator") or "")
    ds.ApprovalStatus = "UNAPPROVED"  # a review in this program is no approval of a treatment
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_reference(source, image) for image in source.stack.images]
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    return ds


def _reference(source: MaskSource, image: ImageHeader) -> Dataset:
    """One source image, or one frame of a source file."""
    origin = source.dataset_of(image)
    item = Dataset()
    item.ReferencedSOPClassUID = origin.SOPClassUID
    item.ReferencedSOPInstanceUID = origin.SOPInstanceUID
    if image.frame is not None:
        item.ReferencedFrameNumber = image.frame + 1
    return item


def _roi(source: MaskSource, number: int, model: ModelUse | None) -> Dataset:
    label = source.label(source.values[number - 1])
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = source.datasets[0].FrameOfReferenceUID
    item.ROIName = label.name
    item.ROIGenerationAlgorithm = source.algorithm_type(label.id)
    if item.ROIGenerationAlgorithm != "MANUAL":
        item.ROIGenerationDescription = one_text(model.name if model else "unknown")
    return item


def _observation(number: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = ""
    return item


def _contours(source: MaskSource, number: int) -> Dataset:
    value = source.values[number - 1]
    found = Dataset()
    found.ROIDisplayColor = list(source.label(value).colour)
    found.ReferencedROINumber = number
    found.ContourSequence = list(_contour_items(source, value))
    return found


def _contour_items(source: MaskSource, value: int) -> Iterator[Dataset]:
    for image, plane in zip(source.stack.images, source.planes, strict=True):
        for points in outlines(plane == value):
            world = _world(image, points)
            item = Dataset()
            item.ContourImageSequence = [_reference(source, image)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(points)
            item.ContourData = [f"{v:.{_DIGITS}f}" for v in world.reshape(-1)]
            yield item


def _world(image: ImageHeader, points: Points) -> Points:
    """(column, row) on an image as (x, y, z) in mm, LPS+ (PS3.3 C.7.6.2.1.1)."""
    position, spacing = image.position, image.spacing
    along_row, down_column = image.along_row, image.down_column
    if position is None or along_row is None or down_column is None or spacing is None:
        raise ValueError("checked before")
    down, along = spacing
    across = points[:, :1] * along * along_row
    return position + across + points[:, 1:] * down * down_column
