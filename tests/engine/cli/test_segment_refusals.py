"""`segment`: which model answers, and what is refused, in one sentence and before any harm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.io import open_case
from engine.system.paths import user_data_dir
from tests.engine.cli.calls import (
    flip_last_byte,
    installed,
    noise,
    picture,
    refused,
    says,
    sdseg,
    stripes,
    text_file,
    truncated,
    volume,
)
from tests.engine.io.phantoms import Series, distinct, sha256_of


def segment(*words: object) -> int:
    return sdseg("segment", *words)


# Which model


def test_a_model_is_named_by_its_name_or_its_folder(model: Path, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    installed(model, "tiny")
    for name in ("tiny", str(model)):
        assert segment(source, "--model", name, "--output", tmp_path / f"{len(name)}.png") == 0
    masks = [p.read_bytes() for p in tmp_path.glob("*.png") if p != source]
    assert len(masks) == 2 and masks[0] == masks[1]


def test_without_a_name_the_model_that_fits_is_taken(
    model: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(model, "tiny")
    installed(fitted, "fitted")
    source = picture(tmp_path / "a.png", stripes(99))
    words = ("--output", tmp_path / "m.png", "--json", tmp_path / "r.json")
    assert segment(source, *words) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["model"]["name"] == "fitted" and report["cases"][0]["fit"]["fits"]
    assert says(capsys, "warning") == []


def test_a_named_model_that_does_not_fit_warns_and_works(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "odd.png", noise(1))
    words = ("--model", fitted, "--output", tmp_path / "m.png", "--json", tmp_path / "r.json")
    assert segment(source, *words) == 0
    lines = says(capsys, "warning: ")
    assert len(lines) == 1 and "Stripes may not fit odd: the picture is unlike" in lines[0]
    fit = json.loads((tmp_path / "r.json").read_text())["cases"][0]["fit"]
    assert not fit["fits"] and fit["distance"] > fit["threshold"] > 0
    assert (tmp_path / "m.png").is_file()


def test_without_a_name_and_without_one_that_fits_nothing_is_written(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(fitted, "fitted")
    source = picture(tmp_path / "odd.png", noise(1))
    assert segment(source, "--output", tmp_path / "m.png") == 1
    captured = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in captured] == ["error", "hint"]
    assert "No installed model fits odd" in captured[0] and "fitted" in captured[1]
    assert list(tmp_path.iterdir()) == [source]


def test_a_broken_model_beside_a_good_one_is_a_warning(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(fitted, "fitted")
    (user_data_dir() / "models" / "broken").mkdir()
    source = picture(tmp_path / "a.png", stripes(99))
    assert segment(source, "--output", tmp_path / "m.png") == 0
    assert ["broken" in line for line in says(capsys, "warning: ")] == [True]


def test_a_damaged_model_is_refused_by_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    flip_last_byte(copy / "unet" / "diffusion_pytorch_model.safetensors")
    words = (picture(tmp_path / "a.png"), "--model", copy, "--output", tmp_path / "m.png")
    assert "unet/diffusion_pytorch_model.safetensors" in refused(capsys, "segment", *words)


# Refusals


BAD_INPUTS: dict[str, Callable[[Path], Path]] = {
    "missing.png": lambda path: path,
    "truncated.png": truncated,
    "text.nii.gz": text_file,
    "text.nii": text_file,
    "text.png": text_file,
    "notes.txt": text_file,
    "empty.nii.gz": lambda path: (path.write_bytes(b""), path)[1],
    "empty": lambda path: (path.mkdir(), path)[1],
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_one_sentence_with_its_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = BAD_INPUTS[name](tmp_path / name)
    line = refused(capsys, "segment", source, "--model", model, "--output", tmp_path / "out")
    assert name in line and not (tmp_path / "out").exists()


def test_one_bad_input_of_a_folder_does_not_stop_the_others(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "c.png"):
        picture(folder / name)
    truncated(folder / "b.png")
    text_file(folder / "d.nii.gz")
    words = ("--model", model, "--output", tmp_path / "out", "--json", tmp_path / "r.json")
    assert segment(folder, *words) == 1
    lines = says(capsys, "error: ")
    assert len(lines) == 2 and "b.png" in lines[0] and "d.nii.gz" in lines[1]
    report = json.loads((tmp_path / "r.json").read_text())
    assert [Path(row["input"]).name for row in report["failed"]] == ["b.png", "d.nii.gz"]
    assert [Path(p).name for p in report["outputs"]] == ["a.png", "c.png"]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]
    assert report["slices"] == 2 and report["model"]["name"] == "tiny"


def test_a_folder_of_nothing_but_bad_inputs_still_reports(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        truncated(tmp_path / "in" / name)
    words = ("--model", model, "--output", tmp_path / "out", "--json", tmp_path / "r.json")
    assert segment(tmp_path / "in", *words) == 1
    assert len(says(capsys, "error: ")) == 2
    report = json.loads((tmp_path / "r.json").read_text())
    assert len(report["failed"]) == 2 and report["outputs"] == []


@pytest.mark.parametrize(
    "names", [("a.png", "a.jpg"), ("a.png", "a.nii.gz"), ("a.nii", "a.nii.gz"), ("A.png", "a.bmp")]
)
def test_inputs_that_would_share_a_name_are_refused_before_anything_is_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    for name in names:
        make = volume if ".nii" in name else picture
        make(tmp_path / "in" / name)
    line = refused(
        capsys, "segment", tmp_path / "in", "--model", model, "--output", tmp_path / "out"
    )
    assert all(name in line for name in names) and not (tmp_path / "out").exists()


def test_several_cases_do_not_go_into_one_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    line = refused(
        capsys, "segment", tmp_path / "in", "--model", model, "--output", tmp_path / "m.png"
    )
    assert "2 cases" in line and not (tmp_path / "m.png").exists()


@pytest.mark.parametrize("name", ["m.jpg", "m.dcm", "m.nhdr"])
def test_endings_that_hold_no_mask_of_a_picture_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = picture(tmp_path / "a.png")
    line = refused(capsys, "segment", source, "--model", model, "--output", tmp_path / name)
    assert Path(name).suffix in line and not (tmp_path / name).exists()


def test_a_volume_does_not_go_into_a_png(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    assert "5" in refused(
        capsys, "segment", source, "--model", model, "--output", tmp_path / "m.png"
    )


@pytest.mark.parametrize("option", ["--output", "--probability"])
def test_the_source_is_never_written_over(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    source = picture(tmp_path / "in" / "a.png")
    before = sha256_of(source)
    files = {"--output": tmp_path / "m.png", option: source}
    words = [word for pair in files.items() for word in pair]
    assert "a.png" in refused(capsys, "segment", source, "--model", model, *words)
    assert sha256_of(source) == before


def test_mask_and_probability_never_share_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    for name in ("m.png", "out"):
        target = tmp_path / name
        words = ("--model", model, "--output", target, "--probability", target)
        assert target.name in refused(capsys, "segment", source, *words)
        assert not target.exists()


def test_one_file_is_one_file_however_it_is_spelt(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    source = picture(tmp_path / "pics" / "a.png").parent
    before = sha256_of(source)
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(tmp_path)
    words = ("--model", model, "--output", tmp_path / "m")
    for folder in ("pics", "link", source, source / ".." / "pics"):
        for given in (source, "pics", "link"):
            refused(capsys, "segment", given, "--model", model, "--output", folder)
            refused(capsys, "segment", given, *words, "--probability", folder)
    for other in ("m", tmp_path / "link" / ".." / "m", "m/a.png"):
        refused(capsys, "segment", source, *words, "--probability", other)
    assert sha256_of(source) == before
    assert not (tmp_path / "m").exists()


def test_another_picture_is_never_written_over(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.png")
    before = sha256_of(tmp_path)
    for option in ("--output", "--probability"):
        files = {"--output": tmp_path / "m" / "m.png", option: tmp_path / "b.png"}
        words = [word for pair in files.items() for word in pair]
        assert "b.png" in refused(capsys, "segment", source, "--model", model, *words)
    assert sha256_of(tmp_path) == before


def test_a_mask_without_its_manifest_is_an_input_like_any_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The series of a folder would be written under the name of a mask that is segmented too."""
    folder = Series(distinct((3, 8, 9)), number=3).write(tmp_path / "my ct")
    name = open_case(folder).name.replace(" ", "_")
    mask = folder / f"{name}.nii.gz"
    assert segment(volume(tmp_path / "v.nii"), "--model", model, "--output", mask) == 0
    (folder / f"{name}.manifest.json").unlink()
    before = sha256_of(folder)
    assert segment(folder, "--model", model, "--output", tmp_path / "my ct" / ".." / "my ct") == 1
    assert mask.name in capsys.readouterr().err
    assert sha256_of(folder)[mask.name] == before[mask.name]


