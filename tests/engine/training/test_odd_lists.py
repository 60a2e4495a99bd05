"""Lists and tables as other programs and systems write them."""

from __future__ import annotations

import unicodedata
from codecs import BOM_UTF8
from pathlib import Path

import pytest

from tests.engine.training.test_impossible_data import make, names_of, options, refused


def test_a_mark_and_line_endings_of_windows_are_no_part_of_a_name(tmp_path: Path) -> None:
    folder = make(tmp_path)
    for split in ("train", "val", "test"):
        file = folder / f"{split}.txt"
        file.write_bytes(BOM_UTF8 + file.read_bytes().replace(b"\n", b"\r\n"))
    assert names_of(options(folder)) == ({"a", "b"}, {"d"})


def test_a_list_in_another_encoding_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "train.txt").write_text("a\nb\n", encoding="utf-16")
    error = refused(options(folder))
    assert "train.txt" in error.message and "UTF-8" in error.hint


@pytest.mark.parametrize("name", ["a.png", "/data/images/a", "C:\\data\\images\\a.PNG"])
def test_file_names_and_paths_in_a_list_are_told_the_stem(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path)
    (folder / "train.txt").write_text(f"{name}\nb\n")
    error = refused(options(folder))
    assert f"train.txt names {name}" in error.message
    assert error.hint == "Write the stem alone: a."


def test_a_name_that_is_nowhere_gets_no_hint(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "train.txt").write_text("x.png\nb\n")
    assert refused(options(folder)).hint == ""


WHOLE, APART = (unicodedata.normalize(form, "Müller ä") for form in ("NFC", "NFD"))


def test_a_letter_and_its_accent_are_one_name_however_they_are_kept(tmp_path: Path) -> None:
    folder = make(tmp_path, [APART, "b", "c", "d"])
    (folder / "train.txt").write_text(f"{WHOLE}\nb\n", encoding="utf-8")
    (folder / "patients.csv").write_text(
        f"stem,patient\n{WHOLE},anna\nb,ben\nc,carl\nd,dora\n", encoding="utf-8"
    )
    assert names_of(options(folder)) == ({WHOLE, "b"}, {"d"})


def test_such_a_name_can_not_stand_on_both_sides(tmp_path: Path) -> None:
    folder = make(tmp_path, [APART, "b", "c", "d"])
    (folder / "val.txt").write_text(f"{WHOLE}\nd\n", encoding="utf-8")
    assert "stands in train.txt and in val.txt" in refused(options(folder)).message


def test_a_table_in_the_data_folder_counts_for_lists_that_lie_elsewhere(tmp_path: Path) -> None:
    folder = make(tmp_path / "data")
    (folder / "patients.csv").write_text("stem,patient\na,anna\nb,ben\nc,carl\nd,anna\n")
    elsewhere = tmp_path / "folds"
    elsewhere.mkdir()
    moved = {}
    for split in ("train", "val", "test"):
        moved[split] = (folder / f"{split}.txt").rename(elsewhere / f"{split}.txt")
    error = refused(options(folder, **moved))
    assert "one patient, anna, as patients.csv says" in error.message
