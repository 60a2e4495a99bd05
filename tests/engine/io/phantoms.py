"""Files that the tests write themselves; every voxel has a value of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from engine.domain.box import full_box
from engine.domain.label_map import Origin

CT = "1.2.840.10008.5.1.4.1.1.2"
AXIS_ORDERS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
TILTS = [(0, 0, 0), (12, 0, 0), (0, -17, 0), (9, 14, -21), (-25, 8, 30)]


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    """Turned about x, then y, then z."""
    result = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


def axis_order_affine(order, signs, degrees=(0, 0, 0), spacing=(0.8, 1.3, 2.1)) -> np.ndarray:
    """File axis n runs along world axis order[n], in the direction signs[n], then tilted."""
    directions = np.zeros((3, 3))
    for column, (world, sign) in enumerate(zip(order, signs, strict=True)):
        directions[world, column] = sign * spacing[column]
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) @ directions
    affine[:3, 3] = (-31.5, 12.25, 70.0)
    return affine


def distinct(shape: tuple[int, ...], dtype: Any = np.int16) -> np.ndarray:
    """Every voxel another value: nothing can be flipped or turned unseen."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, **codes: int) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, codes.get("sform", 1))
    image.set_qform(affine, codes.get("qform", 1), strip_shears=True)
    nib.save(image, path)
    return path


