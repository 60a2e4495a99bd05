"""What is read from the header of each DICOM image before its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom.config
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.tag import Tag
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from engine.errors import UserError
from engine.io.dicom_decode import has_table, read_stream
from engine.io.dicom_frames import Elements, frames_of
from engine.io.dicom_plain import PlainPixels, find_plain
from engine.io.dicom_spacing import spacing_of
from engine.io.dicom_values import floats_of, many_of, number_of, text_of, whole_of, words_of

Vector = NDArray[np.float64]

# Odd values are judged below, once; pydicom would warn at every one of them.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_TAGS = [
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality",
    "PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID",
    "SeriesNumber", "SeriesDescription", "SliceThickness", "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SamplesPerPixel",
    "NominalScannedPixelSpacing", "PixelSpacingCalibrationType", "SequenceOfUltrasoundRegions",
    "TotalPixelMatrixColumns",
    "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "WindowCenter", "WindowWidth", "PixelPaddingValue", "Units", "FrameType", "FrameOfReferenceUID",
    "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
# What tells one time point (pass, echo, phase) from another, the surest first. Scanners fill in
# some of it; in multi-frame files it stands in functional groups.
_PASSES = [
    "TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionNumber",
    "FrameAcquisitionNumber", "FrameReferenceTime", "TriggerTime",
    "NominalCardiacTriggerDelayTime", "EchoNumbers", "EchoTime", "EffectiveEchoTime",
    "DiffusionBValue", "InstanceNumber",  # the last, which images of one time point need not share
]  # fmt: skip
# Looked up once: pydicom would turn the names into tags for every file.
_HEADER_TAGS: list[Any] = [Tag(name) for name in (*_TAGS, *_PASSES)]
UNNAMED = "unnamed"  # what a series without a UID is called by
# Objects that are about images but are none themselves.
_NO_IMAGE = {"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SR", "PR", "KO", "REG", "DOC"}


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """One DICOM image, or one frame of a multi-frame file, without its pixels.

    Attributes:
        path: its file.
        frame: which frame of a multi-frame file it is, from 0; None in a file of one image.
        frames: how many the file holds.
        uid: of the file's image or images (SOP instance).
        space: UID of the frame of reference, or "".
        order: number of the image as the scanner counts, 0 if it doesn't; of a frame its index.
        passes: numbers that may tell time points apart, 0 where nothing is said.
        series, number, description, study: series UID, number and description, and study UID, as
            text; a description may name the patient and is for the screen alone.
        modality, photometric: as DICOM names them.
        shape: (rows, columns).
        samples, bits_a_sample: layout of the pixels.
        has_table: True where a table turns stored values into real ones (Modality LUT).
        compressed: True if the file may be smaller than its pixels.
        position: of the first pixel's centre in mm, LPS+, or None.
        along_row, down_column: unit vectors in LPS+ of rising column and row index, or None.
        spacing: (row, column) distance in mm; None if unknown.
        spacing_at: where it was measured: "" in the patient, "detector" or "film" of a radiograph,
            "unknown" for one that does not say which.
        thickness: of the slice in mm, 0 where it is not said.
        distance: best guess of the slice distance where positions can't tell, in mm.
        slope, intercept: stored value to real value.
        unit: of the real values, or "".
        window: (level, width), or None.
        padding: stored value of what was not measured, or None.
        localizer: True for a scout.
        mosaic: True for many slices side by side in one picture.
        plain: where its pixels are; None where a decoder must find them.
    """

    path: Path
    frame: int | None
    frames: int
    uid: str
    space: str
    order: int
    passes: tuple[float, ...]
    series: str
    number: str
    description: str
    study: str
    modality: str
    photometric: str
    shape: tuple[int, int]
    samples: int
    bits_a_sample: int
    has_table: bool
    compressed: bool
    position: Vector | None
    along_row: Vector | None
    down_column: Vector | None
    spacing: tuple[float, float] | None
    spacing_at: str
    thickness: float
    distance: float
    slope: float
    intercept: float
    unit: str
    window: tuple[float, float] | None
    padding: int | None
    localizer: bool
    mosaic: bool
    plain: PlainPixels | None

    @property
    def title(self) -> str:
        """What a sentence calls it: its file, or which frame of the file."""
        name = self.path.name
        return name if self.frame is None else f"frame {self.frame + 1} of {name}"

    @property
    def pixel_bytes(self) -> int:
        """Of one decoded image."""
        return self.shape[0] * self.shape[1] * self.samples * max(1, self.bits_a_sample // 8)

    @property
    def file_bytes(self) -> int:
        """Of all images of the file, as they stand in it uncompressed."""
        # Two pixels share their colour (PS3.3 C.7.6.3.1.2).
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.shape[0] * self.shape[1] * samples * self.bits_a_sample * self.frames // 8


@dataclass(frozen=True)
class Patient:
    """What is known of the patient, only while a folder is opened; `repr` shows nothing."""

    id: str
    name: str

    def __repr__(self) -> str:
        return "Patient(...)"

    def is_named_in(self, text: str) -> bool:
        """True if a file name gives the patient away."""
        plain = text.casefold()
        parts = [p for p in self.name.replace("^", " ").replace("=", " ").split() if len(p) > 2]
        return any(p.casefold() in plain for p in [*parts, self.id] if len(p) > 2)


def read_image_headers(path: Path) -> tuple[list[ImageHeader], Patient] | None:
    """The headers of a file's images, or None for a DICOM file that holds none (a report, a plan).

    Raises:
        UserError: a value that is needed makes no sense.
    """
    with path.open("rb") as stream:
        ds = read_stream(path, stream, _HEADER_TAGS, pixels=False)
        plain = find_plain(ds, stream)
    whole = Elements([ds])
    if text_of(whole, "Modality") in _NO_IMAGE or not _has_size(path, ds):
        return None
    is_slide = text_of(whole, "SOPClassUID") == VLWholeSlideMicroscopyImageStorage
    if is_slide or "TotalPixelMatrixColumns" in whole:
        raise UserError(f"{path.name} is a slide cut into tiles, which can't be opened.")
    count = whole_of(path, whole, "NumberOfFrames", 1)
    file = _File(path, count, _is_compressed(ds), plain)
    frames = enumerate(frames_of(path, ds, count))
    headers = [_header(file, frame, n if count > 1 else None) for n, frame in frames]
    return headers, Patient(text_of(whole, "PatientID"), text_of(whole, "PatientName"))


class _File(NamedTuple):
    """What all images of a file share, as `ImageHeader` has it."""

    path: Path
    frames: int
    compressed: bool
    plain: PlainPixels | None


def _header(file: _File, ds: Elements, frame: int | None) -> ImageHeader:
    path = file.path
    along_row, down_column = _directions(path, ds)
    spacing, spacing_at = spacing_of(ds)
    kinds = words_of(ds, "ImageType") + words_of(ds, "FrameType")
    return ImageHeader(
        path=path,
        frame=frame,
        frames=file.frames,
        uid=text_of(ds, "SOPInstanceUID"),
        space=text_of(ds, "FrameOfReferenceUID"),
        order=int(number_of(ds, "InstanceNumber", 0.0)) if frame is None else frame,
        passes=tuple(number_of(ds, name, 0.0) for name in _PASSES),
        series=text_of(ds, "SeriesInstanceUID"),
        number=text_of(ds, "SeriesNumber"),
        description=text_of(ds, "SeriesDescription"),
        study=text_of(ds, "StudyInstanceUID"),
        modality=text_of(ds, "Modality"),
        photometric=text_of(ds, "PhotometricInterpretation").upper(),
        shape=(whole_of(path, ds, "Rows"), whole_of(path, ds, "Columns")),
        samples=whole_of(path, ds, "SamplesPerPixel", 1),
        bits_a_sample=whole_of(path, ds, "BitsAllocated", 16),
        has_table=has_table(ds.get("ModalityLUTSequence")),
        compressed=file.compressed,
        position=_position(ds),
        along_row=along_row,
        down_column=down_column,
        spacing=spacing,
        spacing_at=spacing_at,
        thickness=abs(number_of(ds, "SliceThickness", 0.0)),
        distance=_distance(ds),
        slope=number_of(ds, "RescaleSlope", 1.0) or 1.0,
        intercept=number_of(ds, "RescaleIntercept", 0.0),
        unit=_unit(ds),
        window=_window(ds),
        padding=_padding(ds),
        localizer="LOCALIZER" in kinds,
        mosaic="MOSAIC" in kinds,
        plain=file.plain,
    )


@lru_cache(maxsize=64)
def patient_key(identity: str) -> str:
    """The same for two cases of one patient; can't be turned back into the id.

    A plain hash of a short number could be found by trying all numbers, so a slow one is used.
    """
    salt = b"sdseg studio patient key"
    return hashlib.scrypt(identity.encode(), salt=salt, n=2**14, r=8, p=1, dklen=12).hex()


def short_hash(uid: str) -> str:
    """A one-way name for a UID; `UNNAMED` where there is none."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16] if uid else UNNAMED


