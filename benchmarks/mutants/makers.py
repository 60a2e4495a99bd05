"""A small valid file of every format that opens, as bytes; the mutants are made of them.

Every maker gives the content of one file, or of several by their names.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RTStructureSetStorage,
    generate_uid,
)

Files = dict[str, bytes]
CT = "1.2.840.10008.5.1.4.1.1.2"
AFFINE = np.array([[-0.8, 0, 0, 20], [0, -0.9, 0.1, 15], [0, 0.1, 2.5, -40], [0, 0, 0, 1.0]])


def grey(shape: tuple[int, ...], kind: type[np.generic] = np.uint8) -> NDArray[Any]:
    """Smooth with some noise: it is packed as a scan would be."""
    noise = np.random.default_rng(7).integers(0, 24, shape)
    ramp = np.indices(shape).sum(axis=0) * 3
    return ((ramp + noise) % 200).astype(kind)


def all_saved(name: str, write: Callable[[Path], object]) -> Files:
    """The files that a library writes when it is given a name, whose ending decides how."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        files = (p for p in Path(folder).rglob("*") if p.is_file())
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def picture(kind: str, pixels: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def palette_png() -> bytes:
    image = Image.fromarray(grey((48, 56)) // 50).convert("P")
    image.putpalette(list(range(256)) * 3)
    stream = io.BytesIO()
    image.save(stream, format="PNG", transparency=3)
    return stream.getvalue()


def tiled_tiff() -> bytes:
    """Twelve tiles of 16 x 16 that are packed by LZW, after TIFF 6.0, sections 2, 13 and 15."""
    pixels, starts = grey((48, 64)), [(r, c) for r in range(0, 48, 16) for c in range(0, 64, 16)]
    tiles = [lzw(pixels[r : r + 16, c : c + 16].tobytes()) for r, c in starts]
    offsets_at = 8 + 2 + 11 * 12 + 4
    sizes_at = offsets_at + 4 * len(tiles)
    begin = sizes_at + 4 * len(tiles)
    offsets = [begin + sum(len(tile) for tile in tiles[:n]) for n in range(len(tiles))]
    fields = {  # tag: (type 3 of 16 bits, 4 of 32 bits; count; value or where the values are)
        256: (3, 1, 64), 257: (3, 1, 48), 258: (3, 1, 8), 259: (3, 1, 5), 262: (3, 1, 1),
        277: (3, 1, 1), 284: (3, 1, 1), 322: (3, 1, 16), 323: (3, 1, 16),
        324: (4, len(tiles), offsets_at), 325: (4, len(tiles), sizes_at),
    }  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(fields))
    head += b"".join(struct.pack("<HHII", tag, *field) for tag, field in fields.items())
    numbers = [0, *offsets, *map(len, tiles)]
    return head + struct.pack(f"<{len(numbers)}I", *numbers) + b"".join(tiles)


def lzw(content: bytes) -> bytes:
    """TIFF's LZW without a dictionary: 9-bit codes, cleared before they would grow longer."""
    clear, end = 256, 257
    codes: list[int] = []
    for n, value in enumerate(content):
        if n % 200 == 0:
            codes.append(clear)
        codes.append(value)
    bits = "".join(f"{code:09b}" for code in [*codes, end])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def nifti(suffix: str, image: type[Any] = nib.Nifti1Image) -> bytes:
    array = grey((12, 11, 6), np.int16)
    return all_saved(f"x{suffix}", lambda path: nib.save(image(array, AFFINE), path))[f"x{suffix}"]


def nifti_gz() -> bytes:
    return gzip.compress(nifti(".nii"), mtime=0)


def nifti_pair() -> Files:
    pair = nib.Nifti1Pair(grey((12, 11, 6), np.int16), AFFINE)
    return all_saved("x.hdr", lambda path: nib.save(pair, path))


def itk(suffix: str, compressed: bool = False) -> Files:
    """NRRD or MetaImage; two files where the suffix is that of a header alone."""
    import SimpleITK as sitk  # noqa: N813, its usual name

    image = sitk.GetImageFromArray(grey((6, 11, 12), np.int16))
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((-20.0, -15.0, -40.0))
    return all_saved(
        f"x{suffix}", lambda path: sitk.WriteImage(image, str(path), useCompression=compressed)
    )


def dataset(pixels: NDArray[Any], n: int = 0) -> Dataset:
    """One CT image ``[row, column]``, the n-th of its series."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CT
    instance = generate_uid(entropy_srcs=["image", str(n)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = instance
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame of reference"])
    ds.SeriesNumber, ds.InstanceNumber, ds.Modality = 3, n + 1, "CT"
    ds.PatientName, ds.PatientID, ds.ImageType = "Nobody^At^All", "0", ["ORIGINAL", "PRIMARY"]
    ds.AccessionNumber = ds.PatientBirthDate = ds.PatientSex = ds.ReferringPhysicianName = ""
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20200101", "120000", "1"
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-20, 15, 2.5 * n]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.9], 2.5
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.WindowCenter, ds.WindowWidth, ds.PixelPaddingValue = 40, 400, 0
    ds.PixelData = pixels.tobytes()
    return ds


def written(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(n: int = 0) -> bytes:
    return written(dataset(grey((20, 24), np.int16), n))


def dicom_packed(syntax: str, plugin: str) -> bytes:
    ds = dataset(grey((40, 44), np.uint16))
    ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return written(ds)


def dicom_jpeg() -> bytes:
    """Of 8 bits, lossy."""
    pixels = grey((40, 44))
    ds = dataset(pixels)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([picture("JPEG", pixels)])
    return written(ds)


def dicom_deflated() -> bytes:
    ds = dataset(grey((20, 24), np.int16))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return written(ds)


def dicom_disc() -> Files:
    """Three images, and the table of contents of their disc."""
    from pydicom.fileset import FileSet

    disc = FileSet()
    for n in range(3):
        disc.add(dcmread(io.BytesIO(dicom(n))))
    return all_saved("disc", lambda path: disc.write(path.parent))


def dicom_frames() -> bytes:
    """An enhanced file of four frames."""
    ds = dataset(grey((4, 14, 16), np.int16))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.NumberOfFrames = 4
    shared, scale, orientation, measures = (Dataset() for _ in range(4))
    scale.RescaleSlope, scale.RescaleIntercept = ds.RescaleSlope, ds.RescaleIntercept
    orientation.ImageOrientationPatient = ds.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, ds.SliceThickness
    shared.PixelValueTransformationSequence = [scale]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [_place(n) for n in range(4)]
    for group in (scale, orientation, measures):
        for element in group:
            del ds[element.tag]
    del ds.ImagePositionPatient
    return written(ds)


def _place(n: int) -> Dataset:
    place, group = Dataset(), Dataset()
    place.ImagePositionPatient = [-20, 15, 2.5 * n]
    group.PlanePositionSequence = [place]
    return group


def dicom_series() -> Files:
    return {name: dicom(n) for n, name in enumerate(("a.dcm", "b.dcm", "c.dcm"))}


def dicom_seg() -> bytes:
    """Two segments on the images of `dicom_series`."""
    import highdicom as hd

    sources = [dcmread(io.BytesIO(dicom(n))) for n in range(3)]
    mask = np.zeros((3, 20, 24, 2), np.uint8)
    mask[0:2, 3:9, 4:12, 0] = 1
    mask[1:3, 10:16, 8:20, 1] = 1
    code = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
    segments = [hd.seg.SegmentDescription(n, f"s{n}", code, code, "MANUAL") for n in (1, 2)]
    seg = hd.seg.Segmentation(
        sources, mask, "BINARY", segments, generate_uid(entropy_srcs=["seg"]), 1,
        generate_uid(entropy_srcs=["seg image"]), 1, "none", "none", "1", "1",
    )  # fmt: skip
    return written(seg)


def dicom_rtstruct() -> bytes:
    """Two structures on the images of `dicom_series`, a contour on each slice."""
    ds = dataset(grey((20, 24), np.int16))
    del ds.PixelData, ds.Rows, ds.Columns
    ds.Modality, ds.StructureSetLabel = "RTSTRUCT", "none"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    names, areas, seen = [], [], []
    for number in (1, 2):
        roi, area, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber = area.ReferencedROINumber = observation.ReferencedROINumber = number
        roi.ROIName, observation.ObservationNumber = f"s{number}", number
        area.ContourSequence = [_contour(n, 2 + 9 * (number - 1)) for n in range(3)]
        names, areas, seen = [*names, roi], [*areas, area], [*seen, observation]
    ds.StructureSetROISequence, ds.ROIContourSequence = names, areas
    ds.RTROIObservationsSequence = seen
    return written(ds)


def _contour(n: int, column: int) -> Dataset:
    """A rectangle on the n-th slice; `dataset` says where that lies."""
    contour = Dataset()
    corners = [(column, 3), (column + 7, 3), (column + 7, 12), (column, 12)]
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(corners)
    contour.ContourData = [v for i, j in corners for v in (-20 + 0.9 * i, 15 + 0.7 * j, 2.5 * n)]
    return contour


def labelme() -> bytes:
    """Two polygons and a rectangle on a picture of 48 x 56."""
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": [[3.5, 4], [20, 4.25], [12, 30]]},
        {"label": "b", "shape_type": "polygon", "points": [[30, 5], [50, 9], [44, 40], [31, 22]]},
        {"label": "a", "shape_type": "rectangle", "points": [[2, 35], [9, 44]]},
    ]
    content = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": "x.png"}
    content |= {"imageData": None, "imageHeight": 48, "imageWidth": 56}
    return json.dumps(content, indent=1).encode()
