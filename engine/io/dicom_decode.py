"""Stored values out of a DICOM file, by the decoders that are installed."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from engine.errors import UserError
from engine.io.dicom_palette import colours_of
from engine.io.kinds import reading

# A deflated file is unpacked as a whole before anything in it is known.
MAX_INFLATED_BYTES = 512 * 2**20
_META_BYTES = 2**18  # of the file's own header, which says how the rest is packed
_CHUNK = 2**20
_PIXEL_TAGS = [
    "Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "AlphaPaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "AlphaPaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "ModalityLUTSequence", "FloatPixelData",
    "DoubleFloatPixelData", "PixelData",
]  # fmt: skip
# Looked up once: pydicom would turn the names into tags for every file.
_DECODING_TAGS: list[Any] = [Tag(name) for name in _PIXEL_TAGS]


class Decoder:
    """Decodes images; keeps the last multi-frame file at hand, so that it is read once."""

    def __init__(self) -> None:
        self._kept: tuple[Path, FileDataset] | None = None

    def read(self, path: Path, frame: int | None) -> NDArray[Any]:
        """Stored values ``[row, column]``, or RGB ``[row, column, 3]``.

        Args:
            path: of the file.
            frame: of a multi-frame file, from 0; None in a file of one image.

        Raises:
            UserError: the file is damaged, or no decoder for its compression is installed.
        """
        with reading(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = self._dataset(path, frame)
            if ds.get("BitsAllocated") == 1 and not ds.file_meta.TransferSyntaxUID.is_compressed:
                return _bits(path, ds, frame or 0)
            try:
                pixels = _values(ds, frame)
            except (RuntimeError, NotImplementedError) as error:
                pixels = _by_gdcm(path, ds, frame)
                if pixels is None:
                    raise UserError(
                        f"The pixels of {path.name} can't be decoded.",
                        hint="The file is damaged, or its kind of compression is not installed.",
                    ) from error
            except AttributeError as error:
                raise UserError(f"{path.name} holds no pixels.") from error
            return _as_meant(path, ds, pixels)

    def _dataset(self, path: Path, frame: int | None) -> FileDataset:
        if frame is None:
            self._kept = None
            return _with_syntax(read_elements(path, _DECODING_TAGS, pixels=True))
        if self._kept is None or self._kept[0] != path:
            self._kept = None  # before the next is read: two would not fit
            self._kept = path, _with_syntax(read_elements(path, _DECODING_TAGS, pixels=True))
        return self._kept[1]


def read_elements(path: Path, tags: list[Any], *, pixels: bool) -> FileDataset:
    """Some elements of a DICOM file; private ones are skipped.

    Args:
        path: with the usual preamble or without it.
        tags: which elements.
        pixels: False to stop before them.

    Raises:
        UserError: it unpacks to more than any image.
        pydicom.errors.InvalidDicomError and others: it is no DICOM file.
    """
    with path.open("rb") as stream:
        return read_stream(path, stream, tags, pixels=pixels)


def read_stream(path: Path, stream: IO[bytes], tags: list[Any], *, pixels: bool) -> FileDataset:
    """As `read_elements`, from the start of an open file; it is left where reading stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_inflated(path, stream)
        for force in (False, True):
            stream.seek(0)
            try:
                return pydicom.dcmread(
                    stream, specific_tags=tags, stop_before_pixels=not pixels, force=force
                )
            except InvalidDicomError:
                if force:
                    raise
    raise AssertionError("unreachable")


def has_table(sequence: Any) -> bool:
    """True for a Modality LUT Sequence that holds a table; some writers leave its item empty."""
    wanted = ("LUTDescriptor", "LUTData")
    return bool(sequence) and all(sequence[0].get(name) is not None for name in wanted)


