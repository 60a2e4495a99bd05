"""Writing never touches a source, nor any file that this program did not write itself."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from phantoms import Series, axis_order_affine, distinct, draw, sha256_of, write_nifti
from PIL import Image

from engine.errors import UserError
from engine.io import open_case, save_mask, save_probability
from engine.io.project import ProjectFile, read_project, write_project


def photo(path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(distinct((9, 12), np.uint8)).save(path)
    return path


def drawn(path):
    case = open_case(path)
    draw(case, np.s_[0:1, 1:3, 1:4])
    return case


def chances(case):
    return np.full(case.scan.grid.shape, 0.25, dtype=np.float32)


def refused(call, *args, **options) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **options)
    return f"{error.value.message} {error.value.hint}"


@pytest.fixture
def volume(tmp_path):
    affine = axis_order_affine((0, 1, 2), (1, -1, 1), (0, 0, 0), (1.0, 1.0, 3.0))
    return drawn(write_nifti(tmp_path / "head.nii.gz", distinct((7, 6, 5)), affine))


@pytest.mark.parametrize("spelling", ["absolute", "relative", "link to the folder", "dots"])
def test_a_picture_is_not_replaced_by_its_mask_in_the_same_folder(tmp_path, monkeypatch, spelling):
    source = photo(tmp_path / "pics" / "eye.png")
    case, before = drawn(source), sha256_of(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "pics")
    monkeypatch.chdir(tmp_path)
    folder = {
        "absolute": tmp_path / "pics",
        "relative": type(tmp_path)("pics"),
        "link to the folder": tmp_path / "link",
        "dots": tmp_path / "pics" / ".." / "pics",
    }[spelling]
    assert "eye.png is read as a scan" in refused(save_mask, case, folder)
    assert "eye.png is read as a scan" in refused(save_mask, case, folder / "eye.png")
    target = folder / "eye.png"
    assert "read as a scan" in refused(
        save_probability, chances(case), case.scan, target, case.source
    )
    assert sha256_of(tmp_path) == before


def test_a_file_that_points_to_the_source_is_the_source(tmp_path):
    case = drawn(photo(tmp_path / "eye.png"))
    (tmp_path / "soft.png").symlink_to(case.source)
    os.link(case.source, tmp_path / "hard.png")
    for name in ("soft.png", "hard.png"):
        assert "read as a scan" in refused(save_mask, case, tmp_path / name)
    assert (tmp_path / "soft.png").is_symlink()


def test_the_picture_beside_the_source_is_not_replaced(tmp_path):
    case = drawn(photo(tmp_path / "pics" / "eye.jpg"))
    photo(tmp_path / "pics" / "eye.png")
    before = sha256_of(tmp_path)
    text = refused(save_mask, case, tmp_path / "pics", overlay=True)
    assert "eye.png" in text and "not written by SDSeg Studio" in text
    assert "eye.png" in refused(save_mask, case, tmp_path / "pics" / "eye.png")
    target = tmp_path / "pics" / "eye.png"
    assert "eye.png" in refused(save_probability, chances(case), case.scan, target, case.source)
    assert sha256_of(tmp_path) == before


@pytest.mark.parametrize("name", ["head_0002.png", "head_0000.overlay.png", "head.manifest.json"])
def test_no_slice_no_overlay_and_no_manifest_replaces_a_foreign_file(volume, tmp_path, name):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_bytes(b"somebody's own work")
    before = sha256_of(tmp_path)
    assert name in refused(save_mask, volume, folder, overlay=True)
    assert sha256_of(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["m.nii.gz", "m.nii", "m.manifest.json", "m_overlay/m_0000.overlay.png"]
)
def test_no_file_beside_a_nifti_mask_replaces_a_foreign_one(volume, tmp_path, name):
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"somebody's own work")
    before = sha256_of(tmp_path)
    target = tmp_path / ("m.nii" if name == "m.nii" else "m.nii.gz")
    assert foreign.name in refused(save_mask, volume, target, overlay=True)
    assert sha256_of(tmp_path) == before


def test_a_foreign_volume_is_not_replaced_by_probabilities(volume, tmp_path):
    other = write_nifti(tmp_path / "other.nii.gz", distinct((3, 3, 3)), np.eye(4))
    before = sha256_of(other)
    args = (chances(volume), volume.scan, other, volume.source)
    assert "other.nii.gz" in refused(save_probability, *args)
    assert sha256_of(other) == before


def test_a_slice_of_a_dicom_folder_is_not_replaced(tmp_path):
    folder = Series(distinct((3, 5, 6))).write(tmp_path / "ct", ["a.png", "b.nii", "c"])
    case, before = drawn(folder), sha256_of(folder)
    for name in ("b.nii", ""):
        refused(save_mask, case, folder / name)
    assert sha256_of(folder) == before


@pytest.mark.parametrize("name", ["m.png", "m.nii", "m.nii.gz", "folder"])
def test_what_the_program_wrote_itself_is_replaced(tmp_path, name):
    case = drawn(photo(tmp_path / "eye.jpg"))
    save_mask(case, tmp_path / name, overlay=True)
    draw(case, np.s_[0:1, 5:9, 0:9])
    first = save_mask(case, tmp_path / name, overlay=True)[0]
    again = open_case(first).scan.array
    assert np.array_equal(again, case.label_map.array)


@pytest.mark.parametrize("name", ["p.png", "p.nii", "p.nii.gz"])
def test_probabilities_are_replaced_by_newer_ones(tmp_path, name):
    case = drawn(photo(tmp_path / "eye.jpg"))
    first, second = chances(case), chances(case) / 2
    save_probability(first, case.scan, tmp_path / name, case.source)
    before = (tmp_path / name).read_bytes()
    save_probability(second, case.scan, tmp_path / name, case.source)
    assert (tmp_path / name).read_bytes() != before


def test_an_empty_file_holds_nothing_to_lose(tmp_path):
    case = drawn(photo(tmp_path / "eye.jpg"))
    (tmp_path / "m.png").touch()
    assert save_mask(case, tmp_path / "m.png")[0].stat().st_size > 0


def test_a_turned_photograph_s_mask_is_known_again(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.jpg", exif=exif)
    case = drawn(tmp_path / "eye.jpg")
    saved = [save_mask(case, tmp_path / "m.png", overlay=True) for _ in range(2)]
    assert saved[0] == saved[1] and all(path.is_file() for path in saved[1])


def test_a_project_replaces_nothing_but_a_project(tmp_path):
    source = photo(tmp_path / "eye.png")
    before = sha256_of(source)
    assert "eye.png" in refused(write_project, source, ProjectFile())
    assert sha256_of(source) == before
    path = tmp_path / "p.sdseg.json"
    write_project(path, ProjectFile())
    write_project(path, ProjectFile(model="polyp"))
    assert read_project(path).model == "polyp"
    path.write_text(json.dumps({"format": "sdseg-report"}))
    assert "p.sdseg.json" in refused(write_project, path, ProjectFile())
