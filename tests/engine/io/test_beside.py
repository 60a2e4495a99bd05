"""Masks beside a picture or volume are found by the names that people give them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from phantoms import distinct, draw, plain, write_nifti
from PIL import Image

from engine.io import open_case, save_mask
from engine.io.beside import masks_beside


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(distinct((9, 12), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    "name",
    ["eye_mask.png", "eye-seg.tif", "eye.labels.png", "mask_eye.png", "EYE_MASK.PNG", "eye.json",
     "masks/eye.png", "labels/eye_mask.png", "../masks/eye.gif", "../Ground truth/eye.png"],
)  # fmt: skip
def test_usual_names_are_found(tmp_path, name):
    case = open_case(picture(tmp_path / "images" / "eye.jpg"))
    other = tmp_path / "images" / name
    picture(other) if other.suffix != ".json" else other.write_text("{}")
    assert [p.resolve() for p in masks_beside(case)] == [other.resolve()]


@pytest.mark.parametrize(
    "name", ["eye2_mask.png", "eyemask.png", "eye.png", "other/eye.png", "masks/eye2.png",
             "masks/eye.nii.gz", "eye_mask.txt", ".eye_mask.png"],
)  # fmt: skip
def test_other_names_are_not_taken_for_masks(tmp_path, name):
    case = open_case(picture(tmp_path / "images" / "eye.jpg"))
    (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "images" / name).write_bytes(b"x")
    assert masks_beside(case) == []


def test_our_own_mask_comes_first_and_one_of_another_picture_not_at_all(tmp_path):
    case = open_case(picture(tmp_path / "eye.jpg"))
    draw(case, np.s_[0:1, 2:5, 3:9])
    picture(tmp_path / "eye_label.png")
    own = save_mask(case, tmp_path / "eye_mask.png")[0]
    assert masks_beside(case) == [own, tmp_path / "eye_label.png"]
    manifest = tmp_path / "eye_mask.manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "source_sha256": "0"}))
    assert masks_beside(case) == [tmp_path / "eye_label.png"]


def test_volumes_have_volumes_and_nnunet_s_names_are_known(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    scan = write_nifti(tmp_path / "imagesTr" / "a_0000.nii.gz", distinct((4, 5, 6)), np.eye(4))
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", np.zeros((4, 5, 6), np.uint8), np.eye(4))
    picture(tmp_path / "labelsTr" / "a.png")
    assert masks_beside(open_case(scan)) == [tmp_path / "labelsTr" / "a.nii.gz"]


def test_masks_among_the_images_of_a_dicom_folder(tmp_path):
    folder = plain().write(tmp_path / "s")
    case = open_case(folder)
    assert masks_beside(case) == []
    draw(case, np.s_[0:2, 1:4, 0:2])
    seg = save_mask(case, folder / "a.dcm")[0]
    rt = save_mask(case, folder / "b.dcm", form="rtstruct")[0]
    (folder / "notes.txt").write_text("nothing")
    assert masks_beside(open_case(folder)) == [seg, rt]
    other = open_case(plain().write(tmp_path / "other"))
    draw(other, np.s_[0:2, 1:4, 0:2])
    save_mask(other, folder / "c.dcm")
    assert masks_beside(open_case(folder)) == [seg, rt], "c.dcm names another series"
    assert masks_beside(open_case(folder / "IM0000.dcm")) == []
