"""What a folder holds, in which order."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from phantoms import Series, distinct, write_nifti
from PIL import Image

from engine.errors import UserError
from engine.io import list_cases, open_case
from engine.io.kinds import file_stem, stem_of, suffix_of


def picture(path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    return path


def test_natural_order_and_only_what_opens(tmp_path):
    for name in ("img10.png", "img9.PNG", "IMG2.jpg", "a.tif"):
        picture(tmp_path / name)
    write_nifti(tmp_path / "img11.nii.gz", distinct((3, 4, 5)), np.eye(4))
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in list_cases(tmp_path)]
    assert names == ["a.tif", "IMG2.jpg", "img9.PNG", "img10.png", "img11.nii.gz"]


def test_a_file_is_itself(tmp_path):
    path = picture(tmp_path / "a.png")
    assert list_cases(path) == [path]
    assert list_cases(tmp_path) == [path]
    assert open_case(tmp_path).source == path


def test_a_dicom_folder_is_one_case(tmp_path):
    folder = Series(distinct((3, 4, 5))).write(tmp_path / "s", ["a", "b", "c"])
    assert list_cases(folder) == [folder]
    assert list_cases(folder / "a") == [folder / "a"]


def test_a_mixed_folder_lists_both(tmp_path):
    Series(distinct((3, 4, 5))).write(tmp_path)
    path = picture(tmp_path / "a.png")
    assert list_cases(tmp_path) == [path, tmp_path]
    assert open_case(tmp_path).scan.modality == "CT"


def test_the_picture_named_in_a_manifest_is_no_mask(tmp_path):
    png = picture(tmp_path / "a.png")
    manifest = tmp_path / "a.manifest.json"
    manifest.write_text(json.dumps({"source": "a.png"}))
    assert list_cases(tmp_path) == [png]
    manifest.write_text(json.dumps({"source": "a.jpg"}))
    with pytest.raises(UserError):
        list_cases(tmp_path)
    manifest.write_text("{")
    assert list_cases(tmp_path) == [png]


def test_empty_folders_say_where_to_look(tmp_path):
    for name in ("CT", "MR"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError) as error:
        list_cases(tmp_path)
    assert tmp_path.name in error.value.message and "CT, MR" in error.value.hint
    with pytest.raises(UserError, match="was not found"):
        list_cases(tmp_path / "gone")


def test_a_dicomdir_points_to_the_folders_beside_it(tmp_path):
    Series(distinct((1, 4, 5))).write(tmp_path, ["DICOMDIR"])
    Series(distinct((3, 4, 5))).write(tmp_path / "ST0001")
    with pytest.raises(UserError) as error:
        list_cases(tmp_path)
    assert "ST0001" in error.value.hint


def test_a_folder_with_several_cases_is_not_guessed(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    with pytest.raises(UserError, match="2 cases"):
        open_case(tmp_path)


def test_endings(tmp_path):
    path = tmp_path / "Scan.v2.NII.GZ"
    assert suffix_of(path) == ".nii.gz" and stem_of(path) == "Scan.v2"
    assert stem_of(tmp_path / "IM0001") == "IM0001"
    assert file_stem('a/b\\c:"d"?.') == "a_b_c__d__"
    assert file_stem("...") == "mask"


def test_importing_the_doors_is_light():
    code = "import sys, engine.io; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0
    heavy = {"torch", "nibabel", "pydicom", "tifffile", "scipy", "nilearn", "PySide6"}
    assert not heavy & set(loaded.stdout.split())
