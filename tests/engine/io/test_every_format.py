"""Every format that opens: values stay, the source stays, and half a file is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its usual name
import tifffile
from phantoms import Series, sha256_of
from PIL import Image
from pydicom.fileset import FileSet
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from engine.errors import UserError
from engine.io import open_case

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 48), np.uint8)
RGB = RNG.integers(0, 256, (40, 48, 3), np.uint8)
WIDE = RNG.integers(0, 65536, (40, 48), np.uint16)
SMOOTH = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8) * 2  # for lossy packing
TABLE = RNG.integers(0, 256, (256, 3), np.uint8)
STORED = RNG.integers(-1000, 3000, (12, 11, 10)).astype(np.int16)  # [i, j, k]
SLICES = RNG.integers(-1000, 3000, (4, 40, 48)).astype(np.int16)
Make = Callable[[Path], Path]


def picture(name: str, pixels: np.ndarray, **options) -> Make:
    def make(folder: Path) -> Path:
        Image.fromarray(pixels).save(folder / name, **options)
        return folder / name

    return make


def palette(folder: Path) -> Path:
    image = Image.fromarray(GREY).convert("P")
    image.putdata(GREY.ravel().tolist())
    image.putpalette(TABLE.ravel().tolist())
    image.save(folder / "palette.png")
    return folder / "palette.png"


def tiled(folder: Path) -> Path:
    tifffile.imwrite(folder / "tiles.tif", WIDE, tile=(16, 16), compression="zlib")
    return folder / "tiles.tif"


def nifti(name: str, kind: type = nib.Nifti1Image) -> Make:
    def make(folder: Path) -> Path:
        nib.save(kind(STORED, np.diag([-1.0, -1.0, 2.0, 1.0])), folder / name)
        return folder / name

    return make


def itk(name: str, packed: bool = False) -> Make:
    def make(folder: Path) -> Path:
        image = sitk.GetImageFromArray(np.ascontiguousarray(STORED.transpose(2, 1, 0)))
        sitk.WriteImage(image, str(folder / name), useCompression=packed)
        return folder / name

    return make


def dicom(name: str, syntax: str = "", pixels: np.ndarray = SLICES[0]) -> Make:
    def make(folder: Path) -> Path:
        ds = Series(pixels[None]).dataset(0)
        if syntax == DeflatedExplicitVRLittleEndian:
            ds.file_meta.TransferSyntaxUID = syntax
        elif syntax:
            plugin = "pydicom" if syntax == RLELossless else ""
            ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        ds.save_as(folder / name, enforce_file_format=True)
        return folder / name

    return make


def frames(folder: Path) -> Path:
    Series(SLICES).enhanced([2, 0, 3, 1]).save_as(folder / "frames.dcm", enforce_file_format=True)
    return folder / "frames.dcm"


def series(folder: Path) -> Path:
    return Series(SLICES).write(folder / "series")


def disc(folder: Path) -> Path:
    files = FileSet()
    for n in range(4):
        ds = Series(SLICES, uid="1.2.3.4", study="1.2.3").dataset(n)
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.InstanceNumber = "20200101", "1200", "1", n
        files.add(ds)
    files.write(folder / "disc")
    files._stage["t"].cleanup()  # it warns where that is left to the end
    return folder / "disc" / "DICOMDIR"


LPS = STORED.transpose(2, 1, 0)
# What makes it, the array that opens, the file that is cut in half (the source, where it is "").
FORMATS: dict[str, tuple[Make, np.ndarray, str]] = {
    "png": (picture("a.png", GREY), GREY[None], ""),
    "png, colour": (picture("a.png", RGB), RGB[None], ""),
    "png, 16 bits": (picture("a.png", WIDE), WIDE[None], ""),
    "png, palette": (palette, TABLE[GREY][None], ""),
    "jpeg": (picture("a.jpg", SMOOTH, quality=95), SMOOTH[None], ""),
    "tiff": (picture("a.tif", RGB), RGB[None], ""),
    "tiff, lzw": (picture("a.tiff", GREY, compression="tiff_lzw"), GREY[None], ""),
    "tiff, tiles": (tiled, WIDE[None], ""),
    "bmp": (picture("a.bmp", RGB), RGB[None], ""),
    "gif": (picture("a.gif", GREY), GREY[None], ""),
    "webp": (picture("a.webp", RGB, lossless=True), RGB[None], ""),
    "nifti": (nifti("a.nii"), LPS, ""),
    "nifti, gzip": (nifti("a.nii.gz"), LPS, ""),
    "nifti-2": (nifti("a.nii", nib.Nifti2Image), LPS, ""),
    "nifti, pair": (nifti("a.hdr", nib.Nifti1Pair), LPS, ""),
    "nifti, pair, voxels": (nifti("a.hdr", nib.Nifti1Pair), LPS, "a.img"),
    "nrrd": (itk("a.nrrd"), LPS, ""),
    "nrrd, gzip": (itk("a.nrrd", True), LPS, ""),
    "nrrd, detached": (itk("a.nhdr"), LPS, "a.raw"),
    "metaimage": (itk("a.mha"), LPS, ""),
    "metaimage, zlib": (itk("a.mha", True), LPS, ""),
    "metaimage, detached": (itk("a.mhd"), LPS, "a.raw"),
    "dicom": (dicom("a.dcm"), SLICES[:1], ""),
    "dicom, without ending": (dicom("IM01"), SLICES[:1], ""),
    "dicom, 8 bits": (dicom("a.dcm", "", GREY), GREY[None], ""),
    "dicom, deflated": (dicom("a.dcm", DeflatedExplicitVRLittleEndian), SLICES[:1], ""),
    "dicom, rle": (dicom("a.dcm", RLELossless), SLICES[:1], ""),
    "dicom, jpeg 2000": (dicom("a.dcm", JPEG2000Lossless), SLICES[:1], ""),
    "dicom, jpeg-ls": (dicom("a.dcm", JPEGLSLossless), SLICES[:1], ""),
    "dicom, frames": (frames, SLICES, ""),
    "dicom, series": (series, SLICES, "IM0002.dcm"),
    "dicom, disc": (disc, SLICES, ""),
}


@pytest.mark.parametrize("name", FORMATS)
def test_it_opens_keeps_its_values_and_leaves_its_source_alone(tmp_path, name):
    make, expected, _ = FORMATS[name]
    source = make(tmp_path)
    before = sha256_of(tmp_path)
    scan = open_case(source).scan
    assert scan.array.shape == expected.shape and scan.array.dtype == expected.dtype
    if name == "jpeg":
        assert np.abs(scan.array.astype(int) - expected).max() <= 4
    else:
        assert np.array_equal(scan.array, expected)
    assert sha256_of(tmp_path) == before


# Of a DICOMDIR half the list is left, which names images that are there.
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "dicom, disc"])
def test_half_of_it_is_refused_by_name(tmp_path, name):
    make, _, part = FORMATS[name]
    source = make(tmp_path)
    cut = next(p for p in tmp_path.rglob(part or source.name) if p.is_file())
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    before = sha256_of(tmp_path)
    with pytest.raises(UserError) as error:
        open_case(source)
    # Voxels beside their header are named by the header, which is what was opened.
    named = {cut.name} if cut.suffix not in (".raw", ".img") else {source.name}
    assert any(word in error.value.message for word in named), error.value.message
    assert error.value.message.endswith(".") and "Error" not in error.value.message
    assert sha256_of(tmp_path) == before
