"""Which series a file, a folder or a DICOMDIR holds, from the headers alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from engine.errors import UserError
from engine.io.dicom_decode import read_elements
from engine.io.dicom_header import ImageHeader, Patient, read_image_headers, short_hash
from engine.io.kinds import (
    MANIFEST_ENDING,
    is_dicomdir,
    kind_by_name,
    looks_like_dicom,
    natural_key,
    reading,
)

MASKS = ("SEG", "RTSTRUCT")  # modalities
_CROSS_SECTIONS = ("CT", "MR", "PT")
_KEPT = 2
_SAME_PLACE_MM = 1e-3
Check = Callable[[], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SeriesFound:
    """The images of one series.

    Attributes:
        uid: of the series, "" where it has none.
        images: their headers, in the order of the file names.
    """

    uid: str
    images: tuple[ImageHeader, ...]

    @property
    def volume(self) -> tuple[ImageHeader, ...]:
        """The images without scouts, or all where there is nothing else."""
        return tuple(i for i in self.images if not i.localizer) or self.images

    @property
    def name(self) -> str:
        """What a list calls it; nothing of the patient."""
        return f"{self.images[0].modality or 'DICOM'} series {self.images[0].number}".strip()

    @property
    def summary(self) -> str:
        """The scanner's description, what was taken, and the size, a line each.

        "Arterial phase", "120 slices, 5 mm every 2.5 mm, CT", "512 x 512 pixels". It is for the
        screen alone, as a description may name the patient.
        """
        first = self.volume[0]
        taken = ", ".join(part for part in (*_taken(self.volume), first.modality) if part)
        size = f"{first.shape[1]} x {first.shape[0]} pixels"
        return "\n".join(line for line in (first.description, taken, size) if line)

    def is_called(self, wanted: str) -> bool:
        """True if it has this number, UID or hash."""
        return wanted in (self.images[0].number, self.uid, short_hash(self.uid))


@dataclass(frozen=True, eq=False)
class Found:
    """What a path holds.

    Attributes:
        series: at least one.
        patient: of the first image.
        others: files that hold no image: reports, masks, anything else.
        absent: number of files that a DICOMDIR lists and that are not there.
    """

    series: tuple[SeriesFound, ...]
    patient: Patient
    others: tuple[Path, ...]
    absent: int = 0


def _taken(images: Sequence[ImageHeader]) -> tuple[str, ...]:
    """How many slices, of which thickness, and how far apart where that is something else."""
    first, count = images[0], len(images)
    many = f"{count} image{'s' * (count > 1)}"
    if first.along_row is None or first.down_column is None:
        return (many,)
    normal = np.cross(first.along_row, first.down_column)
    places = [float(normal @ image.position) for image in images if image.position is not None]
    gaps = np.diff(np.sort(places))
    steps = gaps[gaps > _SAME_PLACE_MM]
    if len(places) < count or not len(steps):
        return (many,)
    step = float(np.median(steps))
    thickness = f"{first.thickness:.3g} mm" if first.thickness else ""
    apart = f"every {step:.3g} mm" if abs(step - first.thickness) > 0.01 * step else ""
    times = f"{count // (len(steps) + 1)} times" if len(steps) + 1 < count else ""
    return f"{len(steps) + 1} slices", f"{thickness} {apart}".strip(), times


_FOUND: dict[tuple[Path, tuple[tuple[Path, int, int], ...]], Found] = {}  # the oldest first
_CHANGING = Lock()  # threads look for series at the same time


def find_series(path: Path, progress: Progress | None = None) -> Found:
    """Reads the headers of a file, of the files of a folder (not below it), or of a DICOMDIR.

    What was found last is kept, for listing and then opening a folder.

    Args:
        path: file or folder.
        progress: called with (files looked at, files in all); may raise `Cancelled`.

    Raises:
        UserError: there is no image.
    """
    files, absent = _files(path)
    # Size and time of each tell whether it has changed since.
    state = (path, tuple((f, s.st_size, s.st_mtime_ns) for f in files if (s := f.stat())))
    found = _FOUND.get(state)
    if found is None:
        found = _read(path, files, progress)
        with _CHANGING:
            _FOUND[state] = found
            while len(_FOUND) > _KEPT:
                del _FOUND[next(iter(_FOUND))]
    return replace(found, absent=absent)


def _read(path: Path, files: Sequence[Path], progress: Progress | None) -> Found:
    """What the files hold."""
    images: list[ImageHeader] = []
    others: list[Path] = []
    patient = Patient("", "")
    for n, file in enumerate(files):
        if progress:
            progress(n, len(files))
        header = _header(file)
        if header is None:
            others.append(file)
            continue
        patient = patient if images else header[1]
        images += header[0]
    if not images:
        raise UserError(
            f"{path.name} holds no DICOM image.",
            hint="Open the series itself; a segmentation or structure set opens as its mask.",
        )
    groups: dict[str, list[ImageHeader]] = {}
    for image in images:
        groups.setdefault(image.series, []).append(image)
    series = tuple(SeriesFound(uid, tuple(group)) for uid, group in groups.items())
    return Found(series, patient, tuple(others))


def belongs_to_mask(path: Path) -> bool:
    """True for a segmentation or structure set from DICOM, and for the manifest beside a mask."""
    if path.name.endswith(MANIFEST_ENDING):
        return True
    try:
        return read_elements(path, [Tag("Modality")], pixels=False).get("Modality") in MASKS
    except UserError:
        return False


def likeliest(series: Sequence[SeriesFound]) -> int:
    """Index of the series that is most likely meant: cross sections, and the most of them."""

    def rank(n: int) -> tuple[bool, bool, int, int]:
        found = series[n]
        first = found.volume[0]
        scout = all(image.localizer for image in found.images)
        return not scout, first.modality in _CROSS_SECTIONS, len(found.volume), -n

    return max(range(len(series)), key=rank)


def _files(path: Path) -> tuple[list[Path], int]:
    """The files that may hold an image, and how many more a DICOMDIR lists that are not there."""
    if is_dicomdir(path):
        return _referenced(path)
    if path.is_file():
        return [path], 0
    files = sorted(path.iterdir(), key=natural_key)
    kept = [f for f in files if f.is_file() and not f.name.startswith(".") and not is_dicomdir(f)]
    return kept, 0


def _referenced(path: Path) -> tuple[list[Path], int]:
    """The images that a DICOMDIR lists and that are there, and how many are not.

    PS3.3 F.5 and PS3.10 8.2.

    Raises:
        UserError: none of them is.
    """
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records: Sequence[Dataset] = pydicom.dcmread(path).get("DirectoryRecordSequence") or []
        _check_whole(path, records)
        named = [parts for r in records if (parts := r.get("ReferencedFileID"))]
        found = [f for parts in named if (f := _below(path.parent, parts)) is not None]
    if not found:
        raise UserError(
            f"{path.name} lists no image that is there.",
            hint="Copy the whole disc: the folders beside the DICOMDIR hold the images.",
        )
    return found, len(named) - len(found)


def _check_whole(path: Path, records: Sequence[Dataset]) -> None:
    """Refuses a list that ends early: what it no longer names would be missing without a word.

    pydicom takes the records that are there. Each tells where the next one lies in the file.
    """
    size = path.stat().st_size
    links = ("OffsetOfTheNextDirectoryRecord", "OffsetOfReferencedLowerLevelDirectoryEntity")
    ends = any(int(r.get(name) or 0) >= size for r in records for name in links)
    kind = records[-1].get("DirectoryRecordType") if records else ""
    is_cut = kind is None or (kind == "IMAGE" and not records[-1].get("ReferencedFileID"))
    if ends or is_cut:
        raise UserError(
            f"{path.name} is cut short: it does not name all images of the disc.",
            hint="Copy the file again, or open the folder of the series itself.",
        )


def _below(folder: Path, parts: str | Sequence[str]) -> Path | None:
    """A file of the disc; its names are in capitals in the list, and often not on the disk."""
    names = [parts] if isinstance(parts, str) else [str(part) for part in parts]
    if any(name in ("", ".", "..") or "/" in name or "\\" in name for name in names):
        return None
    found = folder
    for name in names:
        exact, lower = found / name, found / name.lower()
        found = exact if exact.exists() else lower
    return found if found.is_file() else None


def _header(file: Path) -> tuple[list[ImageHeader], Patient] | None:
    if kind_by_name(file) is not None or not looks_like_dicom(file):
        return None
    with reading(file):
        return read_image_headers(file)
