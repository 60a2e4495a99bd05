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

Vector = NDArray[np.float64]

# Odd values are judged below, once; pydicom would warn at every one of them.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_TAGS = [
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality",
    "PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID",
    "SeriesNumber", "SeriesDescription", "SliceThickness", "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SamplesPerPixel",
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
        spacing_at_detector: True if it was measured at a radiograph's detector.
        thickness: best guess of the slice distance where positions can't tell, in mm.
        slope, intercept: stored value to real value.
        unit: of the real values, or "".
        window: (level, width), or None.
        padding: stored value of what was not measured, or None.
        localizer: True for a scout.
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
    spacing_at_detector: bool
    thickness: float
    slope: float
    intercept: float
    unit: str
    window: tuple[float, float] | None
    padding: int | None
    localizer: bool
    plain: PlainPixels | None

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
    if _text(whole, "Modality") in _NO_IMAGE or not _has_size(path, ds):
        return None
    if _text(whole, "SOPClassUID") == VLWholeSlideMicroscopyImageStorage:
        raise UserError(f"{path.name} is a slide cut into tiles, which can't be opened.")
    count = _whole(path, whole, "NumberOfFrames", 1)
    file = _File(path, count, _is_compressed(ds), plain)
    frames = enumerate(frames_of(path, ds, count))
    headers = [_header(file, frame, n if count > 1 else None) for n, frame in frames]
    return headers, Patient(_text(whole, "PatientID"), _text(whole, "PatientName"))


class _File(NamedTuple):
    """What all images of a file share, as `ImageHeader` has it."""

    path: Path
    frames: int
    compressed: bool
    plain: PlainPixels | None


def _header(file: _File, ds: Elements, frame: int | None) -> ImageHeader:
    path = file.path
    along_row, down_column = _directions(path, ds)
    spacing, at_detector = _spacing(ds)
    return ImageHeader(
        path=path,
        frame=frame,
        frames=file.frames,
        uid=_text(ds, "SOPInstanceUID"),
        space=_text(ds, "FrameOfReferenceUID"),
        order=int(_number(ds, "InstanceNumber", 0.0)) if frame is None else frame,
        passes=tuple(_number(ds, name, 0.0) for name in _PASSES),
        series=_text(ds, "SeriesInstanceUID"),
        number=_text(ds, "SeriesNumber"),
        description=_text(ds, "SeriesDescription"),
        study=_text(ds, "StudyInstanceUID"),
        modality=_text(ds, "Modality"),
        photometric=_text(ds, "PhotometricInterpretation").upper(),
        shape=(_whole(path, ds, "Rows"), _whole(path, ds, "Columns")),
        samples=_whole(path, ds, "SamplesPerPixel", 1),
        bits_a_sample=_whole(path, ds, "BitsAllocated", 16),
        has_table=has_table(ds.get("ModalityLUTSequence")),
        compressed=file.compressed,
        position=_position(ds),
        along_row=along_row,
        down_column=down_column,
        spacing=spacing,
        spacing_at_detector=at_detector,
        thickness=_thickness(ds),
        slope=_number(ds, "RescaleSlope", 1.0) or 1.0,
        intercept=_number(ds, "RescaleIntercept", 0.0),
        unit=_unit(ds),
        window=_window(ds),
        padding=_padding(ds),
        localizer="LOCALIZER" in _words(ds, "ImageType") + _words(ds, "FrameType"),
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
    """A one-way name for a UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16] if uid else ""


def _text(ds: Elements, name: str) -> str:
    value = ds.get(name)
    return "" if value is None else str(value).strip()


def _many(ds: Elements, name: str) -> list[Any]:
    value = ds.get(name)
    if value is None or isinstance(value, str):
        return [] if value is None else [value]
    return list(value) if hasattr(value, "__iter__") else [value]


def _words(ds: Elements, name: str) -> list[str]:
    return [str(word).upper() for word in _many(ds, name)]


def _floats(ds: Elements, name: str, count: int) -> list[float] | None:
    """Exactly `count` finite numbers, or None."""
    try:
        values = [float(v) for v in _many(ds, name)]
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(isfinite, values)) else None


def _number(ds: Elements, name: str, default: float) -> float:
    try:
        values = [float(v) for v in _many(ds, name)[:1]]
    except (TypeError, ValueError):
        return default
    return values[0] if values and isfinite(values[0]) else default


def _whole(path: Path, ds: Elements, name: str, default: int = 0) -> int:
    try:
        value = int(ds.get(name) or default)
    except (TypeError, ValueError):
        value = 0
    if value < 1:
        raise UserError(f"{path.name} is damaged: its {name} makes no sense.")
    return value


def _directions(path: Path, ds: Elements) -> tuple[Vector | None, Vector | None]:
    values = _floats(ds, "ImageOrientationPatient", 6)
    if values is None:
        return None, None
    row, column = np.array(values[:3]), np.array(values[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(row @ column) > 0.01:
        raise UserError(f"{path.name} is damaged: its directions in the patient make no sense.")
    return row / lengths[0], column / lengths[1]


def _position(ds: Elements) -> Vector | None:
    numbers = _floats(ds, "ImagePositionPatient", 3)
    return None if numbers is None else np.array(numbers)


def _spacing(ds: Elements) -> tuple[tuple[float, float] | None, bool]:
    for name, at_detector in (("PixelSpacing", False), ("ImagerPixelSpacing", True)):
        values = _floats(ds, name, 2)
        if values is not None and min(values) > 0:
            return (values[0], values[1]), at_detector
    return None, False


def _thickness(ds: Elements) -> float:
    candidates = (_number(ds, n, 0.0) for n in ("SpacingBetweenSlices", "SliceThickness"))
    return next((abs(c) for c in candidates if c), 1.0)


def _unit(ds: Elements) -> str:
    if _text(ds, "Modality") == "CT":
        return "HU" if _text(ds, "RescaleType").upper() in ("", "HU") else ""
    return _text(ds, "Units")


def _window(ds: Elements) -> tuple[float, float] | None:
    width = _number(ds, "WindowWidth", 0.0)
    level = _number(ds, "WindowCenter", np.inf if "WindowCenter" not in ds else 0.0)
    return (level, width) if width > 0 and isfinite(level) else None


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