def _directions(path: Path, ds: Elements) -> tuple[Vector | None, Vector | None]:
    values = floats_of(ds, "ImageOrientationPatient", 6)
    if values is None:
        return None, None
    row, column = np.array(values[:3]), np.array(values[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(row @ column) > 0.01:
        raise UserError(f"{path.name} is damaged: its directions in the patient make no sense.")
    return row / lengths[0], column / lengths[1]


def _position(ds: Elements) -> Vector | None:
    numbers = floats_of(ds, "ImagePositionPatient", 3)
    return None if numbers is None else np.array(numbers)


def _distance(ds: Elements) -> float:
    candidates = (number_of(ds, n, 0.0) for n in ("SpacingBetweenSlices", "SliceThickness"))
    return next((abs(c) for c in candidates if c), 1.0)


def _unit(ds: Elements) -> str:
    if text_of(ds, "Modality") == "CT":
        if has_table(table := ds.get("ModalityLUTSequence")):
            return "HU" if table[0].get("ModalityLUTType") == "HU" else ""
        # A picture of a CT (a dose report, say) holds no measured values, and no scale for them.
        is_scaled = "RescaleSlope" in ds or "RescaleIntercept" in ds
        return "HU" if is_scaled and text_of(ds, "RescaleType").upper() in ("", "HU") else ""
    return text_of(ds, "Units")


def _window(ds: Elements) -> tuple[float, float] | None:
    """The first of several that is one."""
    levels, widths = many_of(ds, "WindowCenter"), many_of(ds, "WindowWidth")
    for pair in zip(levels, widths, strict=False):
        try:
            level, width = float(pair[0]), float(pair[1])
        except (TypeError, ValueError):
            continue
        if isfinite(level) and isfinite(width) and width > 0:
            return level, width
    return None


def _padding(ds: Elements) -> int | None:
    value = ds.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    bits = ds.get("BitsAllocated")
    signed = ds.get("PixelRepresentation") == 1
    # Often written as if it were unsigned (63536 for -2000).
    return value - 65536 if signed and bits == 16 and value > 32767 else value


def _has_size(path: Path, ds: FileDataset) -> bool:
    """True for an image; an image that lost its size is an error, anything else is none."""
    if "Rows" in ds and "Columns" in ds:
        return True
    if _should_be_image(ds):
        raise UserError(
            f"{path.name} is cut short: its size is missing.", hint="Copy the file again."
        )
    return False


def _should_be_image(ds: FileDataset) -> bool:
    kind = ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID")
    return isinstance(kind, UID) and kind.name.endswith("Image Storage")


def _is_compressed(ds: FileDataset) -> bool:
    syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        return False
    return syntax.is_compressed or syntax.is_deflated
