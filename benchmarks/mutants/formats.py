"""The formats that open, and their mutants."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from benchmarks.mutants import makers
from benchmarks.mutants.damage import damaged
from benchmarks.mutants.makers import Files, grey, picture
from engine.errors import UserError


def same(content: bytes) -> bytes:
    return content


@dataclass(frozen=True)
class Format:
    """A format that opens.

    Attributes:
        name: on the command line and in the table.
        opens: name of the file that is opened, or "" for the folder of all of them.
        make: valid files by name; the content alone where there is one file.
        head: bytes at the start of a file that are its header.
        hurt: names of the files that are damaged, one a mutant; `opens` where it is empty.
        unpack, pack: half of the mutants are damaged behind the packing or the checksum of the
            format, which then holds again; without that hardly any would come through it.
        on: opened as a mask of these valid files; they are a case by themselves where it is None.
    """

    name: str
    opens: str
    make: Callable[[], bytes | Files]
    head: int = 1024
    hurt: tuple[str, ...] = ()
    unpack: Callable[[bytes], bytes] = same
    pack: Callable[[bytes], bytes] | None = None
    on: Callable[[], Files] | None = None

    def files(self) -> Files:
        """The valid files."""
        made = self.make()
        return {self.opens: made} if isinstance(made, bytes) else made

    def mutant(self, files: Files, seed: int, number: int) -> Files:
        """The same files, one of them damaged."""
        rng = random.Random(f"{seed}/{self.name}/{number}")
        name = rng.choice(self.hurt or (self.opens,))
        if self.pack is not None and rng.random() < 0.5:
            content = self.pack(damaged(self.unpack(files[name]), self.head, rng))
        else:
            content = damaged(files[name], self.head, rng)
        return {**files, name: content}


def png_checked(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums that belong to them, as far as chunks can be told."""
    data, place = bytearray(content), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(data)


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def nrrd_unpacked(content: bytes) -> bytes:
    head, mark, voxels = content.partition(b"\n\n")
    return head + mark + gzip.decompress(voxels)


def nrrd_packed(content: bytes) -> bytes:
    head, mark, voxels = content.partition(b"\n\n")
    return head + mark + gzipped(voxels)


def _png(name: str, make: Callable[[], bytes]) -> Format:
    return Format(name, "x.png", make, head=64, pack=png_checked)


def _dicom(name: str, make: Callable[[], bytes]) -> Format:
    return Format(name, "x.dcm", make, head=1400)


FORMATS = (
    _png("png", lambda: picture("PNG", grey((48, 56, 3)))),
    _png("png-16", lambda: picture("PNG", grey((48, 56), np.uint16) * np.uint16(300))),
    _png("png-palette", makers.palette_png),
    Format("jpeg", "x.jpg", lambda: picture("JPEG", grey((48, 56, 3))), head=640),
    Format("tiff", "x.tif", lambda: picture("TIFF", grey((48, 56, 3))), head=256),
    Format("tiff-tiles-lzw", "x.tif", makers.tiled_tiff, head=400),
    Format("bmp", "x.bmp", lambda: picture("BMP", grey((48, 56, 3))), head=54),
    Format("gif", "x.gif", lambda: picture("GIF", grey((48, 56))), head=800),
    Format("webp", "x.webp", lambda: picture("WEBP", grey((48, 56, 3))), head=64),
    Format("nifti", "x.nii", lambda: makers.nifti(".nii"), head=352),
    Format(
        "nifti-gz", "x.nii.gz", makers.nifti_gz, head=352, unpack=gzip.decompress, pack=gzipped
    ),
    Format("nifti-2", "x.nii", lambda: makers.nifti(".nii", nib.Nifti2Image), head=544),
    Format("nifti-pair", "x.hdr", makers.nifti_pair, head=348, hurt=("x.hdr", "x.hdr", "x.img")),
    Format("nrrd", "x.nrrd", lambda: makers.itk(".nrrd"), head=400),
    Format(
        "nrrd-gz", "x.nrrd", lambda: makers.itk(".nrrd", True), head=400, unpack=nrrd_unpacked,
        pack=nrrd_packed,
    ),
    Format("mha", "x.mha", lambda: makers.itk(".mha"), head=400),
    Format("mha-packed", "x.mha", lambda: makers.itk(".mha", True), head=400),
    Format("nrrd-detached", "x.nhdr", lambda: makers.itk(".nhdr"), head=400),
    Format("mha-detached", "x.mhd", lambda: makers.itk(".mhd"), head=400),
    _dicom("dicom", makers.dicom),
    _dicom("dicom-frames", makers.dicom_frames),
    _dicom("dicom-rle", lambda: makers.dicom_packed(RLELossless, "pydicom")),
    _dicom("dicom-jpeg", makers.dicom_jpeg),
    _dicom("dicom-jpeg-2000", lambda: makers.dicom_packed(JPEG2000Lossless, "pylibjpeg")),
    _dicom("dicom-jpeg-ls", lambda: makers.dicom_packed(JPEGLSLossless, "pyjpegls")),
    _dicom("dicom-deflated", makers.dicom_deflated),
    Format("dicom-series", "", makers.dicom_series, head=1400, hurt=("b.dcm",)),
    Format("dicom-disc", "DICOMDIR", makers.dicom_disc, head=4000),
    Format("dicom-seg", "x.dcm", makers.dicom_seg, head=3000, on=makers.dicom_series),
    Format(
        "dicom-rtstruct", "x.dcm", makers.dicom_rtstruct, head=4000, on=makers.dicom_series
    ),
    Format(
        "labelme", "x.json", makers.labelme, on=lambda: {"x.png": picture("PNG", grey((48, 56)))}
    ),
)  # fmt: skip


def chosen(names: list[str] | None) -> list[Format]:
    """The formats of these names, all without names.

    Raises:
        UserError: there is no format of a name.
    """
    known = {f.name: f for f in FORMATS}
    missing = [name for name in names or () if name not in known]
    if missing:
        raise UserError(f"There is no format {missing[0]}.", hint=f"There is {', '.join(known)}.")
    return [known[name] for name in names] if names else list(FORMATS)