def positions_by_value(array: np.ndarray, affine: np.ndarray) -> dict[float, tuple[float, ...]]:
    """World position (RAS+, rounded to a micrometre) of every value; array in (i, j, k) order."""
    index = np.indices(array.shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    rounded = np.round(world.T, 3) + 0.0
    return dict(zip(array.reshape(-1).tolist(), map(tuple, rounded.tolist()), strict=True))


def positions_of(scan) -> dict[float, tuple[float, ...]]:
    """The same for a scan in LPS+ order."""
    return positions_by_value(scan.array.transpose(2, 1, 0), scan.grid.affine)


def same_positions(first: dict, second: dict, tolerance: float = 1e-3) -> bool:
    keys = sorted(first)
    if keys != sorted(second):
        return False
    a, b = (np.array([d[key] for key in keys]) for d in (first, second))
    return bool(np.abs(a - b).max() <= tolerance + 1e-9)


@dataclass
class Series:
    """A DICOM series to be written: `pixels` is [slice, row, column]."""

    pixels: np.ndarray
    row: tuple[float, ...] = (1, 0, 0)
    column: tuple[float, ...] = (0, 1, 0)
    spacing: tuple[float, float] = (0.7, 0.9)
    step: tuple[float, ...] = (0, 0, 2.5)
    origin: tuple[float, ...] = (-20.0, 15.0, 100.0)
    number: int = 3
    uid: str = field(default_factory=generate_uid)
    study: str = field(default_factory=generate_uid)
    tags: dict[str, Any] = field(default_factory=dict)

    def position(self, n: int) -> np.ndarray:
        return np.array(self.origin) + n * np.array(self.step)

    def dataset(self, n: int) -> Dataset:
        pixels = self.pixels[n]
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CT
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.study, self.uid
        ds.FrameOfReferenceUID = self.study
        ds.SeriesNumber, ds.Modality = self.number, "CT"
        ds.PatientName, ds.PatientID = "Canary^Cuthbert", "CANARY-4711"
        ds.ImageOrientationPatient = [float(v) for v in (*self.row, *self.column)]
        ds.ImagePositionPatient = [float(v) for v in self.position(n)]
        ds.PixelSpacing, ds.SliceThickness = list(self.spacing), 5
        ds.Rows, ds.Columns = pixels.shape[:2]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
        ds.HighBit = ds.BitsStored - 1
        ds.PixelRepresentation = int(pixels.dtype.kind == "i")
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelData = pixels.tobytes()
        for name, value in self.tags.items():
            setattr(ds, name, value)
        return ds

    def write(self, folder: Path, names: list[str] | None = None, skip=()) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(len(self.pixels)):
            if n in skip:
                continue
            name = names[n] if names else f"IM{n:04d}.dcm"
            self.dataset(n).save_as(folder / name, enforce_file_format=True)
        return folder

    def enhanced(self, order: list[int] | None = None, **outer: Any) -> Dataset:
        """One multi-frame file of all slices, its frames in any order (PS3.3 C.7.6.16)."""
        frames = list(range(len(self.pixels))) if order is None else order
        ds = self.dataset(0)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        ds.NumberOfFrames = len(frames)
        scale, orientation, measures = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = ds.RescaleSlope, ds.RescaleIntercept
        orientation.ImageOrientationPatient = ds.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, ds.SliceThickness
        for name in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
            delattr(ds, name)
        for name in ("RescaleSlope", "RescaleIntercept", "SliceThickness"):
            delattr(ds, name)
        shared = Dataset()
        shared.PlaneOrientationSequence = [orientation]
        shared.PixelMeasuresSequence = [measures]
        shared.PixelValueTransformationSequence = [scale]
        ds.SharedFunctionalGroupsSequence = [shared]
        ds.PerFrameFunctionalGroupsSequence = [self._group(n) for n in frames]
        ds.PixelData = self.pixels[frames].tobytes()
        for name, value in outer.items():
            setattr(ds, name, value)
        return ds

    def _group(self, n: int) -> Dataset:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = [float(v) for v in self.position(n)]
        group.PlanePositionSequence = [place]
        return group

    def truth(self) -> dict[float, tuple[float, ...]]:
        """World position (RAS+) of every pixel value, straight from DICOM's definition."""
        depth, rows, columns = self.pixels.shape
        result = {}
        for n, r, c in product(range(depth), range(rows), range(columns)):
            lps = (
                self.position(n)
                + c * self.spacing[1] * np.array(self.row)
                + r * self.spacing[0] * np.array(self.column)
            )
            result[self.pixels[n, r, c].item()] = tuple(np.round(lps * (-1, -1, 1), 3) + 0.0)
        return result


def draw(case, *boxes: tuple[slice, slice, slice], origin: Origin = Origin.HAND) -> None:
    """Labels 1, 2, ... in these boxes."""
    for number, box in enumerate(boxes, start=1):
        mask = np.zeros(case.scan.grid.shape, dtype=bool)
        mask[box] = True
        edit = case.label_map.make_edit(full_box(mask.shape), mask, number, origin)
        case.label_map.apply(edit)
        case.labels = case.labels.added(f"part {number}")


def sha256_of(path: Path) -> dict[str, str]:
    """Hash of a file, or of every file below a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def plain(depth=6, **options) -> Series:
    """A series of `depth` slices in which every voxel differs."""
    return Series(distinct((depth, 5, 6)), **options)


def two_passes(depth=4) -> tuple[Series, Series]:
    """One series taken twice, the second time 1000 brighter."""
    first = Series(distinct((depth, 5, 6)), tags={"RescaleIntercept": 0})
    second = Series(first.pixels + np.int16(1000), uid=first.uid, study=first.study)
    second.tags = dict(first.tags)
    return first, second


def copied_structure(path: Path, name: str = "") -> Path:
    """Puts the first structure of a structure set into it again, as number 2."""
    ds, copy = dcmread(path), dcmread(path)
    for sequence in ("StructureSetROISequence", "ROIContourSequence"):
        ds[sequence].value.append(copy[sequence].value[0])
    ds.StructureSetROISequence[1].ROINumber = ds.ROIContourSequence[1].ReferencedROINumber = 2
    ds.StructureSetROISequence[1].ROIName = name or ds.StructureSetROISequence[0].ROIName
    ds.save_as(path)
    return path


def two_segments(path, case, kind, first, second, **options):
    """A SEG of two segments `[frame, row, column]` by highdicom, straight from its sources."""
    sources = [dcmread(p) for p in sorted(case.source.iterdir())]
    segments = [
        hd.seg.SegmentDescription(n, f"s{n}", *[hd.sr.CodedConcept("1", "99X", "x")] * 2, "MANUAL")
        for n in (1, 2)
    ]
    seg = hd.seg.Segmentation(
        sources,
        np.stack([first, second], axis=-1),
        kind,
        segments,
        hd.UID(),
        1,
        hd.UID(),
        1,
        "m",
        "m",
        "1",
        "1",
        **options,
    )
    seg.save_as(path)
    return path
