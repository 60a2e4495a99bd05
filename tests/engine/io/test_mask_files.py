"""Masks out and in: PNG, folders of PNGs, NIfTI; refusals; nothing lost or overwritten."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from phantoms import Series, axis_order_affine, distinct, draw, sha256_of, write_nifti
from PIL import Image

from engine.domain.box import full_box
from engine.domain.label_map import Origin
from engine.domain.manifest import RESEARCH_USE, ModelUse
from engine.errors import UserError
from engine.io import open_case, read_mask, save_mask, save_probability, write_labels

MODEL = ModelUse("fundus-disc-cup", "ab" * 32, "disc", 0, 0.5)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "eye.jpg"
    Image.fromarray(distinct((9, 12), np.uint8)).save(path)
    case = open_case(path)
    draw(case, np.s_[0:1, 2:5, 3:9], np.s_[0:1, 6:8, 1:3])
    return case


@pytest.fixture
def volume(tmp_path):
    """A sagittal scan stored in an odd order."""
    affine = axis_order_affine((1, 2, 0), (1, -1, -1), (4, 5, 6), (0.8, 1.3, 3.9))
    case = open_case(write_nifti(tmp_path / "head.nii.gz", distinct((7, 6, 5)), affine))
    assert case.scan.plane == 2
    draw(case, np.s_[1:3, 0:2, 1:4], np.s_[4:5, 3:7, 2:3])
    return case


def refused(call, *args, **options) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **options)
    return f"{error.value.message} {error.value.hint}"


def test_a_picture_mask_holds_label_values_and_opens_again(picture, tmp_path):
    written = save_mask(picture, tmp_path / "out" / "m.png", overlay=True)
    assert [p.name for p in written] == ["m.png", "m.overlay.png", "m.manifest.json"]
    with Image.open(written[0]) as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), picture.label_map.array[0])
    values, labels = read_mask(written[0], picture)
    assert np.array_equal(values, picture.label_map.array)
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]


def test_the_overlay_shows_colours_only_where_labels_are(picture, tmp_path):
    overlay = save_mask(picture, tmp_path / "m.png", overlay=True)[1]
    pixels = np.asarray(Image.open(overlay))
    grey = np.repeat(picture.scan.array[0][:, :, None], 3, axis=2)
    labelled = picture.label_map.array[0] > 0
    assert np.array_equal(pixels[~labelled], grey[~labelled])
    assert (pixels[labelled] != grey[labelled]).any(axis=1).all()


def test_a_picture_mask_goes_into_a_folder_under_its_own_stem(picture, tmp_path):
    written = save_mask(picture, tmp_path / "masks")
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [
        "eye.manifest.json",
        "eye.png",
    ]
    values, labels = read_mask(written[0], picture)
    assert np.array_equal(values, picture.label_map.array)
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]


def test_a_folder_of_masks_gives_each_picture_its_own(picture, tmp_path):
    pixels = np.asarray(Image.open(picture.source))
    drawn = []
    for number in (0, 1):
        Image.fromarray(pixels + np.uint8(number)).save(tmp_path / f"frame_{number:04d}.png")
        case = open_case(tmp_path / f"frame_{number:04d}.png")
        draw(case, np.s_[0:1, number : number + 2, 0:3])
        save_mask(case, tmp_path / "masks")
        drawn.append(case)
    for case in drawn:
        assert np.array_equal(read_mask(tmp_path / "masks", case)[0], case.label_map.array)
    assert "no mask of eye" in refused(read_mask, tmp_path / "masks", picture)


def test_a_volume_becomes_one_png_a_slice_and_opens_again(volume, tmp_path):
    written = save_mask(volume, tmp_path / "masks", overlay=True)
    names = [p.name for p in written]
    count = volume.scan.slice_count
    assert names[:count] == [f"head_{n:04d}.png" for n in range(count)]
    assert "head_0002.overlay.png" in names and "head_0000.overlay.png" not in names
    values, labels = read_mask(tmp_path / "masks", volume)
    assert np.array_equal(values, volume.label_map.array)
    assert labels is not None and len(labels) == 2


def neighbour(tmp_path, name="chest", seed=0):
    """Another scan of the same size, with labels elsewhere."""
    affine = axis_order_affine((1, 2, 0), (1, -1, -1), (4, 5, 6), (0.8, 1.3, 3.9))
    folder = tmp_path / f"scans{seed}"
    folder.mkdir(exist_ok=True)
    pixels = distinct((7, 6, 5)) + np.int16(seed)
    case = open_case(write_nifti(folder / f"{name}.nii.gz", pixels, affine))
    draw(case, np.s_[0:4, 4:6, 0:5])
    return case


def test_two_cases_in_one_folder_stay_two(volume, tmp_path):
    other = neighbour(tmp_path)
    for case in (volume, other):
        save_mask(case, tmp_path / "masks")
    for case, count in ((volume, 2), (other, 1)):
        values, labels = read_mask(tmp_path / "masks", case)
        assert np.array_equal(values, case.label_map.array)
        assert labels is not None and len(labels) == count
    third = neighbour(tmp_path, "knee", seed=5)
    assert "chest, head" in refused(read_mask, tmp_path / "masks", third)


def test_the_only_mask_of_a_folder_opens_whatever_it_is_called(volume, tmp_path):
    save_mask(volume, tmp_path / "masks")
    values = volume.label_map.array
    volume.name = "renamed"
    assert np.array_equal(read_mask(tmp_path / "masks", volume)[0], values)


def test_another_case_of_the_same_name_is_not_written_over(volume, tmp_path):
    save_mask(volume, tmp_path / "masks")
    before = sha256_of(tmp_path / "masks")
    namesake = neighbour(tmp_path, "head", seed=5)
    text = refused(save_mask, namesake, tmp_path / "masks", slices=range(1), overlay=True)
    assert "masks holds a mask called head of another scan" in text
    assert sha256_of(tmp_path / "masks") == before


def test_a_manifest_of_another_case_is_not_taken_by_another_ending(volume, tmp_path):
    other = open_case(write_nifti(tmp_path / "b.nii.gz", distinct((4, 4, 4)) + 1, np.eye(4)))
    save_mask(other, tmp_path / "out" / "mask.nii.gz")
    text = refused(save_mask, volume, tmp_path / "out" / "mask.nii")
    assert "called mask of another scan" in text
    assert not (tmp_path / "out" / "mask.nii").exists()
    save_mask(volume, tmp_path / "out" / "mask.nii.gz")  # the very file that was chosen


def test_sagittal_slices_are_saved_head_up(volume, tmp_path):
    path = save_mask(volume, tmp_path / "masks")[1]
    pixels = np.asarray(Image.open(path))
    assert np.array_equal(pixels, volume.label_map.slice(1)[::-1])


def test_only_some_slices(volume, tmp_path):
    written = save_mask(volume, tmp_path / "some", slices=range(2, 4))
    assert [p.name for p in written[:-1]] == ["head_0002.png", "head_0003.png"]
    whole = save_mask(volume, tmp_path / "some.nii.gz", slices=range(2, 4))[0]
    values = read_mask(whole, volume)[0]
    assert np.array_equal(values[:, :, 2:4], volume.label_map.array[:, :, 2:4])
    assert values[:, :, 2:4].any() and not values[:, :, :2].any() and not values[:, :, 4:].any()


def test_nifti_opens_again_whatever_its_axis_order(volume, tmp_path):
    path = save_mask(volume, tmp_path / "m.nii.gz")[0]
    assert np.array_equal(read_mask(path, volume)[0], volume.label_map.array)


def test_the_manifest_counts_who_set_what(volume, tmp_path):
    draw(volume, np.s_[3:4, 0:1, 0:5], origin=Origin.MODEL)
    eraser = np.zeros(volume.scan.grid.shape, dtype=bool)
    eraser[1:3, 0:2, 1:2] = True
    from engine.domain.box import full_box

    edit = volume.label_map.make_edit(full_box(eraser.shape), eraser, 0, Origin.HAND)
    volume.label_map.apply(edit)
    save_mask(volume, tmp_path / "m.nii.gz", model=MODEL)
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    assert manifest["voxels"] == {
        "1": {"total": 13, "hand": 8, "model": 5},
        "2": {"total": 4, "hand": 4, "model": 0},
    }
    assert manifest["removed_by_hand"] == 4
    assert manifest["model"]["sha256"] == "ab" * 32 and manifest["notice"] == RESEARCH_USE
    assert manifest["source"] == "head.nii.gz" and manifest["review"] == "new"
    assert str(tmp_path) not in (tmp_path / "m.manifest.json").read_text()


def test_masks_of_another_grid_are_refused(volume, tmp_path):
    affine = np.diag([1.0, 1, 1, 1])
    other = open_case(write_nifti(tmp_path / "b.nii", distinct((7, 6, 5)), affine))
    path = save_mask(other, tmp_path / "m.nii")[0]
    assert "lies on another grid (7 x 6 x 5 voxels of 1 x 1 x 1 mm)" in refused(
        read_mask, path, volume
    )
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "masks_0000.png")
    assert "head" in refused(read_mask, tmp_path / "masks_0000.png", volume)
    (tmp_path / "empty").mkdir()
    assert "holds no mask" in refused(read_mask, tmp_path / "empty", volume)


def test_pictures_of_another_size_or_in_colour_are_no_mask(picture, tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "small.png")
    assert "5 x 4 pixels" in refused(read_mask, tmp_path / "small.png", picture)
    Image.fromarray(distinct((9, 12, 3), np.uint8)).save(tmp_path / "rgb.png")
    assert "colour picture" in refused(read_mask, tmp_path / "rgb.png", picture)
    Image.fromarray(np.full((9, 12), 999, np.uint16)).save(tmp_path / "wide.png")
    assert "whole numbers from 0 to 255" in refused(read_mask, tmp_path / "wide.png", picture)


def test_scans_are_no_masks(volume, tmp_path):
    values = np.full(volume.scan.grid.shape, 0.5, dtype=np.float32)
    path = save_probability(values, volume.scan, tmp_path / "p.nii.gz", volume.source)
    assert "is no mask" in refused(read_mask, path, volume)


def test_probability_of_a_picture_is_16_bit(picture, tmp_path):
    values = np.linspace(0, 1, 108, dtype=np.float32).reshape(1, 9, 12)
    save_probability(values, picture.scan, tmp_path / "p.png", picture.source)
    stored = np.asarray(Image.open(tmp_path / "p.png"))
    assert stored.dtype == np.uint16 and stored.max() == 65535
    assert np.abs(stored / 65535.0 - values[0]).max() <= 0.5 / 65535 + 1e-7


def test_a_volume_does_not_fit_into_one_png(volume, tmp_path):
    assert "can hold one slice" in refused(save_mask, volume, tmp_path / "m.png")
    values = np.zeros(volume.scan.grid.shape, dtype=np.float32)
    target = tmp_path / "p.png"
    assert "can't hold" in refused(save_probability, values, volume.scan, target, volume.source)


def test_the_source_is_never_overwritten(volume, tmp_path):
    before = sha256_of(volume.source)
    assert "never overwritten" in refused(save_mask, volume, volume.source)
    values = volume.label_map.array
    assert "never overwritten" in refused(
        write_labels, values, volume.scan, volume.source, volume.source
    )
    assert sha256_of(volume.source) == before


def test_sources_are_never_written(volume, picture, tmp_path):
    series = Series(distinct((3, 5, 6))).write(tmp_path / "series")
    sources = [volume.source, picture.source, series]
    before = [sha256_of(path) for path in sources]
    for number, path in enumerate(sources):
        case = open_case(path)
        draw(case, np.s_[0:1, 0:2, 0:2])
        save_mask(case, tmp_path / f"{number}.nii.gz", overlay=True)
        save_mask(case, tmp_path / f"folder{number}", overlay=True)
    assert [sha256_of(path) for path in sources] == before


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.png"])
def test_a_failed_save_leaves_the_old_file(picture, tmp_path, monkeypatch, name):
    save_mask(picture, tmp_path / name)
    before = sha256_of(tmp_path)
    draw(picture, np.s_[0:1, 0:9, 0:1])

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("engine.system.atomic.os.fsync", full_disk)
    text = refused(save_mask, picture, tmp_path / name)
    assert name in text and "space" in text.lower()
    assert sha256_of(tmp_path) == before


def test_a_disk_that_fills_up_half_way_leaves_all_slices_of_the_old_mask(tmp_path):
    resource = pytest.importorskip("resource", reason="Windows can't limit the size of a file")
    scan = np.zeros((64, 64, 6), np.int16)
    case = open_case(write_nifti(tmp_path / "scan.nii", scan, np.diag([-1, -1, 2, 1])))
    draw(case, np.s_[0:6, 3:40, 5:50])
    save_mask(case, tmp_path / "masks")
    before = sha256_of(tmp_path)
    dots = np.zeros(case.scan.grid.shape, bool)
    dots[3] = np.random.default_rng(0).random((64, 64)) < 0.5  # the one slice that packs badly
    dots[:, 50:] = True
    case.label_map.apply(case.label_map.make_edit(full_box(dots.shape), dots, 2, Origin.HAND))
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, usual[1]))
        text = refused(save_mask, case, tmp_path / "masks")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert "scan_0003.png can't be saved" in text
    assert sha256_of(tmp_path) == before
    save_mask(case, tmp_path / "masks")
    assert np.array_equal(read_mask(tmp_path / "masks", case)[0], case.label_map.array)


def test_a_target_that_cannot_be_made_is_one_sentence(picture, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "file" in refused(save_mask, picture, tmp_path / "file")
    refused(save_mask, picture, tmp_path / "file" / "m.png")


@pytest.mark.parametrize("name", ["eye.png", "mask.nii.gz", ""])
def test_mask_files_beside_the_picture_do_not_become_cases(picture, tmp_path, name):
    from engine.io import list_cases

    save_mask(picture, tmp_path / name, overlay=True)
    assert list_cases(tmp_path) == [picture.source]


def test_slices_beside_the_volume_do_not_become_cases(volume, tmp_path):
    from engine.io import list_cases

    save_mask(volume, tmp_path, overlay=True)
    assert list_cases(tmp_path) == [volume.source]
