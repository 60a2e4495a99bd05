"""TIFFs of scanners and microscopes: turned, white where 0 is, signed, with 16 bits a colour."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from phantoms import draw
from PIL import ExifTags, Image, ImageOps
from test_raster import GREY, RGB, opened, refused

from engine.io import open_case, read_mask, save_mask

WIDE = (RGB.astype(np.uint16) << 8) + 7
ROTATIONS = range(1, 9)


def turned(pixels, rotation):
    """Upright, as Pillow turns a PNG."""
    channels = pixels.reshape(*pixels.shape[:2], -1)
    planes = []
    for n in range(channels.shape[2]):
        image = Image.fromarray(channels[:, :, n])
        image.getexif()[ExifTags.Base.Orientation] = rotation
        planes.append(np.asarray(ImageOps.exif_transpose(image)))
    return np.stack(planes, axis=-1).reshape(*planes[0].shape, *pixels.shape[2:])


def tiff(path, pixels, rotation=1, **options):
    extra = [(274, "H", 1, rotation, True)]
    tifffile.imwrite(path, pixels, extratags=extra if rotation != 1 else (), **options)
    return path


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("pixels", [GREY, RGB, WIDE, WIDE[:, :, 0]], ids=["8", "c8", "c16", "16"])
def test_a_turned_tiff_is_shown_upright_once(tmp_path, pixels, rotation):
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    path = tiff(tmp_path / "a.tif", pixels, rotation, photometric=photometric)
    assert np.array_equal(opened(path), turned(pixels, rotation))


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("pixels", [GREY, WIDE], ids=["Pillow", "tifffile"])
def test_the_mask_of_a_turned_tiff_lies_on_its_stored_pixels(tmp_path, pixels, rotation):
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    path = tiff(tmp_path / "a.tif", pixels, rotation, photometric=photometric)
    case = open_case(path)
    draw(case, np.s_[0:1, 0:2, 0:1])
    mask = save_mask(case, tmp_path / "m.png")[0]
    stored = np.asarray(Image.open(mask))
    assert stored.shape == pixels.shape[:2]
    painted = case.scan.array[case.label_map.array == 1]
    assert sorted(pixels[stored == 1].tolist()) == sorted(painted.tolist())
    assert np.array_equal(read_mask(mask, case)[0], case.label_map.array)
    again = tiff(tmp_path / "again.tif", stored, rotation)
    assert np.array_equal(read_mask(again, case)[0], case.label_map.array)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_where_0_is_white_the_picture_is_turned_round(tmp_path, compression):
    for pixels, white in ((GREY, 255), (WIDE[:, :, 0], 65535)):
        path = tiff(tmp_path / "a.tif", pixels, photometric="miniswhite", compression=compression)
        assert np.array_equal(opened(path), white - pixels)


def test_signed_numbers_of_8_bit_keep_their_sign(tmp_path):
    path = tiff(tmp_path / "a.tif", GREY.view(np.int8), photometric="minisblack")
    assert np.array_equal(opened(path), GREY.view(np.int8))


def test_grey_of_16_bit_with_alpha_is_grey(tmp_path):
    pixels = np.dstack([WIDE[:, :, 0], np.full((5, 8), 65535, np.uint16)])
    path = tiff(tmp_path / "a.tif", pixels, photometric="minisblack", extrasamples=["unassalpha"],
                planarconfig="contig")  # fmt: skip
    assert np.array_equal(opened(path), WIDE[:, :, 0])


def test_packed_colours_of_16_bit_open_with_8_and_it_is_said(tmp_path):
    path = tmp_path / "a.tif"
    as_bytes = WIDE.astype("<u2").view(np.uint8).reshape(5, 16, 3)
    Image.fromarray(as_bytes).save(path, compression="tiff_lzw")
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        tags["ImageWidth"].overwrite(8)
        tags["BitsPerSample"].overwrite((16, 16, 16))
    assert np.array_equal(opened(path), RGB)
    assert "16 bits a colour; the upper 8 are used" in open_case(path).warnings[0]


def test_inks_and_other_colours_of_16_bit_are_not_taken_for_grey_or_rgb(tmp_path):
    inks = np.dstack([65535 - WIDE, np.zeros((5, 8), np.uint16)])
    path = tiff(tmp_path / "inks.tif", inks, photometric="separated")
    assert np.abs(opened(path).astype(int) - RGB).max() <= 1
    assert "colours" in refused(tiff(tmp_path / "lab.tif", WIDE, photometric="cielab"))
