"""Odd but legal ways to store the pixels of a DICOM image."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import plain
from pydicom.dataset import Dataset

from engine.io import open_case

RGB = {
    "SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8,
    "HighBit": 7, "PixelRepresentation": 0, "Modality": "US",
}  # fmt: skip


def image(pixels: np.ndarray, **values) -> Dataset:
    """One image whose pixels are these bytes, whatever they mean."""
    ds = plain(1).dataset(0)
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.PixelData = pixels.tobytes()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def opened(ds: Dataset, tmp_path) -> np.ndarray:
    """The one slice of it."""
    ds.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    return open_case(tmp_path / "x.dcm").scan.array[0]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_in_the_high_bits_as_the_old_rules_allowed(tmp_path, sign, frames):
    values = (np.arange(20) * 50 * sign).astype(np.int16).reshape(4, 5)
    signed = int(sign < 0)
    ds = image(values << 4, BitsStored=12, HighBit=15, PixelRepresentation=signed)
    ds.NumberOfFrames = frames
    ds.PixelData = ds.PixelData * frames
    assert np.array_equal(opened(ds, tmp_path), values)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_bit_a_pixel(tmp_path, frames):
    bits = np.random.default_rng(0).random((frames, 61, 47)) > 0.5
    ds = image(bits[0], BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0)
    ds.NumberOfFrames = frames
    ds.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    opened(ds, tmp_path)
    assert np.array_equal(open_case(tmp_path / "x.dcm").scan.array, bits)


def test_two_pixels_that_share_their_colour(tmp_path):
    grey = np.arange(60 * 40, dtype=np.uint16).reshape(60, 40).astype(np.uint8)
    packed = np.full((60, 20, 4), 128, np.uint8)
    packed[..., 0], packed[..., 1] = grey[:, ::2], grey[:, 1::2]
    ds = image(grey, **RGB, PhotometricInterpretation="YBR_FULL_422")
    ds.PixelData = packed.tobytes()
    assert np.array_equal(opened(ds, tmp_path), np.stack([grey] * 3, axis=-1))


def palette(numbers, table: np.ndarray, depth: int, first: int = 0) -> Dataset:
    bits = numbers.dtype.itemsize * 8
    ds = image(numbers, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, Modality="US")
    ds.PixelRepresentation, ds.PhotometricInterpretation = 0, "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        ds.add_new(f"{name}Descriptor", "US", [len(table), first, depth])
        ds.add_new(f"{name}Data", "OW", table.tobytes() + b"\0" * (table.nbytes % 2))
    return ds


NUMBERS = np.arange(20, dtype=np.uint8).reshape(4, 5)
WIDE = NUMBERS.astype(np.uint16) * 60  # up to 1140
RAMP = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    ("numbers", "table", "depth", "first", "wanted"),
    [
        (NUMBERS, RAMP.astype(np.uint16) * 256, 16, 0, NUMBERS),
        (NUMBERS, RAMP.astype(np.uint16), 16, 0, NUMBERS),  # in the lower byte
        (NUMBERS % 2, RAMP.astype(np.uint16) * 200, 16, 0, NUMBERS * 0),  # the image is dark
        (NUMBERS, RAMP, 8, 10, np.maximum(NUMBERS, 10) - 10),
        (NUMBERS, RAMP[:15], 8, 0, np.minimum(NUMBERS, 14)),  # an odd number of entries
        (WIDE, RAMP, 8, 0, np.minimum(WIDE, 255)),
        (WIDE, (np.arange(1000) // 4).astype(np.uint8), 8, 0, np.minimum(WIDE, 999) // 4),
    ],
)
def test_palettes_of_all_sizes(tmp_path, numbers, table, depth, first, wanted):
    found = opened(palette(numbers, table, depth, first), tmp_path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.stack([wanted] * 3, axis=-1))


def test_a_palette_in_pieces(tmp_path):
    pieces = np.array([0, 1, 0, 1, 255, 65535], np.uint16)  # one entry of 0, then a line
    ds = palette(NUMBERS, pieces, 16)
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        ds[f"{name}Descriptor"].value = [256, 0, 16]
        ds.add_new(f"Segmented{name}Data", "OW", pieces.tobytes())
        delattr(ds, f"{name}Data")
    assert np.array_equal(opened(ds, tmp_path)[..., 0], NUMBERS)
