"""`evaluate`: its figures are those that counting pixels of the masks gives."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from engine.evaluation.metrics import hd95
from tests.engine.cli.calls import (
    noise,
    picture,
    pixels,
    refused,
    sdseg,
    text_file,
    three_pairs,
    truncated,
    volume,
    voxels,
)
from tests.engine.evaluation.models import save_classes
from tests.engine.evaluation.test_lpips import random_weights
from tests.engine.io.phantoms import write_nifti
from tests.tiny_model import save_tiny

STEMS = ("a", "b", "c")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return three_pairs(tmp_path)


def evaluate(data: Path, *words: Any) -> dict[str, Any]:
    files = ("--images", data / "images", "--masks", data / "masks", "--json", data / "r.json")
    assert sdseg("evaluate", *files, *words) == 0
    return json.loads((data / "r.json").read_text())


def counted(answer: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Dice and IoU, pixel by pixel."""
    both = sum(bool(a) and bool(t) for a, t in zip(answer.flat, truth.flat, strict=True))
    found, there = int((answer > 0).sum()), int((truth > 0).sum())
    return 2 * both / (found + there), both / (found + there - both)


def answers(data: Path, model: Path) -> dict[str, np.ndarray]:
    assert sdseg("segment", data / "images", "--model", model, "--output", data / "answers") == 0
    return {stem: pixels(data / "answers" / f"{stem}.png") for stem in STEMS}


