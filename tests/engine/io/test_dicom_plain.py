"""Plain pixels that are read where the header ends are those that the decoder reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import distinct, plain
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from engine.io import open_case
from engine.io.dicom_decode import Decoder
from engine.io.dicom_header import ImageHeader, read_image_headers


def image(path: Path) -> ImageHeader:
    found = read_image_headers(path)
    assert found is not None
    return found[0][0]


def stored(path: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    ds.file_meta.TransferSyntaxUID = syntax
    little = syntax != ExplicitVRBigEndian
    ds.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
    return path


@st.composite
def datasets(draw):
    """Pixels of any bytes, also in the bits that mean nothing."""
    bits = draw(st.sampled_from([8, 16]))
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    ds = plain(1).dataset(0)
    ds.Rows, ds.Columns, ds.BitsAllocated = rows, columns, bits
    ds.BitsStored = draw(st.integers(1, bits))
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, draw(st.sampled_from([0, 1]))
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    size = rows * columns * bits // 8
    data = draw(st.binary(min_size=size, max_size=size)) + b"\0" * (size % 2)
    if draw(st.booleans()):  # a thumbnail has pixels of its own, ahead of the image's
        icon = Dataset()
        icon.add_new("PixelData", "OW", b"\7\7")
        ds.IconImageSequence = Sequence([icon])
    ds.add_new("PixelData", "OB" if bits == 8 else "OW", data)
    return ds


@settings(max_examples=60, deadline=None)
@given(datasets(), st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
def test_values_are_those_of_the_decoder(ds, syntax):
    with TemporaryDirectory() as folder:
        path = stored(Path(folder) / "x.dcm", ds, syntax)
        found = image(path)
        assert found.plain is not None
        values, decoded = found.plain.read(path, found.shape), Decoder().read(path, None)
        assert values is not None and values.dtype == decoded.dtype
        assert np.array_equal(values, decoded)


def changed(**values) -> Dataset:
    ds = plain(1).dataset(0)
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


@pytest.mark.parametrize(
    "ds",
    [
        changed(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0),
        changed(PhotometricInterpretation="PALETTE COLOR"),
        changed(BitsStored=17),
        changed(BitsStored=None),
        changed(PixelRepresentation=None),
        changed(NumberOfFrames=2),
        changed(PixelData=b"\0\0"),
    ],
    ids=["colour", "palette", "too many bits", "no bits", "no sign", "frames", "cut short"],
)
def test_the_decoder_has_the_word_on_all_that_is_not_plain(tmp_path, ds):
    assert image(stored(tmp_path / "x.dcm", ds)).plain is None


@pytest.mark.parametrize(
    "syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_other_transfer_syntaxes_are_left_to_the_decoder(tmp_path, syntax):
    ds = plain(1).dataset(0)
    path = tmp_path / "x.dcm"
    if syntax == RLELossless:
        ds.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
        ds.save_as(path)
    else:
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = plain(1).pixels.byteswap().tobytes()
        stored(path, ds, syntax)
    assert image(path).plain is None
    assert np.array_equal(open_case(path).scan.array, plain(1).pixels)


def test_a_file_that_changed_since_its_header_was_read_is_decoded_anew(tmp_path):
    path = stored(tmp_path / "x.dcm", plain(1).dataset(0))
    before = image(path)
    assert before.plain is not None
    longer = plain(1).dataset(0)
    longer.ImageComments = "moved on by this"
    pixels = distinct(before.shape)
    longer.PixelData = pixels.tobytes()
    stored(tmp_path / "y.dcm", longer)
    shutil.move(tmp_path / "y.dcm", path)
    assert before.plain.read(path, before.shape) is None
    path.write_bytes(path.read_bytes()[: before.plain.start + len(before.plain.head) + 1])
    assert before.plain.read(path, before.shape) is None
