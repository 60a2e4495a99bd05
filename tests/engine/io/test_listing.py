"""What a folder holds, in which order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from phantoms import Series, distinct, positions_of, same_positions, write_nifti
from PIL import Image
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

from engine.errors import Cancelled, ChoiceNeeded, UserError
from engine.io import begin_case, list_cases, list_parts, open_case, open_middle
from engine.io.kinds import file_stem, stem_of, suffix_of
from engine.io.listing import MOST_FOLDERS


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


def test_a_mask_beside_its_picture_is_no_case(tmp_path):
    for name in ("eye.jpg", "eye_mask.png", "Seg-eye.png", "ear_mask.png", "mask.png"):
        picture(tmp_path / name)
    names = [path.name for path in list_cases(tmp_path)]
    assert names == ["ear_mask.png", "eye.jpg", "mask.png"]
    assert list_cases(tmp_path / "eye_mask.png") == [tmp_path / "eye_mask.png"]


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


def test_series_in_folders_below_are_cases(tmp_path):
    for name in ("10", "9"):
        Series(distinct((3, 4, 5))).write(tmp_path / "study" / name)
    (tmp_path / "empty").mkdir()
    assert list_cases(tmp_path) == [tmp_path / "study" / "9", tmp_path / "study" / "10"]


def test_a_whole_disk_is_not_looked_through(tmp_path):
    for n in range(MOST_FOLDERS):
        (tmp_path / f"{n % 10}" / f"{n}").mkdir(parents=True)
    Series(distinct((3, 4, 5))).write(tmp_path / "0" / "0" / "ct")
    with pytest.raises(UserError, match=f"more than {MOST_FOLDERS} folders") as error:
        list_cases(tmp_path)
    assert tmp_path.name in error.value.message and str(Path("0", "0", "ct")) in error.value.hint
    assert list_cases(tmp_path / "0") == [tmp_path / "0" / "0" / "ct"]


def test_looking_through_folders_says_how_far_it_is_and_can_be_stopped(tmp_path):
    for n in range(20):
        (tmp_path / "a" / f"{n}").mkdir(parents=True)
    for n in range(10):
        (tmp_path / "a" / f"file{n}").write_bytes(bytes(500))
    Series(distinct((3, 4, 5))).write(tmp_path / "z")
    said = []
    assert list_cases(tmp_path, lambda *told: said.append(told)) == [tmp_path / "z"]
    assert [*dict.fromkeys(said)] == [(n, 0) for n in range(23)]

    def stop(done, _total):
        if done == 7:
            raise Cancelled

    for act in (list_cases, list_parts, lambda path, stop: begin_case(path, check=stop)):
        with pytest.raises(Cancelled):
            act(tmp_path, partial(count_calls, stop, [0]))


def count_calls(stop, calls, *_):
    calls[0] += 1
    stop(calls[0], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    Series(distinct((3, 4, 5))).write(tmp_path / "study" / "s")
    os.mkfifo(tmp_path / "study" / "pipe")
    assert list_cases(tmp_path) == [tmp_path / "study" / "s"]
    with pytest.raises(UserError, match="kind that can't be opened"):
        open_case(tmp_path / "pipe")


def test_what_holds_no_image_is_refused_where_it_was_asked_for_itself(tmp_path):
    Series(distinct((3, 4, 5))).write(tmp_path / "s")
    bare = tmp_path / "report.dcm"
    bare.write_bytes(bytes(128) + b"DICM" + bytes(50))
    with pytest.raises(UserError, match=r"report\.dcm"):
        list_parts(bare)
    picture(tmp_path / "s" / "a.png")
    assert [part.path.name for part in list_parts(tmp_path / "s")] == ["a.png", "s"]


def disc(folder, *series):
    """A disc as scanners burn it: a DICOMDIR, and the images below it."""
    contents = FileSet()
    for one in series:
        for n in range(len(one.pixels)):
            ds = one.dataset(n)
            ds.InstanceNumber, ds.StudyDate, ds.StudyTime = n + 1, "20200101", "1200"
            ds.StudyID = "1"
            contents.add(ds)
    contents.write(folder)
    contents._stage["t"].cleanup()  # it warns where that is left to the end
    return folder


def test_a_disc_opens_by_its_dicomdir(tmp_path):
    study = generate_uid()
    long = Series(distinct((5, 4, 5)), number=2, study=study)
    short = Series(distinct((3, 4, 5)), number=7, study=study)
    table = disc(tmp_path / "disc", short, long) / "DICOMDIR"
    assert list_cases(table.parent) == [table]
    assert same_positions(positions_of(open_case(table, series="2").scan), long.truth())
    parts = list_parts(table.parent)
    assert sorted(part.name for part in parts) == ["CT series 2", "CT series 7"]
    best = next(part for part in parts if part.is_likeliest)
    assert (
        best.name == "CT series 2"
        and best.summary == "5 slices, 5 mm every 2.5 mm, CT\n5 x 4 pixels"
    )
    case = open_case(table, series=best.series)
    assert case.scan.slice_count == 5 and case.name == "CT series 2"
    assert open_middle(table, best.series).scan.array.shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("options", "tags", "wanted"),
    [
        ({"step": (0, 0, 5)}, {"SeriesDescription": "Liver"}, "Liver\n3 slices, 5 mm, CT"),
        ({"step": (0, 3, 4)}, {"SliceThickness": 5}, "3 slices, 5 mm every 4 mm, CT"),
        ({"step": (0, 0, -1.25)}, {"SliceThickness": 0.5}, "3 slices, 0.5 mm every 1.25 mm, CT"),
        ({}, {"SliceThickness": None, "SpacingBetweenSlices": 9}, "3 slices, every 2.5 mm, CT"),
        ({"step": (0, 0, 0)}, {}, "3 images, CT"),
        ({}, {"ImagePositionPatient": None}, "3 images, CT"),
    ],
)  # fmt: skip
def test_a_series_says_how_many_slices_of_which_thickness(tmp_path, options, tags, wanted):
    folder = Series(distinct((3, 4, 5)), tags=tags, **options).write(tmp_path / "s")
    assert list_parts(folder)[0].summary == f"{wanted}\n5 x 4 pixels"


def test_a_series_that_was_taken_twice_says_so(tmp_path):
    first = Series(distinct((3, 4, 5)))
    first.write(tmp_path, ["a", "b", "c"])
    Series(first.pixels, uid=first.uid, study=first.study).write(tmp_path, ["d", "e", "f"])
    assert "3 slices, 5 mm every 2.5 mm, 2 times, CT" in list_parts(tmp_path)[0].summary


def test_series_without_a_uid_or_with_one_number_can_be_chosen(tmp_path):
    """Some old archives leave the UID out, and reconstructions share a number."""
    plainly, named = Series(distinct((3, 4, 5))), Series(distinct((4, 4, 5)))
    plainly.tags = {"SeriesInstanceUID": None, "SeriesNumber": None}
    plainly.write(tmp_path / "s", ["a", "b", "c"])
    named.write(tmp_path / "s", ["d", "e", "f", "g"])
    parts = list_parts(tmp_path / "s")
    found = [open_case(part.path, series=part.series).scan.slice_count for part in parts]
    assert found == [3, 4] and all(part.series for part in parts)
    with pytest.raises(ChoiceNeeded, match=r"unnamed \(CT, 3 images\), 3 \(CT, 4 images\)"):
        open_case(tmp_path / "s")
    assert open_case(tmp_path / "s", series="unnamed").scan.slice_count == 3
    other = Series(distinct((5, 4, 5)))
    other.write(tmp_path / "s", [f"z{n}" for n in range(5)])
    with pytest.raises(ChoiceNeeded) as error:
        open_case(tmp_path / "s")
    assert other.uid in error.value.message and named.uid in error.value.message
    assert open_case(tmp_path / "s", series=other.uid).scan.slice_count == 5


def test_a_dicomdir_without_its_disc_is_refused(tmp_path):
    table = disc(tmp_path / "disc", Series(distinct((3, 4, 5)))) / "DICOMDIR"
    (tmp_path / "DICOMDIR").write_bytes(table.read_bytes())
    with pytest.raises(UserError, match="lists no image that is there"):
        open_case(tmp_path / "DICOMDIR")


def test_a_disc_that_lacks_images_says_so(tmp_path):
    table = disc(tmp_path / "disc", Series(distinct((5, 4, 5)))) / "DICOMDIR"
    images = sorted(p for p in table.parent.rglob("*") if p.is_file() and p != table)
    images[-1].unlink()
    assert open_case(table).warnings[0] == "1 file is listed on the disc and not there."
    for size in (0.3, 0.5, 0.8):
        whole = table.read_bytes()
        table.write_bytes(whole[: int(len(whole) * size)])
        with pytest.raises(UserError, match="DICOMDIR"):
            open_case(table)
        table.write_bytes(whole)


def test_names_of_a_disc_that_are_none_are_refused(tmp_path):
    table = disc(tmp_path / "disc", Series(distinct((3, 4, 5)))) / "DICOMDIR"
    whole = table.read_bytes()
    ds = dcmread(table)
    for record in ds.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = "A" * 5000
    ds.save_as(table)
    with pytest.raises(UserError, match="DICOMDIR"):
        open_case(table)
    table.write_bytes(whole)
    assert open_case(table).scan.slice_count == 3


def test_a_folder_that_has_changed_is_read_again(tmp_path):
    series = Series(distinct((4, 4, 5)))
    series.write(tmp_path, skip=(3,))
    assert open_case(tmp_path).scan.slice_count == 3
    series.write(tmp_path)
    assert open_case(tmp_path).scan.slice_count == 4


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
