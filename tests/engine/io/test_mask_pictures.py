"""Masks as pictures of many kinds: grey in colours, JPEG, TIFFs of pages, pixels without number."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from phantoms import distinct, write_nifti
from PIL import Image

from engine.errors import UserError
from engine.imaging.orientation import as_shown
from engine.io import open_case, read_mask

SIZE = (60, 80)  # rows, columns
LABELS = np.zeros(SIZE, np.uint8)
LABELS[10:30, 15:40], LABELS[35:50, 50:70] = 1, 3
WHITE = np.where(LABELS > 0, np.uint8(255), np.uint8(0))


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(distinct(SIZE, np.uint16).astype(np.uint8)).save(tmp_path / "eye.png")
    return open_case(tmp_path / "eye.png")


@pytest.fixture
def volume(tmp_path):
    path = write_nifti(tmp_path / "head.nii", distinct((7, 6, 5)), np.diag([0.7, 0.8, 2.5, 1]))
    return open_case(path)


def told(path, case):
    said: list[str] = []
    return read_mask(path, case, tell=said.append)[0], said


def refused(path, case) -> str:
    with pytest.raises(UserError) as error:
        read_mask(path, case)
    assert path.name in error.value.message
    return f"{error.value.message} {error.value.hint}"


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.webp", "m.bmp"])
def test_grey_that_is_stored_as_colours_is_a_mask(picture, tmp_path, name):
    colours = np.repeat(LABELS[:, :, None], 3, axis=2)
    path = save(tmp_path / name, colours, **({"lossless": True} if "webp" in name else {}))
    values, said = told(path, picture)
    assert np.array_equal(values[0], LABELS) and said == []
    colours[0, 0] = 7, 7, 8
    save(path, colours, **({"lossless": True} if "webp" in name else {}))
    assert "colour picture" in refused(path, picture)


def test_alpha_hides_no_label(picture, tmp_path):
    pixels = np.repeat(LABELS[:, :, None], 4, axis=2)
    pixels[:, :, 3] = np.where(LABELS > 0, 255, 0)  # nothing where nothing is drawn
    assert np.array_equal(told(save(tmp_path / "m.png", pixels), picture)[0][0], LABELS)
    grey = save(tmp_path / "g.png", pixels[:, :, 2:])
    assert np.array_equal(told(grey, picture)[0][0], LABELS)
    pixels[12, 20, 3] = 80
    assert "partly transparent" in refused(save(tmp_path / "m.png", pixels), picture)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_black_and_white_jpeg_is_black_and_white_and_says_so(picture, tmp_path, quality, mode):
    Image.fromarray(WHITE).convert(mode).save(tmp_path / "m.jpg", quality=quality)
    stored = np.asarray(Image.open(tmp_path / "m.jpg").convert("L"))
    odd = int(((stored > 0) & (stored < 255)).sum())
    assert len(np.unique(stored)) > 2
    values, said = told(tmp_path / "m.jpg", picture)
    assert np.array_equal(values[0], WHITE)
    assert len(said) == 1 and f"{odd:,} pixels were neither black nor white" in said[0]


def test_an_empty_jpeg_is_an_empty_mask(picture, tmp_path):
    values, said = told(save(tmp_path / "m.jpg", np.zeros(SIZE, np.uint8)), picture)
    assert not values.any() and said == []


@pytest.mark.parametrize("name", ["m.jpg", "m.webp", "m.tif"])
@pytest.mark.parametrize("values", [LABELS * 60, LABELS * 20, WHITE // 2])
def test_labels_that_are_blurred_are_refused(picture, tmp_path, name, values):
    options = {"compression": "jpeg"} if name == "m.tif" else {"quality": 40}
    path = save(tmp_path / name, values, **options)
    assert len(np.unique(np.asarray(Image.open(path)))) > 3
    assert "Save the mask as PNG" in refused(path, picture)


def test_a_jpeg_of_small_numbers_is_refused_whatever_is_left_of_them(picture, tmp_path):
    for values in (LABELS, LABELS > 0, (LABELS > 0) * np.uint8(5)):
        path = save(tmp_path / "m.jpg", values.astype(np.uint8), quality=60)
        assert "Save the mask as PNG" in refused(path, picture)


def test_a_photograph_is_no_mask(picture, tmp_path):
    grey = np.random.default_rng(3).integers(0, 256, SIZE).astype(np.uint8)
    assert "grey values" in refused(save(tmp_path / "m.jpg", grey), picture)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_tiff_with_a_page_for_each_slice_is_the_mask_of_a_volume(volume, tmp_path, kind):
    wanted = (distinct(volume.scan.grid.shape) % 11).astype(np.uint8)
    plane = volume.scan.plane
    pages = [as_shown(wanted[n], plane).astype(kind) for n in range(volume.scan.slice_count)]
    tifffile.imwrite(tmp_path / "m.tif", np.stack(pages), photometric="minisblack")
    assert plane == 0 and len({page.tobytes() for page in pages}) == 5
    values, said = told(tmp_path / "m.tif", volume)
    assert np.array_equal(values, wanted)
    assert len(said) == 1 and "the first was taken for slice 1" in said[0]
    tifffile.imwrite(tmp_path / "m.tif", np.stack(pages[:4]), photometric="minisblack")
    assert "m.tif has 4 pages, head has 5 slices." in refused(tmp_path / "m.tif", volume)
    tifffile.imwrite(tmp_path / "m.tif", np.stack([p.T for p in pages]), photometric="minisblack")
    assert "pixels" in refused(tmp_path / "m.tif", volume)


def test_pages_of_pillow_with_a_palette_or_one_bit_open_too(volume, tmp_path):
    wanted = (distinct(volume.scan.grid.shape) % 3 > 1).astype(np.uint8)
    pages = [as_shown(part, volume.scan.plane) for part in wanted]
    for convert in (
        lambda page: page.convert("P"),
        lambda page: page.point(lambda v: v * 255, "1"),
    ):
        first, *others = [convert(Image.fromarray(page)) for page in pages]
        first.save(tmp_path / "m.tif", save_all=True, append_images=others)
        assert np.array_equal(told(tmp_path / "m.tif", volume)[0], wanted)


@pytest.mark.parametrize("name", ["m.tif", "m.gif", "m.png"])
def test_a_file_of_several_pictures_is_no_mask_of_one(picture, tmp_path, name):
    pages = [Image.fromarray(LABELS), Image.fromarray(WHITE)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    assert "holds 2 pictures" in refused(tmp_path / name, picture)


def test_pixels_of_a_tiff_without_a_number_are_background(picture, volume, tmp_path):
    values = np.where(LABELS > 0, LABELS, np.nan).astype(np.float32)
    tifffile.imwrite(tmp_path / "m.tif", values)
    found, said = told(tmp_path / "m.tif", picture)
    assert np.array_equal(found[0], LABELS)
    assert said == [f"{(LABELS == 0).sum()} voxels of m.tif hold no number; they are background."]
    values[0, 0] = np.inf
    tifffile.imwrite(tmp_path / "m.tif", values)
    assert "infinite" in refused(tmp_path / "m.tif", picture)
    pages = np.full((5, *as_shown(volume.scan.array[0], 0).shape), np.nan, np.float32)
    pages[2, 1, 1] = 4
    tifffile.imwrite(tmp_path / "v.tif", pages, photometric="minisblack")
    found, said = told(tmp_path / "v.tif", volume)
    assert (found > 0).sum() == 1 and "5 pages of v.tif have pixels without a number" in said[0]


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_a_tiff_in_which_0_is_white_is_read_as_it_is_shown(picture, tmp_path, bits):
    pixels = bits(np.iinfo(bits).max) - LABELS.astype(bits)
    tifffile.imwrite(tmp_path / "m.tif", pixels, photometric="miniswhite")
    assert np.array_equal(told(tmp_path / "m.tif", picture)[0][0], LABELS)


def test_16_bit_colours_are_not_cut_to_8(picture, tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.repeat(LABELS[:, :, None], 3, axis=2).astype(np.uint16))
    assert np.array_equal(told(tmp_path / "m.tif", picture)[0][0], LABELS)