@pytest.mark.parametrize("name", ["in/a.png", "tiny/model.json", "split.txt"])
def test_a_report_replaces_nothing_but_a_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = picture(tmp_path / "in" / "a.png")
    text_file(tmp_path / "split.txt", "a")
    shutil.copytree(model, tmp_path / "tiny")
    before = sha256_of(tmp_path)
    words = ("--model", tmp_path / "tiny", "--output", tmp_path / "m.png")
    report = tmp_path / "in" / ".." / name
    assert Path(name).name in refused(capsys, "segment", source, *words, "--json", report)
    assert sha256_of(tmp_path) == before


def test_a_report_is_replaced_by_the_next_but_not_by_its_own_masks(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    words = ("segment", source, "--model", model, "--output", tmp_path / "m.png", "--json")
    for _ in range(2):
        assert sdseg(*words, tmp_path / "r.json") == 0
    assert "m.manifest.json" in refused(capsys, *words, tmp_path / "m.manifest.json")
    assert json.loads((tmp_path / "m.manifest.json").read_text())["format"] == "sdseg-manifest"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--roi", "0,0,71,50"), "70 x 50"),
        (("--roi", "0,0,50,70"), "70 x 50"),
        (("--roi", "5,5,5,9"), "empty"),
        (("--roi=-1,0,5,5",), "70 x 50"),
        (("--roi", "0,0,5,5,0,2"), "--roi"),
        (("--slices", "0:2"), "slices 0 to 0"),
        (("--target", "cup"), "'cup'"),
        (("--model", "nobody"), "nobody"),
    ],
)
def test_what_the_case_or_the_model_does_not_have_is_refused(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    source = picture(tmp_path / "a.png")
    usual = ("--model", model, "--output", tmp_path / "m.png")
    line = refused(capsys, "segment", source, *usual, *words)
    assert reason in line and not (tmp_path / "m.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("a.png",),
        ("a.png", "--demo", "--output", "m.png"),
        ("a.png", "--output", "m.png", "--roi", "1,2,3"),
        ("a.png", "--output", "m.png", "--roi", "left"),
        ("a.png", "--output", "m.png", "--slices", "5:5"),
        ("a.png", "--output", "m.png", "--slices", "7"),
        ("a.png", "--output", "m.png", "--threshold", "1.5"),
        ("a.png", "--output", "m.png", "--threshold", "nan"),
        ("a.png", "--output", "m.png", "--window", "40"),
        ("a.png", "--output", "m.png", "--window", "40,0"),
        ("a.png", "--output", "m.png", "--window", "nan,nan"),
        ("a.png", "--output", "m.png", "--samples", "0"),
        ("a.png", "--output", "m.png", "--batch", "0"),
        ("a.png", "--output", "m.png", "--seed", "-1"),
        ("a.png", "--output", "m.png", "--plane", "diagonal"),
        ("a.png", "--output", "m.png", "--precision", "fp8"),
        ("a.png", "--output", "m.png", "--nonsense"),
        ("a.png", "b.png", "--output", "m.png"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_how_it_is_meant(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert segment(*words) == 2
    errors = capsys.readouterr().err
    assert "usage: sdseg" in errors and "error: " in errors
    assert "Traceback" not in errors


def test_a_json_that_can_t_be_written_is_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    words = ("--output", tmp_path / "m.png", "--json", tmp_path / "none" / "r.json")
    assert "r.json" in refused(capsys, "segment", source, "--model", model, *words)
    assert (tmp_path / "m.png").is_file()


def test_a_file_where_the_folder_should_be_is_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    (tmp_path / "masks").write_text("not a folder")
    refused(capsys, "segment", source, "--model", model, "--output", tmp_path / "masks")
    assert (tmp_path / "masks").read_text() == "not a folder"


def test_a_picture_is_not_sliced_another_way(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "eye.png", noise(0))
    words = ("--model", model, "--output", tmp_path / "m.png", "--plane", "coronal")
    assert "eye is a picture" in refused(capsys, "segment", source, *words)
    assert not (tmp_path / "m.png").exists()


def test_a_box_and_slices_that_do_not_meet_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = volume(tmp_path / "head.nii.gz")
    words = ("--model", model, "--output", tmp_path / "m.nii.gz", "--slices", "0:2")
    said = refused(capsys, "segment", source, *words, "--roi", "0,0,20,20,3,5")
    assert "do not meet in head" in said
    assert not (tmp_path / "m.nii.gz").exists()
