"""The project file: everything comes back, damage is said, a failed save costs nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from phantoms import Series, axis_order_affine, distinct, draw, sha256_of, write_nifti
from PIL import Image

from engine.domain.box import Box, full_box
from engine.domain.label_map import LabelMap, Origin
from engine.domain.review import ReviewState
from engine.errors import UserError
from engine.io import list_cases, open_case, open_truth
from engine.io.project import (
    BoxEntry,
    ProjectFile,
    bare_entry,
    case_of,
    entry_of,
    read_project,
    write_project,
)


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.fromarray(distinct((9, 12), np.uint8)).save(folder / "eye.png")
    affine = axis_order_affine((1, 2, 0), (1, -1, -1), (4, 5, 6), (0.8, 1.3, 3.9))
    write_nifti(folder / "head.nii.gz", distinct((7, 6, 5)), affine)
    Series(distinct((3, 5, 6)), number=2).write(folder / "ct", ["a", "b", "c"])
    Series(distinct((4, 5, 6)), number=5).write(folder / "ct", ["d", "e", "f", "g"])
    opened = [
        open_case(folder / "eye.png"),
        open_case(folder / "head.nii.gz"),
        open_case(folder / "ct", series="5"),
    ]
    for case in opened:
        k, j, i = case.scan.grid.shape
        draw(case, np.s_[0:1, 1:3, 0:4])
        draw(case, np.s_[k - 1 : k, j - 2 : j, i - 1 : i], origin=Origin.MODEL)
        case.labels = case.labels.changed(1, locked=True, concept=("SCT", "123", "Organ"))
        case.box = Box((0, 1, 1), (k, j, i))
        case.review = ReviewState.CORRECTED
        case.slice_review = {0: ReviewState.APPROVED}
    return opened


def saved(cases, path):
    project = ProjectFile(cases=[entry_of(case) for case in cases], model="polyp", current=1)
    write_project(path, project)
    return read_project(path)


def test_everything_comes_back(cases, tmp_path):
    project = saved(cases, tmp_path / "p.sdseg.json")
    assert project.model == "polyp" and project.current == 1
    for before, entry in zip(cases, project.cases, strict=True):
        after = case_of(entry)
        for field in ("name", "source", "labels", "box", "review", "slice_review", "patient_key"):
            assert getattr(after, field) == getattr(before, field)
        assert np.array_equal(after.scan.array, before.scan.array)
        assert np.array_equal(after.label_map.array, before.label_map.array)
        whole = full_box(before.scan.grid.shape)
        assert np.array_equal(
            after.label_map.origins.read_box(whole), before.label_map.origins.read_box(whole)
        )


@settings(max_examples=30, deadline=None)
@given(
    plane=st.integers(0, 2),
    values=arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3)),
    seed=st.integers(0, 99),
)
def test_any_label_map_comes_back(cases_of_shape, plane, values, seed):
    origins = np.random.default_rng(seed).integers(0, 3, values.shape, dtype=np.uint8)
    case = cases_of_shape(values.shape, plane)
    case.label_map = LabelMap(values.shape, plane, values)
    case.label_map.origins.write_box(full_box(values.shape), origins)
    text = ProjectFile(cases=[entry_of(case)]).model_dump_json()
    entry = ProjectFile.model_validate_json(text).cases[0]
    back = case_of(entry).label_map
    assert np.array_equal(back.array, values)
    assert np.array_equal(back.origins.read_box(full_box(values.shape)), origins)


@pytest.fixture(scope="module")
def cases_of_shape(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")

    def make(shape, plane):
        spacing = [1.0, 1.0, 1.0]
        spacing[2 - plane] = 3.0
        path = folder / f"{plane}-{'-'.join(map(str, shape))}.nii"
        if not path.exists():
            write_nifti(
                path, distinct(shape[::-1]), np.diag([-spacing[0], -spacing[1], spacing[2], 1])
            )
        case = open_case(path)
        assert case.scan.plane == plane
        return case

    return make


def test_the_modality_of_a_nifti_comes_back(cases, tmp_path):
    from dataclasses import replace

    cases[1].scan = replace(cases[1].scan, modality="MR")
    assert case_of(saved(cases, tmp_path / "p.json").cases[1]).scan.modality == "MR"


def test_a_project_that_moved_with_its_scans_finds_them(cases, tmp_path):
    saved(cases, tmp_path / "p.json")
    (tmp_path / "elsewhere").mkdir()
    for name in ("data", "p.json"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    for entry in read_project(tmp_path / "elsewhere" / "p.json").cases:
        assert case_of(entry).label_map.array.any()


def refused(call, *args) -> str:
    with pytest.raises(UserError) as error:
        call(*args)
    return f"{error.value.message} {error.value.hint}"


def test_a_scan_that_is_gone_or_changed_is_said(cases, tmp_path):
    project = saved(cases, tmp_path / "p.json")
    Image.fromarray(distinct((8, 12), np.uint8)).save(cases[0].source)
    assert "eye.png has changed" in refused(case_of, project.cases[0])
    cases[1].source.unlink()
    assert "head.nii.gz was not found" in refused(case_of, project.cases[1])


def test_damaged_projects_are_refused(cases, tmp_path):
    path = tmp_path / "p.json"
    saved(cases, path)
    good = path.read_text()
    for text, words in [
        ("", "can't be read"),
        (good[: len(good) // 2], "can't be read"),
        ("[]", "not a project"),
        ('{"format": "other"}', "not a project"),
        (good.replace('"version": 1', '"version": 2'), "newer version"),
        (good.replace('"plane": 2', '"plane": 7'), "cases.1.plane"),
        (good.replace('"current"', '"unknown"'), "damaged"),
    ]:
        path.write_text(text)
        text = refused(read_project, path)
        assert words in text and "p.json" in text
    assert "was not found" in refused(read_project, tmp_path / "gone.json")


def test_damaged_label_maps_are_refused(cases, tmp_path):
    entry = entry_of(cases[0])
    bomb = entry_of(cases[1]).label_map
    for packed in ({0: "!!"}, {0: "AAAA"}, {99: entry.label_map[0]}, bomb):
        damaged = entry.model_copy(update={"label_map": packed})
        assert "labels of eye.png in the project are damaged" in refused(case_of, damaged)


def test_a_failed_save_leaves_the_old_project(cases, tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    saved(cases, path)
    before = sha256_of(path)
    names = sorted(p.name for p in tmp_path.iterdir())
    draw(cases[0], np.s_[0:1, 0:9, 0:1])

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("engine.system.atomic.os.replace", full_disk)
    text = refused(saved, cases, path)
    assert "p.json" in text
    assert sha256_of(path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_the_project_holds_no_patient_and_no_uid(cases, tmp_path):
    path = tmp_path / "p.json"
    saved(cases, path)
    text = path.read_text().lower()
    assert "canary" not in text and "1.2.826" not in text
    assert json.loads(text)["cases"][2]["patient_key"] == cases[2].patient_key


def test_a_case_that_was_never_opened_is_kept_by_its_place_alone(cases, tmp_path):
    bare = bare_entry(cases[0].source, "Eye")
    write_project(tmp_path / "p.sdseg.json", ProjectFile(cases=[bare]))
    (entry,) = read_project(tmp_path / "p.sdseg.json").cases
    case = case_of(entry)
    assert case.name == "Eye" and case.scan.grid.same_place(cases[0].scan.grid)
    assert not case.label_map.array.any() and len(case.labels) == 0


def odd_name(folder):
    """A picture whose name holds a byte that is no UTF-8, as old disks and archives have them."""
    source = folder / os.fsdecode(b"caf\xe9.png")
    try:
        Image.fromarray(distinct((9, 12), np.uint8)).save(source)
    except (OSError, UnicodeError):
        pytest.skip("this disk takes no such name")
    return source


def test_a_name_that_is_no_text_is_refused_before_anybody_paints(tmp_path):
    with pytest.raises(UserError, match=r"caf.\.png.*can't be read") as caught:
        open_case(odd_name(tmp_path))
    caught.value.message.encode("utf-8")


def test_a_listed_name_that_is_no_text_does_not_stop_a_save(tmp_path):
    source = odd_name(tmp_path)
    assert list_cases(tmp_path) == [source]
    entry = bare_entry(source, source.stem)
    project = tmp_path / "p.sdseg.json"
    for _ in range(2):  # what was read is saved again
        write_project(project, ProjectFile(cases=[entry]))
        (entry,) = read_project(project).cases
        assert Path(entry.source) == source and Path(entry.source).exists()


def bend(entry, how):
    if how == "affine":
        entry["affine"] = []
    elif how == "flat affine":
        entry["affine"][0] = [0.0, 0.0, 0.0, 0.0]
    elif how == "affine of NaN":
        entry["affine"][0][0] = float("nan")
    elif how == "equal ids":
        entry["labels"] *= 2
    elif how == "colour":
        entry["labels"][0]["colour"] = [999, -1, 0]
    elif how == "empty shape":
        entry["shape"] = [0, 9, 12]
    elif how == "source":
        entry["source"] = "bytes:no hex"
    else:
        entry[how] = {"7": next(iter(entry[how].values()))}


@pytest.mark.parametrize(
    "how",
    ["affine", "flat affine", "affine of NaN", "equal ids", "colour", "empty shape", "source",
     "origins", "label_map", "slice_review"],
)  # fmt: skip
def test_a_project_whose_work_fits_no_grid_is_damaged(cases, tmp_path, how):
    path = tmp_path / "p.sdseg.json"
    saved(cases[:1], path)
    content = json.loads(path.read_text())
    bend(content["cases"][0], how)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"p\.sdseg\.json is damaged"):
        read_project(path)


def test_a_box_that_leaves_the_scan_is_clipped(cases, tmp_path):
    (entry,) = saved(cases[:1], tmp_path / "p.sdseg.json").cases
    far = entry.model_copy(update={"box": BoxEntry(start=(0, -5, 0), stop=(9, 99, 99))})
    assert case_of(far).box == full_box((1, 9, 12))
    outside = entry.model_copy(update={"box": BoxEntry(start=(0, 50, 0), stop=(1, 60, 5))})
    assert case_of(outside).box is None


@pytest.mark.parametrize("palette", [[0, 0, 0, 255, 0, 0, 0, 255, 0], [0, 0, 0, 90, 90, 90]])
def test_a_truth_with_a_palette_is_its_indices(tmp_path, palette):
    values = np.arange(108, dtype=np.uint8).reshape(9, 12) % 2
    image = Image.fromarray(values, mode="P")
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    truth = open_truth(tmp_path / "mask.png")
    assert not truth.is_colour and np.array_equal(truth.array[0], values)
    Image.fromarray(values * 3).save(tmp_path / "grey.png")
    assert np.array_equal(open_truth(tmp_path / "grey.png").array[0], values * 3)