def test_the_figures_are_counted_on_the_pictures_own_grid(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(data, "--model", model)
    printed = capsys.readouterr().out
    expected = []
    answers_of = answers(data, model)
    for stem, answer in answers_of.items():
        truth = pixels(data / "masks" / f"{stem}.png") == 1
        expected.append(counted(answer, truth))
    for row, stem, figures in zip(report["cases"], STEMS, expected, strict=True):
        assert row["case"] == stem
        assert row["targets"]["disc"]["dice"] == pytest.approx(figures[0], abs=1e-9)
        assert row["targets"]["disc"]["iou"] == pytest.approx(figures[1], abs=1e-9)
        answer, truth = answers_of[stem], pixels(data / "masks" / f"{stem}.png") == 1
        assert row["targets"]["disc"]["hd95"] == hd95(answer, truth) and row["unit"] == "px"
    dice, iou = np.mean(expected, axis=0)
    for mean in (report["mean"], report["targets"]["disc"]):
        assert mean["dice"] == pytest.approx(dice) and mean["iou"] == pytest.approx(iou)
    head, line, note = printed.splitlines()
    assert head.split() == ["Dice", "IoU", "HD95", "(px)"]
    low, high = report["mean"]["interval"]["dice"]
    assert line.split("  ")[:2] == ["disc", f"{dice:.4f} [{low:.4f}, {high:.4f}]"]
    assert f"{iou:.4f} [" in line
    assert note.startswith("3 cases, on the pictures' own grid; in brackets 95 % bootstrap")


def test_each_case_is_printed_on_request(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(data, "--model", model, "--verbose")
    lines = capsys.readouterr().out.splitlines()
    for row, line in zip(report["cases"], lines[1:4], strict=True):
        assert line.split()[:3] == [row["case"], "disc", f"{row['targets']['disc']['dice']:.4f}"]


def test_an_undefined_distance_is_null_and_counted(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(data / "masks" / "b.png", np.zeros((50, 70), np.uint8))
    report = evaluate(data, "--model", model)
    assert report["cases"][1]["targets"]["disc"]["hd95"] is None
    assert report["mean"]["hd95_undefined"] == report["targets"]["disc"]["hd95_undefined"] == 1
    others = [report["cases"][n]["targets"]["disc"]["hd95"] for n in (0, 2)]
    assert report["mean"]["hd95"] == pytest.approx(np.mean(others))
    assert "HD95 is undefined for 1 mask:" in capsys.readouterr().out


def test_several_targets_have_a_row_each_and_a_mean(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate(data, "--model", save_classes(tmp_path / "several").folder)
    assert list(report["targets"]) == ["disc", "cup", "vessel"]
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:5]]
    assert rows == ["disc", "cup", "vessel", "mean"]
    means = [row["dice"] for row in report["targets"].values()]
    assert report["mean"]["dice"] == pytest.approx(np.mean(means))


def test_the_authors_definition_is_named_in_print_and_json(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(data / "masks" / "b.png", np.zeros((50, 70), np.uint8))
    report = evaluate(data, "--model", model, "--definition", "authors")
    assert report["definition"] == "authors" and report["unit"] is None
    assert report["cases"][1]["targets"]["disc"] == {"dice": 1.0, "iou": 0.0, "hd95": None}
    printed = capsys.readouterr().out
    assert "authors' definition" in printed and "HD95" not in printed
    assert evaluate(data, "--model", model)["definition"] == "native"


def test_stability_is_measured_over_runs(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(data, "--model", model, "--stability", 3)["stability"]
    assert (found["runs"], found["size"], found["pairs"]) == (3, 64, 9)
    for kind in ("masks", "scores"):
        row = found[kind]
        assert row["lpips"] is row["ms_ssim"] is None and row["identical_pairs"] == 0
        assert row["psnr"] > 0 and -1 < row["ssim"] < 1 and 0 < row["dice"] < 1
    printed = capsys.readouterr().out
    assert "stability over 3 runs" in printed and printed.count("not measured") == 2
    assert found == evaluate(data, "--model", model, "--stability", 3)["stability"]
    assert "stability" not in evaluate(data, "--model", model)


def test_lpips_is_measured_with_weights(model: Path, data: Path) -> None:
    save_file(random_weights(), data / "alex.safetensors")
    words = ("--model", model, "--stability", 2, "--lpips-weights", data / "alex.safetensors")
    found = evaluate(data, *words)["stability"]
    assert found["masks"]["lpips"] > 0 and found["scores"]["lpips"] > 0


def test_wrong_lpips_weights_are_refused(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--images", data / "images", "--masks", data / "masks", "--model", model)
    weights = ("--lpips-weights", text_file(data / "alex.safetensors"))
    line = refused(capsys, "evaluate", *words, "--stability", 2, *weights)
    assert "alex.safetensors" in line


@pytest.mark.parametrize(
    "words", [("--stability", 1), ("--stability", "many"), ("--lpips-weights", "alex.safetensors")]
)
def test_wrong_usage_ends_with_two(model: Path, data: Path, words: tuple[Any, ...]) -> None:
    files = ("--images", data / "images", "--masks", data / "masks", "--model", model)
    assert sdseg("evaluate", *files, *words) == 2


@pytest.mark.skipif(os.name == "nt", reason="no signals there")
def test_ctrl_c_ends_it_with_one_line(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--images", data / "images", "--masks", data / "masks", "--json", data / "r.json")
    timer = threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        line = refused(capsys, "evaluate", *files, "--model", model, "--stability", 2000)
    finally:
        timer.cancel()
    assert line == "error: Stopped before it was done." and not (data / "r.json").exists()


def test_the_values_of_the_truth_can_be_named(model: Path, data: Path) -> None:
    report = evaluate(data, "--model", model, "--target", "disc=1,2")
    for row, answer in zip(report["cases"], answers(data, model).values(), strict=True):
        truth = pixels(data / "masks" / f"{row['case']}.png")
        assert row["targets"]["disc"]["dice"] == pytest.approx(counted(answer, truth > 0)[0])


def test_the_model_s_own_masks_score_one_and_their_opposite_nothing(
    model: Path, data: Path
) -> None:
    for stem, answer in answers(data, model).items():
        picture(data / "masks" / f"{stem}.png", answer)
    report = evaluate(data, "--model", model)
    assert report["mean"]["dice"] == report["mean"]["iou"] == 1.0
    for stem in STEMS:
        opposite = 1 - pixels(data / "masks" / f"{stem}.png")
        picture(data / "masks" / f"{stem}.png", opposite)
    assert evaluate(data, "--model", model)["mean"]["dice"] == 0.0


def test_only_the_listed_cases_are_scored(model: Path, data: Path) -> None:
    cases = text_file(data / "test.txt", "c\na\n")
    report = evaluate(data, "--model", model, "--cases", cases)
    assert [row["case"] for row in report["cases"]] == ["c", "a"]


def test_the_seed_reaches_the_model(model: Path, data: Path) -> None:
    figures = [evaluate(data, "--model", model, "--seed", n)["mean"]["dice"] for n in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]


def test_volumes_are_scored_whole_along_the_model_s_plane(tmp_path: Path) -> None:
    coronal = save_tiny(tmp_path / "model", 2, plane="coronal").folder
    source = volume(tmp_path / "images" / "head.nii.gz")
    truth = np.zeros((24, 20, 5), dtype=np.uint8)
    truth[4:20, 3:15, 1:4] = 1
    (tmp_path / "masks").mkdir()
    write_nifti(tmp_path / "masks" / "head.nii.gz", truth, np.diag([-1.0, -1.5, 2.0, 1.0]))
    report = evaluate(tmp_path, "--model", coronal)
    assert sdseg("segment", source, "--model", coronal, "--output", tmp_path / "m.nii") == 0
    dice, iou = counted(voxels(tmp_path / "m.nii"), truth)
    assert report["mean"]["dice"] == pytest.approx(dice)
    assert report["mean"]["iou"] == pytest.approx(iou)


def test_a_truth_with_voxels_that_hold_no_number_is_scored_as_empty_there_and_that_is_said(
    tmp_path: Path,
) -> None:
    axial = save_tiny(tmp_path / "model", 2).folder
    volume(tmp_path / "images" / "head.nii.gz")
    truth = np.zeros((24, 20, 5), dtype=np.float32)
    truth[4:20, 3:15, 1:4] = 1
    (tmp_path / "masks").mkdir()
    for name in ("whole", "holes"):
        values = truth if name == "whole" else np.where(truth == 0, np.nan, truth)
        path = tmp_path / "masks" / "head.nii.gz"
        write_nifti(path, values.astype(np.float32), np.diag([-1.0, -1.5, 2.0, 1.0]))
        report = evaluate(tmp_path, "--model", axial)
        count = int((truth == 0).sum())
        said = f"{count} voxels of head.nii.gz hold no number; they are background."
        assert report["warnings"] == ([said] if name == "holes" else [])
        if name == "whole":
            before = report["mean"]
    assert report["mean"] == before


def spoil(data: Path, how: str) -> tuple[Any, ...]:
    """Makes one thing wrong; the words to add."""
    if how == "size":
        picture(data / "masks" / "b.png", np.zeros((50, 71), np.uint8))
    elif how == "colour":
        picture(data / "masks" / "b.png", noise(1))
    elif how == "mask":
        (data / "masks" / "b.png").unlink()
    elif how == "picture":
        truncated(data / "images" / "b.png")
    elif how == "case":
        return "--cases", text_file(data / "test.txt", "a\nb.png")
    elif how == "no cases":
        return "--cases", text_file(data / "b.txt", "\n")
    elif how == "target":
        return "--target", "b=1"
    elif how == "model":
        return "--model", "b"
    return ()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("size", "b.png"),
        ("colour", "b.png"),
        ("mask", "masks has no file b"),
        ("picture", "b.png"),
        ("case", "test.txt names b.png"),
        ("no cases", "b.txt lists no cases"),
        ("target", "'b'"),
        ("model", "b"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str], how: str, reason: str
) -> None:
    words = ("--images", data / "images", "--masks", data / "masks", "--model", model)
    line = refused(capsys, "evaluate", *words, *spoil(data, how))
    assert reason in line


def test_a_folder_that_is_not_there_is_refused(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", model, "--images", data / "images", "--masks", data / "nowhere")
    assert "nowhere" in refused(capsys, "evaluate", *words)


def test_files_of_the_system_beside_the_pictures_are_left_out(model: Path, data: Path) -> None:
    text_file(data / "images" / ".DS_Store")
    text_file(data / "images" / "Thumbs.db")
    assert len(evaluate(data, "--model", model)["cases"]) == 3


def test_without_a_model_it_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert sdseg("evaluate", "--images", "a", "--masks", "b") == 2
    assert "--model" in capsys.readouterr().err


def test_several_samples_and_steps_score_what_segment_answers_with_them(
    data: Path, tmp_path: Path
) -> None:
    mixed = save_tiny(tmp_path / "mixed", trained_timesteps="mixed").folder
    once = evaluate(data, "--model", mixed)
    report = evaluate(data, "--model", mixed, "--samples", 3, "--steps", 4)
    out = ("--output", data / "many", "--samples", 3, "--steps", 4)
    assert sdseg("segment", data / "images", "--model", mixed, *out) == 0
    for case in report["cases"]:
        answer, truth = (pixels(data / d / f"{case['case']}.png") for d in ("many", "masks"))
        assert case["targets"]["disc"]["dice"] == pytest.approx(counted(answer, truth == 1)[0])
    assert report["mean"] != once["mean"]
    last = save_tiny(tmp_path / "last", trained_timesteps="last").folder
    files = ("--images", data / "images", "--masks", data / "masks", "--model", last)
    assert sdseg("evaluate", *files, "--steps", 2) == 1
    assert sdseg("evaluate", *files, "--samples", 0) == 2
