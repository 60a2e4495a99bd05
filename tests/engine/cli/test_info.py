"""`info`: what a picture, a NIfTI file or a DICOM series is taken for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.cli.calls import picture, refused, says, sdseg, text_file, truncated, volume
from tests.engine.io.phantoms import Series


def info(tmp_path: Path, *words: Any) -> list[dict]:
    report = tmp_path / "info.json"
    assert sdseg("info", *words, "--json", report) == 0
    return json.loads(report.read_text())["cases"]


def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = info(tmp_path, picture(tmp_path / "eye.png"))[0]
    assert (row["case"], row["modality"], row["colour"]) == ("eye", "picture", True)
    assert row["columns_rows_slices"] == [70, 50, 1] and row["slices"] == 1
    assert row["spacing_mm"] is None and row["type"] == "uint8" and row["warnings"] == []
    printed = capsys.readouterr()
    assert "eye: colour picture, 70 x 50 pixels" in printed.out
    assert "up and" not in printed.out and printed.err == ""


def test_a_nifti_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = info(tmp_path, volume(tmp_path / "head.nii.gz"))[0]
    assert row["columns_rows_slices"] == [24, 20, 5]
    assert row["spacing_mm"] == [1.0, 1.5, 2.0]
    assert (row["plane"], row["slices"], row["colour"]) == ("axial", 5, False)
    assert row["affine"] == np.diag([-1.0, -1.5, 2.0, 1.0]).tolist()
    out = capsys.readouterr().out
    assert "head: unknown modality, 24 x 20 x 5 voxels of 1 x 1.5 x 2 mm" in out
    assert "5 axial slices, A up and L on the right" in out


@pytest.mark.parametrize(("axis", "plane"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_the_plane_of_acquisition_is_named(tmp_path: Path, axis: int, plane: str) -> None:
    spacing = np.ones(3)
    spacing[axis] = 5.0
    affine = np.diag([*(spacing * (-1, -1, 1)), 1.0])
    row = info(tmp_path, volume(tmp_path / "head.nii.gz", affine, (6, 7, 8)))[0]
    assert (row["plane"], row["slices"]) == (plane, (6, 7, 8)[axis])


def test_a_dicom_series_is_told_without_the_patient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(3).integers(0, 900, (4, 20, 24)).astype(np.int16)
    folder = Series(values).write(tmp_path / "ct")
    row = info(tmp_path, folder)[0]
    assert (row["case"], row["modality"]) == ("ct", "CT")
    assert row["columns_rows_slices"] == [24, 20, 4]
    assert row["spacing_mm"] == [0.9, 0.7, 2.5] and row["type"] == "int16"
    told = capsys.readouterr().out + json.dumps(row)
    assert "canary" not in told.casefold() and "4711" not in told


def test_a_missing_slice_is_a_warning_line_and_in_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(3).integers(0, 900, (6, 20, 24)).astype(np.int16)
    row = info(tmp_path, Series(values).write(tmp_path / "ct", skip=(3,)))[0]
    lines = says(capsys, "warning: ")
    assert row["warnings"] and lines == [f"warning: {text}" for text in row["warnings"]]
    assert row["columns_rows_slices"] == [24, 20, 6]


def test_each_series_of_a_folder_is_told_or_one_by_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(3).integers(0, 900, (3, 20, 24)).astype(np.int16)
    Series(values, number=3).write(tmp_path / "ct")
    Series(values[:2], number=4).write(tmp_path / "ct", names=["a.dcm", "b.dcm"])
    rows = info(tmp_path, tmp_path / "ct")
    assert sorted((row["case"], row["slices"]) for row in rows) == [
        ("CT series 3", 3),
        ("CT series 4", 2),
    ]
    only = info(tmp_path, tmp_path / "ct", "--series", 4)
    assert [row["slices"] for row in only] == [2]
    line = refused(capsys, "info", tmp_path / "ct", "--series", 9)
    assert "no series 9" in line


def test_every_case_of_a_folder_is_told_in_natural_order(tmp_path: Path) -> None:
    for name in ("eye10.png", "eye2.png"):
        picture(tmp_path / "in" / name)
    volume(tmp_path / "in" / "head.nii")
    rows = info(tmp_path, tmp_path / "in")
    assert [row["case"] for row in rows] == ["eye2", "eye10", "head"]


@pytest.mark.parametrize("name", ["missing.png", "cut.png", "text.nii.gz", "notes.txt"])
def test_what_can_t_be_opened_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if name == "cut.png":
        truncated(tmp_path / name)
    elif name != "missing.png":
        text_file(tmp_path / name)
    line = refused(capsys, "info", tmp_path / name, "--json", tmp_path / "r.json")
    assert name in line and not (tmp_path / "r.json").exists()


def test_no_path_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert sdseg("info") == 2
    assert "usage: sdseg info" in capsys.readouterr().err


def test_masks_beside_a_picture_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "eye.png")
    mask = picture(tmp_path / "masks" / "eye.png")
    assert info(tmp_path, source)[0]["masks"] == [str(mask)]
    assert f"mask beside it: {mask}" in capsys.readouterr().out
