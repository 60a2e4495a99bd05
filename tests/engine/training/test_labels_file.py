"""`labels.json` names the values of masks."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import pytest

from engine.domain.targets import Target
from engine.errors import UserError
from engine.training.labels_file import read_labels, targets_of


def written(folder: Path, text: str) -> Path:
    file = folder / "labels.json"
    file.write_text(text, encoding="utf-8")
    return file


def test_values_get_their_names_without_the_background(tmp_path: Path) -> None:
    file = written(tmp_path, '{"0": "background", "2": " cup ", "1": "Sehnerv-Rand ä"}')
    assert read_labels(file) == {1: "Sehnerv-Rand ä", 2: "cup"}


def test_a_mark_of_windows_is_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_bytes(BOM_UTF8 + b'{"1": "disc", "7": "cup"}')
    assert read_labels(file) == {1: "disc", 7: "cup"}


@pytest.mark.parametrize("second", ["1", "01"])
def test_a_value_with_two_names_is_refused(tmp_path: Path, second: str) -> None:
    with pytest.raises(UserError, match=r"labels\.json names the value 1 twice"):
        read_labels(written(tmp_path, f'{{"1": "disc", "{second}": "cup"}}'))


def test_values_of_one_name_are_one_target() -> None:
    found = targets_of({4: "kidney", 2: "liver", 3: "kidney"})
    assert found == (Target("liver", (2,)), Target("kidney", (3, 4)))
    assert targets_of({}) == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "[1, 2]", '"disc"', "{}", '{"0": "background"}', '{"disc": 1}', '{"256": "x"}',
        '{"-1": "x"}', '{"1": ""}', '{"1": "  "}', "{1: 'disc'}", "\x00",
        '{"1": {"name": "disc"}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_names_no_values_is_refused_with_the_file_s_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"labels\.json") as caught:
        read_labels(written(tmp_path, text))
    assert caught.value.hint


def test_a_file_that_can_t_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.json can't be read"):
        read_labels(tmp_path / "labels.json")
    file = tmp_path / "labels.json"
    file.write_bytes(b'{"1": "\xff"}')
    with pytest.raises(UserError, match=r"labels\.json"):
        read_labels(file)
