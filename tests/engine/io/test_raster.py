"""Pictures in: bit depths, colours, rotation, and files that must be refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tifffile
from phantoms import distinct, draw
from PIL import ExifTags, Image, ImageOps

from engine.errors import UserError
from engine.io import open_case, raster, read_mask, save_mask

GREY = np.random.default_rng(0).integers(0, 256, (5, 8), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def opened(path):
    scan = open_case(path).scan
    assert scan.is_picture and not scan.grid.calibrated and scan.slice_count == 1
    return scan.array[0]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "A.PNG"])
def test_grey_and_colour_keep_their_values(tmp_path, name):
    for pixels in (GREY, RGB):
        Image.fromarray(pixels).save(tmp_path / name)
        assert np.array_equal(opened(tmp_path / name), pixels)


def test_jpeg_is_read_as_pillow_does(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.array_equal(opened(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_its_values(tmp_path, name):
    wide = distinct((5, 8), np.uint16) * 1500
    Image.fromarray(wide).save(tmp_path / name)
    assert opened(tmp_path / name).dtype == np.uint16
    assert np.array_equal(opened(tmp_path / name), wide)


def test_tiffs_that_pillow_cannot_read_well(tmp_path):
    wide = (RGB.astype(np.uint16) << 8) + 7
    tifffile.imwrite(tmp_path / "rgb16.tif", wide, photometric="rgb")
    assert np.array_equal(opened(tmp_path / "rgb16.tif"), wide)
    # Three samples a pixel, though the header says grey: Pillow refuses.
    tifffile.imwrite(tmp_path / "odd.tif", RGB, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(opened(tmp_path / "odd.tif"), RGB)
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(wide, 2, 0), photometric="rgb",
                     planarconfig="separate")  # fmt: skip
    assert np.array_equal(opened(tmp_path / "planar.tif"), wide)
    tifffile.imwrite(tmp_path / "big.tif", wide[:, :, 0].astype(">u2"), byteorder=">")
    assert np.array_equal(opened(tmp_path / "big.tif"), wide[:, :, 0])


def test_float_tiff(tmp_path):
    values = np.linspace(-1, 1, 40, dtype=np.float32).reshape(5, 8)
    tifffile.imwrite(tmp_path / "f.tif", values)
    assert np.array_equal(opened(tmp_path / "f.tif"), values)


def test_palette_becomes_its_colours(tmp_path):
    image = Image.fromarray(GREY % 4, mode=None).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] + [0] * 756)
    image.putdata((GREY % 4).ravel().tolist())
    image.save(tmp_path / "p.png")
    table = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], dtype=np.uint8)
    assert np.array_equal(opened(tmp_path / "p.png"), table[GREY % 4])


def test_alpha_is_taken_off_and_said(tmp_path):
    alpha = np.full((5, 8), 255, dtype=np.uint8)
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "full.png")
    assert np.array_equal(opened(tmp_path / "full.png"), RGB)
    assert open_case(tmp_path / "full.png").warnings == ()
    alpha[2, 3] = 0
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "hole.png")
    case = open_case(tmp_path / "hole.png")
    assert case.scan.array[0, 2, 3].tolist() == [0, 0, 0]
    assert np.array_equal(case.scan.array[0, 0], RGB[0])
    assert "transparent" in case.warnings[0]
    Image.fromarray(np.dstack([GREY, alpha])).save(tmp_path / "grey.png")
    assert opened(tmp_path / "grey.png").shape == (5, 8)


def test_one_bit_pictures(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    assert np.array_equal(opened(tmp_path / "a.png"), np.where(GREY > 127, 255, 0))


def rotated_file(path, rotation, pixels=RGB):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = rotation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("rotation", range(1, 9))
def test_exif_rotation_is_applied_as_pillow_does(tmp_path, rotation):
    path = rotated_file(tmp_path / "a.png", rotation)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(opened(path), expected)


@pytest.mark.parametrize("rotation", range(1, 9))
def test_a_mask_fits_a_rotated_picture_for_both_kinds_of_reader(tmp_path, rotation):
    case = open_case(rotated_file(tmp_path / "a.png", rotation))
    draw(case, np.s_[0:1, 0:2, 0:1])
    mask_path = save_mask(case, tmp_path / "m.png")[0]
    with Image.open(mask_path) as mask, Image.open(tmp_path / "a.png") as source:
        assert mask.size == source.size
        # Where the mask is 1, the stored pixel is one of those that were painted upright.
        painted = case.scan.array[case.label_map.array == 1]
        stored = np.asarray(source)[np.asarray(mask) == 1]
        assert sorted(map(tuple, stored.tolist())) == sorted(map(tuple, painted.tolist()))
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(mask)), case.label_map.array[0])
    assert np.array_equal(read_mask(mask_path, case)[0], case.label_map.array)


def refused(path) -> str:
    with pytest.raises(UserError) as error:
        open_case(path)
    assert path.name in error.value.message
    return error.value.message


def test_damaged_pictures_are_refused(tmp_path):
    Image.fromarray(np.tile(GREY, (40, 40))).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for size in (0, 4, 30, len(whole) // 2):
        (tmp_path / "cut.png").write_bytes(whole[:size])
        assert "can't be read" in refused(tmp_path / "cut.png")
    (tmp_path / "text.jpg").write_text("no picture")
    assert "can't be read" in refused(tmp_path / "text.jpg")
    (tmp_path / "text.tif").write_text("no picture")
    assert "can't be read" in refused(tmp_path / "text.tif")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for limit in (30, 10):  # Pillow warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert "million pixels" in refused(tmp_path / "a.png")


def taller(content, height):
    """A PNG that says it has so many rows, with the checksum that belongs to it."""
    head = content[12:20] + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + head + zlib.crc32(head).to_bytes(4, "big") + content[33:]


def test_a_picture_larger_than_its_file_can_hold_is_refused_at_once(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(GREY).convert("P").save(tmp_path / "p.png", transparency=0)
    for name in ("a.png", "p.png"):
        path = tmp_path / name
        path.write_bytes(taller(path.read_bytes(), 10_000_000))
        assert "cut short" in refused(path)
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    size = content.index(b"\xff\xc0") + 5
    wide = (9000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(content[:size] + wide + content[size + 4 :])
    assert "cut short" in refused(tmp_path / "a.jpg")


TIFF_COMPRESSION = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg")


def test_blank_pictures_that_pack_well_open(tmp_path):
    kinds = {"a.png": {}, "a.jpg": {"progressive": True}, "a.bmp": {}, "a.gif": {}}
    kinds |= {f"{n}.tif": {"compression": c} for n, c in enumerate(TIFF_COMPRESSION)}
    for name, options in kinds.items():
        for mode in ("1", "L", "RGB"):
            if options.get("compression") == "jpeg" and mode == "1":
                continue
            Image.new(mode, (1500, 1000)).save(tmp_path / name, **options)
            assert opened(tmp_path / name).shape[:2] == (1000, 1500)


def test_a_webp_of_more_pixels_than_its_reader_has_memory_for_is_refused(tmp_path):
    Image.new("RGB", (6400, 6400)).save(tmp_path / "a.webp", lossless=True)
    assert "more than 40 million pixels" in refused(tmp_path / "a.webp")


def test_stripes_of_a_picture_with_alpha_are_as_the_whole(tmp_path, monkeypatch):
    pixels = np.random.default_rng(3).integers(0, 256, (37, 41, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = opened(tmp_path / "a.png")
    monkeypatch.setattr(raster, "_STRIPE", 100)
    assert np.array_equal(opened(tmp_path / "a.png"), whole)
    assert np.array_equal(whole, np.rint(pixels[..., :3] * (pixels[..., 3:] / 255)))


def test_several_pictures_in_one_file_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "two.tif", np.stack([GREY, GREY]), photometric="minisblack")
    assert "2 pictures" in refused(tmp_path / "two.tif")
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    assert "2 pictures" in refused(tmp_path / "moving.png")


def test_jpegs_of_phones_with_a_preview_behind_open(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "phone.jpg") as image:
        assert image.format == "MPO"
        expected = np.asarray(image)
    assert np.array_equal(opened(tmp_path / "phone.jpg"), expected)


def test_missing_and_unknown_files(tmp_path):
    assert "was not found" in refused(tmp_path / "gone.png")
    (tmp_path / "a.docx").write_bytes(b"PK")
    assert "can't be opened" in refused(tmp_path / "a.docx")


def test_real_odd_pictures(shared_folder):
    folder = shared_folder / "io" / "image2d"
    if not folder.is_dir():
        pytest.skip("the odd pictures are not here")
    assert opened(folder / "cvc_images_1.tif").shape == (288, 384, 3)
    mask = opened(folder / "cvc_masks_1.tif")
    assert mask.shape == (288, 384) and mask.min() == 0 and mask.max() == 255
    assert opened(folder / "dsb_rgba.png").shape == (256, 320, 3)
