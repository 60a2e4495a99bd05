"""`segment`: masks that are there stay, and nothing is said of a case that it does not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.sdseg.segmenter import Segmenter
from tests.engine.cli.calls import noise, picture, refused, says, sdseg, text_file, volume
from tests.engine.io.phantoms import Series, distinct, sha256_of


def segment(*words: object) -> int:
    return sdseg("segment", *words)


def test_a_mask_of_another_case_in_a_folder_is_never_replaced(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Folders named after patients: both masks would be called CT_series_3.
    random = np.random.default_rng(1)
    for letter in "AB":
        values = random.integers(0, 900, (3, 20, 24)).astype(np.int16)
        Series(values).write(tmp_path / "in" / f"Canary Cuthbert {letter}")
    words = ("--model", model, "--output", tmp_path / "m", "--json", tmp_path / "r.json")
    assert segment(tmp_path / "in", *words) == 1
    lines = says(capsys, "error: ")
    assert len(lines) == 1 and "CT_series_3 of another scan" in lines[0]
    report = json.loads((tmp_path / "r.json").read_text())
    assert [Path(row["input"]).name for row in report["failed"]] == ["Canary Cuthbert B"]
    before = sha256_of(tmp_path / "m")
    second = tmp_path / "in" / "Canary Cuthbert B"
    refused(capsys, "segment", second, "--model", model, "--output", tmp_path / "m")
    assert sha256_of(tmp_path / "m") == before
    first = tmp_path / "in" / "Canary Cuthbert A"
    assert segment(first, "--model", model, "--output", tmp_path / "m") == 0  # its own mask again


def test_a_picture_of_the_same_name_does_not_take_another_one_s_mask(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = picture(tmp_path / "one" / "eye.png", noise(1))
    two = picture(tmp_path / "two" / "eye.png", noise(2))
    words = ("--model", model, "--output", tmp_path / "m")
    assert segment(one, *words) == 0
    before = sha256_of(tmp_path / "m")
    assert "eye of another scan" in refused(capsys, "segment", two, *words)
    assert sha256_of(tmp_path / "m") == before
    # Who names the file itself has said what is to be replaced.
    assert segment(two, "--model", model, "--output", tmp_path / "m" / "eye.png") == 0


def test_folders_of_one_name_are_told_with_the_folders_above_them(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for study in ("ST1", "ST2"):  # as on discs
        Series(distinct((3, 8, 9))).write(tmp_path / "in" / study / "SE1")
    words = ("--model", model, "--output", tmp_path / "m")
    line = refused(capsys, "segment", tmp_path / "in", *words)
    assert "ST1/SE1 and ST2/SE1" in line and not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--time", "1"), "has no time point 1"),
        (("--series", "7"), "holds no series 7"),
    ],
)
@pytest.mark.parametrize("make", [picture, volume])
def test_a_part_that_a_file_does_not_have_is_refused(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], Path],
    words: tuple[str, ...],
    reason: str,
) -> None:
    source = make(tmp_path / ("a.png" if make is picture else "a.nii.gz"))
    usual = ("--model", model, "--output", tmp_path / "m.nii.gz")
    assert reason in refused(capsys, "segment", source, *usual, *words)
    assert not (tmp_path / "m.nii.gz").exists()


def test_a_scan_of_unknown_pixel_size_has_no_millilitres(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = Series(distinct((3, 20, 24)), tags={"PixelSpacing": None})
    words = ("--model", model, "--output", tmp_path / "m.nii.gz", "--json", tmp_path / "r.json")
    assert segment(series.write(tmp_path / "ct"), *words) == 0
    said = capsys.readouterr().out
    assert " mL" not in said and " voxels" in said
    found = json.loads((tmp_path / "r.json").read_text())["cases"][0]["found"]["disc"]
    assert found.keys() == {"voxels"} and found["voxels"] > 0


def test_a_folder_that_can_t_be_written_to_is_said_before_anything_is_computed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    text_file(tmp_path / "note")
    monkeypatch.setattr(Segmenter, "segment", None)  # it does not come so far
    words = ("--model", model, "--output", tmp_path / "note" / "m.nii.gz")
    line = refused(capsys, "segment", source, *words)
    assert "in note: it is a file" in line and (tmp_path / "note").is_file()


def test_the_manifest_says_which_slices_were_not_looked_at(model: Path, tmp_path: Path) -> None:
    source = volume(tmp_path / "head.nii.gz")
    words = ("--model", model, "--output", tmp_path / "m.nii.gz", "--slices", "1:3")
    assert segment(source, *words) == 0
    manifest = json.loads((tmp_path / "m.manifest.json").read_text())
    assert manifest["warnings"] == ["Of slices 0 to 4 only 1 to 2 were segmented."]
    assert segment(source, *words[:-1], "0:5") == 0
    assert json.loads((tmp_path / "m.manifest.json").read_text())["warnings"] == []


def test_the_hint_for_a_volume_in_a_png_is_one_that_segment_can_follow(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    assert segment(source, "--model", model, "--output", tmp_path / "m.png") == 1
    said = capsys.readouterr().err
    assert "hint: Name a file that ends in .nii.gz, or a folder for one.\n" in said