def _check_inflated(path: Path, stream: IO[bytes]) -> None:
    """Refuses a deflated file that is a bomb, without keeping what it unpacks to."""
    start = stream.read(_META_BYTES)
    if DeflatedExplicitVRLittleEndian.encode() not in start:
        return
    stream.seek(_end_of_meta(start))
    unpack, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    data = stream.read(_CHUNK)
    while data and not unpack.eof:
        size += len(unpack.decompress(data, _CHUNK))
        if size > MAX_INFLATED_BYTES:
            raise UserError(
                f"{path.name} unpacks to more than {MAX_INFLATED_BYTES >> 20} MB.",
                hint="Export the series without compression of the whole file.",
            )
        data = unpack.unconsumed_tail or stream.read(_CHUNK)


def _end_of_meta(start: bytes) -> int:
    """Where the file's own header ends: its first element (0002,0000) says how long it is."""
    begin = 132 if start[128:132] == b"DICM" else 0
    if start[begin : begin + 8] != b"\x02\x00\x00\x00UL\x04\x00":
        return len(start)  # pydicom has the last word
    return begin + 12 + int.from_bytes(start[begin + 8 : begin + 12], "little")


def _with_syntax(ds: FileDataset) -> FileDataset:
    """A file without a header of its own doesn't say how its pixels are stored: plainly then."""
    if "TransferSyntaxUID" not in ds.file_meta:
        implicit, _ = ds.original_encoding
        ds.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return ds


def _bits(path: Path, ds: FileDataset, frame: int) -> NDArray[np.uint8]:
    """One frame of a plain segmentation, a bit a pixel; frames need not begin at a byte."""
    size = ds.Rows * ds.Columns
    first, skipped = divmod(frame * size, 8)
    packed = np.frombuffer(ds.PixelData, np.uint8)[first : first + size // 8 + 2]
    bits = np.unpackbits(packed, bitorder="little")[skipped : skipped + size]
    if bits.size < size:
        raise UserError(f"{path.name} is cut short: pixels are missing.", hint="Copy it again.")
    return bits.reshape(ds.Rows, ds.Columns)


def _by_gdcm(path: Path, ds: FileDataset, frame: int | None) -> NDArray[Any] | None:
    """JPEG of 12 bits: GDCM can, but pydicom does not let it. None where it can't either."""
    import gdcm  # type: ignore[import-untyped]

    if not ds.file_meta.TransferSyntaxUID.is_encapsulated or ds.get("SamplesPerPixel", 1) != 1:
        return None
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        return None
    image = reader.GetImage()
    depth = image.GetPixelFormat()
    kind = ("i" if depth.GetPixelRepresentation() else "u") + str(depth.GetBitsAllocated() // 8)
    # Its Python binding hands the bytes over as a text of surrogates.
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), kind)
    return values.reshape(-1, ds.Rows, ds.Columns)[frame or 0]


def _as_meant(path: Path, ds: FileDataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Palettes and tables applied; the palette of a segmentation only says how to show it."""
    if ds.get("Modality") == "SEG":
        return pixels
    if str(ds.get("PhotometricInterpretation", "")).upper() == "PALETTE COLOR":
        pixels = colours_of(ds, pixels)
    elif has_table(ds.get("ModalityLUTSequence")):
        pixels = cast("NDArray[Any]", apply_modality_lut(pixels, ds))
    if pixels.ndim == 3 and pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path.name} has colours of {pixels.dtype.itemsize * 8} bits.")
    return pixels


def _values(ds: FileDataset, frame: int | None) -> NDArray[Any]:
    """What pydicom decodes; it takes values to begin at the first bit."""
    low = _lowest_bit(ds)
    if low:
        return pixel_array(ds, index=frame, bits_stored=ds.BitsStored + low) >> low
    return pixel_array(ds, index=frame)


def _lowest_bit(ds: FileDataset) -> int:
    """Bit at which the values begin: not the first in files of the old rules (HighBit)."""
    stored, high, bits = (ds.get(n) for n in ("BitsStored", "HighBit", "BitsAllocated"))
    is_told = all(isinstance(n, int) for n in (stored, high, bits))
    if not is_told or ds.file_meta.TransferSyntaxUID.is_encapsulated or not 0 < stored <= high:
        return 0
    return high + 1 - stored if high < bits else 0
