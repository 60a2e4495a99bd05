"""The project file: everything comes back, damage is said, a failed save costs nothing."""

from __future__ import annotations

import errno
import json
import shutil

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
from engine.io import open_case
from engine.io.project import (
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
