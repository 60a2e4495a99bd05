"""`evaluate` where a case is bad, or the masks have other values than the model's class ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.cli.calls import picture, refused, says, sdseg, three_pairs, truncated

STEMS = ("a", "b", "c")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return three_pairs(tmp_path)


def files(data: Path) -> tuple[Any, ...]:
    return "--images", data / "images", "--masks", data / "masks", "--json", data / "r.json"


def report_of(data: Path) -> dict[str, Any]:
    return json.loads((data / "r.json").read_text())


def test_one_bad_case_does_not_stop_the_others(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdseg("evaluate", *files(data), "--model", model, "--stability", 2) == 0
    whole = report_of(data)
    truncated(data / "images" / "a.png")
    picture(data / "masks" / "c.png", np.zeros((50, 71), np.uint8))
    capsys.readouterr()
    assert sdseg("evaluate", *files(data), "--model", model, "--stability", 2) == 1
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2 and "a.png" in lines[0] and "c.png" in lines[1]
    assert "Traceback" not in printed.err and "1 case, " in printed.out
    report = report_of(data)
    assert report["cases"] == [whole["cases"][1]]
    assert report["mean"]["dice"] == whole["cases"][1]["targets"]["disc"]["dice"]
    assert [row["case"] for row in report["failed"]] == ["a", "c"]
    assert report["failed"][0]["input"] == str(data / "images" / "a.png")
    assert f"error: {report['failed'][1]['error']}" == lines[1]
    assert report["stability"]["pairs"] == 1 and "failed" not in whole


def test_where_every_case_is_bad_nothing_is_scored(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in STEMS:
        truncated(data / "images" / f"{stem}.png")
    assert sdseg("evaluate", *files(data), "--model", model, "--stability", 2, "--verbose") == 1
    printed = capsys.readouterr()
    assert printed.err.count("error: ") == 3 and "Nothing was scored." in printed.out
    report = report_of(data)
    assert report["cases"] == [] and report["mean"]["dice"] is None and len(report["failed"]) == 3


def test_a_single_bad_case_is_the_command_s_own_error(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated(data / "images" / "a.png")
    (data / "one.txt").write_text("a\n")
    words = (*files(data), "--model", model, "--cases", data / "one.txt")
    assert "a.png" in refused(capsys, "evaluate", *words)
    assert not (data / "r.json").exists()


def test_masks_of_0_and_255_are_warned_about(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in STEMS:
        truth = np.zeros((50, 70), dtype=np.uint8)
        truth[5:40, 10:60] = 255
        picture(data / "masks" / f"{stem}.png", truth)
    assert sdseg("evaluate", *files(data), "--model", model) == 0
    (line,) = says(capsys, "warning: ")
    assert "value 1 of disc" in line and "--target disc=255" in line
    assert report_of(data)["warnings"] == [line.removeprefix("warning: ")]
    words = (*files(data), "--model", model, "--target", "disc=255")
    assert sdseg("evaluate", *words) == 0
    assert says(capsys, "warning: ") == [] and report_of(data)["mean"]["dice"] > 0.1


def test_empty_truths_are_no_reason_for_a_warning(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in STEMS:
        picture(data / "masks" / f"{stem}.png", np.zeros((50, 70), dtype=np.uint8))
    assert sdseg("evaluate", *files(data), "--model", model) == 0
    assert says(capsys, "warning: ") == []


@pytest.mark.parametrize("seed", ["-1", "9223372036854775808", "one"])
def test_a_seed_that_is_none_is_wrong_usage(model: Path, data: Path, seed: str) -> None:
    assert sdseg("evaluate", *files(data), "--model", model, f"--seed={seed}") == 2
