"""What a mask in DICOM repeats of its source, and how it refers to the source's images."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from engine.domain.case import Case
from engine.domain.label_map import Origin
from engine.domain.labels import Label
from engine.errors import UserError
from engine.io.dicom import source_stack
from engine.io.dicom_header import ImageHeader
from engine.io.dicom_stack import Stack
from engine.io.dicom_text import one_text
from engine.io.kinds import MaskForm, reading
from engine.io.manifests import count_voxels
from engine.io.orientation import to_stored
from engine.system.atomic import atomic_write

OTHER_FORMAT = "Export the mask as NIfTI (.nii.gz)."
UTF8 = "ISO_IR 192"
SERIES_OFFSET = 1000  # series of results are numbered far from those of the scanner
# Attributes that must be there, but may be empty.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")
_UIDS = (
    "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
)  # fmt: skip
# All that a de-identified mask may take from its source beside UIDs.
_HARMLESS = (
    "SpecificCharacterSet", "SOPClassUID", "Modality", "SeriesNumber", "InstanceNumber",
    "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "LossyImageCompression",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence", "DimensionIndexSequence",
)  # fmt: skip
_EACH = "PerFrameFunctionalGroupsSequence"  # a file of frames has it, even of one frame
_OURS = "2.25."  # the root of UIDs that are made of a number (PS3.5 B.2)


@dataclass(frozen=True, eq=False)
class MaskSource:
    """A case from DICOM, ready to be written as a mask that refers to its images.

    Attributes:
        case: the case.
        stack: its images in their order.
        datasets: headers without pixels, each file once, in the stack's order.
        planes: uint8 ``[image, row, column]``: the labels on each image of the stack.
        values: the labels that are drawn, rising.
    """

    case: Case
    stack: Stack
    datasets: tuple[Dataset, ...]
    planes: NDArray[np.uint8]
    values: tuple[int, ...]

    def dataset_of(self, image: ImageHeader) -> Dataset:
        """The header of an image's file."""
        return self._by_file[image.path]

    @cached_property
    def _by_file(self) -> dict[Path, Dataset]:
        files = dict.fromkeys(image.path for image in self.stack.images)
        return dict(zip(files, self.datasets, strict=True))

    def label(self, value: int) -> Label:
        """The label of a value, its name as DICOM can hold it; a plain one where it has none."""
        label = self.case.labels.get(value) or Label(value, f"label {value}", (128, 128, 128))
        return replace(label, name=one_text(label.name) or f"label {value}")

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return count_voxels(self.case.label_map)

    def algorithm_type(self, value: int) -> str:
        """MANUAL, SEMIAUTOMATIC or AUTOMATIC (only what no hand has touched) for a label."""
        counts = self._counts
        erased = bool(counts[0, Origin.HAND])
        hand, model, unknown = (counts[value, n] for n in (Origin.HAND, Origin.MODEL, Origin.NONE))
        if unknown:  # from a file that does not say who drew it
            return "SEMIAUTOMATIC"
        if not model:
            return "MANUAL"
        return "SEMIAUTOMATIC" if hand or erased else "AUTOMATIC"


def check_source(path: Path, case: Case, form: MaskForm) -> Stack:
    """Makes sure, before anything is computed, that a case's mask can be written as DICOM.

    Args:
        path: the file to be written, for the sentences.
        case: whose mask it will be.
        form: SEG or RTSTRUCT.

    Returns:
        The images that the mask will refer to.

    Raises:
        UserError: the source is no DICOM, a film, of unknown pixel size, its first image lacks
            what must be repeated, a SEG would refer to several files of frames, or a structure set
            to images without a position.
    """
    if case.scan.stored.format != "dicom":
        raise _cant(path, "only a mask of a DICOM scan can be DICOM")
    stack = source_stack(case)
    if not stack.calibrated:
        raise _cant(
            path,
            f"the frames of {case.name} have no places of their own, and a mask in DICOM is told "
            "by places",
            hint="Export the mask as PNG or NIfTI.",
        )
    images = stack.images
    if any(image.spacing is None for image in images):
        raise _cant(path, f"the images of {case.name} do not say how large their pixels are")
    first = _header(images[0].path)
    if form is MaskForm.SEG:
        _check_files(path, case, stack, _EACH in first)
    elif any(image.position is None for image in images):
        raise _cant(path, f"the images of {case.name} do not say where they lie")
    return stack


def _cant(path: Path, why: str, hint: str = OTHER_FORMAT) -> UserError:
    return UserError(f"{path.name} can't be written: {why}.", hint=hint)


def _check_files(path: Path, case: Case, stack: Stack, has_frames: bool) -> None:
    """Refuses frames of several files: highdicom lets a segmentation refer to one such file."""
    count = len({image.path for image in stack.images})
    if count > 1 and (has_frames or any(image.frame is not None for image in stack.images)):
        raise _cant(
            path,
            f"the images of {case.name} are frames of {count} files, and a segmentation can refer "
            "to one such file",
            hint="Export the mask as an RT structure set or as NIfTI (.nii.gz).",
        )


def mask_source(
    path: Path,
    array: NDArray[np.uint8],
    case: Case,
    form: MaskForm,
    deidentify: bool = False,
) -> MaskSource:
    """Reads the headers of a case's images again.

    Args:
        path: the file to be written, for the sentences.
        array: uint8 ``[k, j, i]`` on the case's grid.
        case: whose mask it is.
        form: SEG or RTSTRUCT.
        deidentify: empties what names the patient or the study, and replaces the UIDs.

    Raises:
        UserError: as `check_source`, or nothing is drawn.
    """
    stack = check_source(path, case, form)
    values = tuple(int(v) for v in np.unique(array) if v)
    if not values:
        raise _cant(path, "a mask in DICOM holds at least one segment, and nothing is drawn")
    stored = to_stored(array, case.scan.stored)  # [column, row, slice]
    planes = np.ascontiguousarray(stored.transpose(2, 1, 0)[list(stack.places)])
    headers = [_header(file) for file in dict.fromkeys(image.path for image in stack.images)]
    datasets = tuple(_deidentified(ds) if deidentify else ds for ds in headers)
    return MaskSource(case, stack, datasets, planes, values)


@contextmanager
def building(path: Path, case: Case) -> Iterator[None]:
    """Libraries refuse what does not conform; the reason is for programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise _cant(
                path,
                f"the images of {case.name} lack something that a mask in DICOM must repeat, or "
                "hold it in a wrong form",
            ) from error


def _header(path: Path) -> Dataset:
    """All but the pixels, with what a mask must repeat."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        ds.decode()  # whatever its character set; the mask is written in UTF-8
        ds.SpecificCharacterSet = UTF8
    missing = [name for name in ("SOPClassUID", *_UIDS) if not ds.get(name)]
    if missing:
        raise UserError(
            f"{path.name} lacks what a mask in DICOM must repeat ({', '.join(missing)}).",
            hint=OTHER_FORMAT,
        )
    for name in (*PATIENT, *STUDY):
        if name not in ds:
            setattr(ds, name, "")
    return ds


def _deidentified(ds: Dataset) -> Dataset:
    """What is harmless; nothing of a person or a study; UIDs that are the same for the same."""
    plain = Dataset()
    plain.file_meta = ds.file_meta
    for name in _HARMLESS:
        if name in ds:
            plain[name] = ds[name]
    for name in (*PATIENT, *STUDY):
        setattr(plain, name, "")
    for name in _UIDS:
        setattr(plain, name, other_uid(str(ds.get(name))))
    return plain


def other_uid(uid: str) -> UID:
    """A UID that can't be turned back, and is the same for equal ones."""
    digest = hashlib.sha256(f"sdseg-studio {uid}".encode()).digest()
    return UID(_OURS + str(int.from_bytes(digest[:16], "big")))


def write_dataset(path: Path, ds: Dataset, deidentify: bool) -> None:
    """Writes a finished mask, all of it or nothing; one without a patient says so (C.7.1.1)."""
    if deidentify:
        ds.PatientIdentityRemoved = "YES"
        ds.DeidentificationMethod = "Patient and study emptied, UIDs replaced"
    with atomic_write(path) as draft:
        ds.save_as(draft, enforce_file_format=True)
