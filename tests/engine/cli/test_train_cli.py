"""`train`: from a file of options and a folder of pictures to a model that `segment` can use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.models.store import read_entry, verify
from engine.sdseg.folder import file_sha256
from tests.engine.cli.calls import (
    installed,
    noise,
    picture,
    pixels,
    refused,
    sdseg,
    text_file,
    truncated,
)

STEMS = [f"case{n}" for n in range(8)]
# Comments, several words a line and quotes, as in the built-in recipes.
RECIPE = """# Bright discs.
--recipe discs
--title "Bright discs"   # for people
--kind 'drawn picture'
--modality picture
--data-name "8 drawn discs"
--notes "Drawn by a test"
--target disc=1,2

--preset tiny --size 64
--steps 3 --batch 4 --base-lr 5e-4 --warmup 2
--autoencoder-steps 4 --mask-weight 1 --last-share 0.5
--val-every 3 --checkpoint-every 3
--flips h --threads 1 --device cpu
"""
UNET = "unet/diffusion_pytorch_model.safetensors"


def draw(folder: Path) -> Path:
    """Eight bright discs (2) with a rim (1), six to learn from and two for val."""
    rows, columns = np.mgrid[0:60, 0:64]
    for n, stem in enumerate(STEMS):
        distance = np.hypot(rows - 24 - n, columns - 36 + n)
        grey = np.where(distance < 14, 200, 40) + noise(n, 60, 64)[:, :, 0] % 16
        mask = np.where(distance < 7, 2, np.where(distance < 14, 1, 0))
        picture(folder / "images" / f"{stem}.png", grey.astype(np.uint8))
        picture(folder / "masks" / f"{stem}.png", mask.astype(np.uint8))
    text_file(folder / "train.txt", "\n".join(STEMS[:6]))
    text_file(folder / "val.txt", "\n".join(STEMS[6:]))
    text_file(folder / "discs.args", RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the data, the model `discs` and its report `r.json`; don't change it."""
    folder = draw(tmp_path_factory.mktemp("trained"))
    words = ("--data", folder, "--output", folder / "discs", "--json", folder / "r.json")
    assert sdseg("train", f"@{folder / 'discs.args'}", *words) == 0
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw(tmp_path)


def words(folder: Path, *more: Any) -> tuple[Any, ...]:
    return ("train", f"@{folder / 'discs.args'}", "--output", folder / "discs", *more)


def test_a_model_folder_is_written_with_card_and_lineage(trained: Path) -> None:
    entry = read_entry(trained / "discs")
    assert verify(entry) == []
    names = {p.relative_to(entry.folder).as_posix() for p in entry.folder.rglob("*") if p.is_file()}
    parts = ("autoencoder", "unet", "vision_encoder")
    weights = {f"{part}/diffusion_pytorch_model.safetensors" for part in parts}
    configs = {f"{part}/config.json" for part in parts}
    assert names == weights | configs | {"model.json", "CARD.md", "fit.safetensors"}
    info = entry.info
    assert (info.name, info.title, info.kind) == ("discs", "Bright discs", "drawn picture")
    assert [(t.name, t.class_ids) for t in info.targets] == [("disc", (1, 2))]
    assert info.preprocessing.size == 64 and info.trained_timesteps == "mixed"
    assert info.fit is not None and info.fit.threshold > 0
    assert (info.lineage.steps, info.lineage.recipe) == (3, "discs")
    assert info.lineage.train_cases == 6 and info.lineage.data == "8 drawn discs"
    card = (entry.folder / "CARD.md").read_text()
    assert "# Bright discs" in card and "Drawn by a test" in card and "Research use only" in card


def test_the_json_repeats_the_model_and_its_scores(trained: Path) -> None:
    report = json.loads((trained / "r.json").read_text())
    entry = read_entry(trained / "discs")
    assert report["model"] == {"name": "discs", "sha256": entry.sha256}
    assert report["steps"] == 3 and report["cpu_minutes"] > 0
    assert report["scores"] == entry.info.scores
    assert any("val.txt, 2 cases" in name for name in report["scores"])
    assert all(0 <= value <= 1 for value in report["scores"].values())


def test_the_lineage_repeats_the_words_that_were_typed(trained: Path) -> None:
    command = read_entry(trained / "discs").info.lineage.command
    assert command.startswith("sdseg train @") and "--data" in command


def test_segment_can_use_it_by_itself(trained: Path, tmp_path: Path) -> None:
    installed(trained / "discs", "discs")
    source = trained / "images" / "case7.png"
    files = ("--output", tmp_path / "m.png", "--json", tmp_path / "r.json")
    assert sdseg("segment", source, *files) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["model"]["name"] == "discs" and report["cases"][0]["fit"]["fits"]
    assert pixels(tmp_path / "m.png").shape == (60, 64)


def test_evaluate_repeats_the_score_of_the_card(trained: Path, tmp_path: Path) -> None:
    files = ("--images", trained / "images", "--masks", trained / "masks")
    more = ("--cases", trained / "val.txt", "--json", tmp_path / "r.json")
    assert sdseg("evaluate", "--model", trained / "discs", *files, *more) == 0
    mean = json.loads((tmp_path / "r.json").read_text())["mean"]
    scores = read_entry(trained / "discs").info.scores
    assert mean["dice"] == pytest.approx(scores["Dice on val.txt, 2 cases, native grid"])
    assert mean["iou"] == pytest.approx(scores["IoU on val.txt"])


def test_a_finished_model_is_never_written_over(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file_sha256(trained / "discs" / "model.json")
    for more in ((), ("--resume",)):
        line = refused(capsys, *words(trained, "--data", trained, *more))
        assert "discs exists already" in line
    assert file_sha256(trained / "discs" / "model.json") == before


def test_an_earlier_run_is_not_written_over_for_want_of_an_option(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "discs")
    state = tmp_path / "discs.run" / "checkpoint.safetensors"
    before = file_sha256(state)
    line = refused(capsys, *words(tmp_path, "--data", tmp_path))
    assert "discs.run holds an earlier run, at step 3" in line
    assert file_sha256(state) == before
    state.write_bytes(b"nobody can go on from here")
    assert sdseg(*words(tmp_path, "--data", tmp_path)) == 0


def test_a_finished_run_is_resumed_at_its_end_with_equal_weights(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "discs")
    assert sdseg(*words(tmp_path, "--data", tmp_path, "--resume")) == 0
    assert "resumed at step 3" in capsys.readouterr().out
    assert file_sha256(tmp_path / "discs" / UNET) == file_sha256(trained / "discs" / UNET)


def test_the_run_folder_tells_the_course(trained: Path) -> None:
    curves = (trained / "discs.run" / "curves.csv").read_text().splitlines()
    assert curves[0].startswith("step,cpu_minutes,loss") and curves[-1].startswith("3,")
    assert not (trained / "discs.run" / "draft").exists()


def spoil(folder: Path, how: str) -> None:
    mask, source = folder / "masks" / "case2.png", folder / "images" / "case2.png"
    if how == "size":
        picture(mask, np.zeros((64, 60), np.uint8))
    elif how == "colour mask":
        picture(mask, noise(0, 60, 64))
    elif how == "no mask":
        mask.unlink()
    elif how == "no picture":
        source.unlink()
    elif how == "cut picture":
        truncated(source)
    elif how == "unknown name":
        text_file(folder / "val.txt", "case6\ncase99\n")
    elif how == "empty split":
        text_file(folder / "val.txt", "\n")
    elif how == "no split":
        (folder / "train.txt").unlink()
    elif how == "empty masks":
        for stem in STEMS[6:]:
            picture(folder / "masks" / f"{stem}.png", np.zeros((60, 64), np.uint8))
    elif how == "no masks":
        shutil.rmtree(folder / "masks")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("size", "case2.png"),
        ("colour mask", "case2.png"),
        ("no mask", "train.txt names case2, but masks"),
        ("no picture", "train.txt names case2, but images"),
        ("cut picture", "case2.png"),
        ("unknown name", "val.txt names case99"),
        ("empty split", "val.txt"),
        ("no split", "train.txt"),
        ("empty masks", "val.txt shows the target disc"),
        ("no masks", "masks"),
    ],
)
def test_data_that_can_t_be_used_are_refused_by_name_and_nothing_is_written(
    data: Path, capsys: pytest.CaptureFixture[str], how: str, named: str
) -> None:
    spoil(data, how)
    assert named in refused(capsys, *words(data, "--data", data))
    assert not (data / "discs").exists() and not (data / "discs.run").exists()


def test_a_data_folder_that_is_not_there_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = data / "gone"
    assert f"There is no folder {gone}" in refused(capsys, *words(data, "--data", gone))


def test_the_same_case_in_train_and_val_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text_file(data / "val.txt", "case5\ncase6\n")
    assert "case5" in refused(capsys, *words(data, "--data", data))


@pytest.mark.parametrize(
    "typed",
    [
        (),
        ("--output", "m"),
        ("--output", "m", "--data", "d", "--preset", "huge"),
        ("--output", "m", "--data", "d", "--steps", "many"),
        ("--output", "m", "--data", "d", "--window", "40"),
        ("--output", "m", "--data", "d", "--target", "disc=rim"),
        ("--output", "m", "--data", "d", "--target", "disc=0"),
        ("--output", "m", "--data", "d", "--size", "100"),
        ("--output", "m", "--data", "d", "--intensity", "window"),
        ("--output", "m", "--data", "d", "--init", "a", "--from", "b"),
        ("@missing.args", "--output", "m"),
    ],
)
def test_wrong_usage_ends_with_2(
    capsys: pytest.CaptureFixture[str], typed: tuple[str, ...]
) -> None:
    assert sdseg("train", *typed) == 2
    errors = capsys.readouterr().err
    assert "usage: sdseg train" in errors and "Traceback" not in errors


def test_an_output_that_can_t_be_written_is_refused_before_training(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = text_file(data / "taken")  # a file, where a folder is needed
    more = ("--autoencoder-steps", 100, "--data", data, "--output", taken / "m", "--resume")
    assert sdseg("train", f"@{data / 'discs.args'}", *more) == 1
    told = capsys.readouterr()
    assert told.err.startswith("error: m.run could not be saved")
    assert "m.run holds no checkpoint; the run begins anew" in told.out
    assert "autoencoder" not in told.out


def test_a_term_on_a_pyramid_that_is_not_there_is_refused_before_training(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "needs a vision encoder with a trunk" in refused(
        capsys, *words(data, "--data", data, "--pyramid-weight", 1)
    )
    assert not (data / "discs.run").exists()


@pytest.mark.parametrize(
    ("output", "said"),
    [("", "exists already"), (".", "exists already"), ("x" * 300, "file name too long")],
)
def test_an_output_that_can_t_be_is_refused_by_name(
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    said: str,
) -> None:
    (data / "here").mkdir()
    monkeypatch.chdir(data / "here")
    line = refused(capsys, *words(data, "--data", data, "--output", output))
    assert said in line and line.startswith("error: x" if len(output) > 1 else "error: here")


def test_an_empty_test_list_beside_the_others_is_none(data: Path) -> None:
    text_file(data / "test.txt", "\ufeff\n")  # as an editor on Windows leaves it
    assert sdseg(*words(data, "--data", data)) == 0
    assert (data / "discs").is_dir()


def test_an_empty_test_list_that_was_named_is_refused_before_training(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = text_file(data / "mine.txt", "\n")
    assert "mine.txt lists no cases" in refused(
        capsys, *words(data, "--data", data, "--test", empty)
    )
    assert not (data / "discs.run").exists()


def test_labels_json_beside_the_masks_names_what_is_not_learned(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [x for n in ("images", "masks") for x in (f"--{n}", data / n)]
    files += [x for n in ("train", "val") for x in (f"--{n}", data / f"{n}.txt")]
    only = words(data, *files, "--target", "disc=2")
    cup = [w for w in only if not str(w).startswith("@")]  # the recipe's target would stay
    more = ("--preset", "tiny", "--size", 64, "--steps", 1, "--autoencoder-steps", 1)
    assert "holds the value 1" in refused(capsys, *cup, *more)
    text_file(data / "labels.json", '{"1": "rim", "2": "disc"}')
    assert sdseg(*cup, *more) == 0


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"one": "rim"}', '{"1": null}', '{"1": ""}', '{"0": "x"}', '{"300": "x"}']
)
def test_a_broken_labels_json_is_named(
    data: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    text_file(data / "labels.json", text)
    assert "labels.json does not name mask values" in refused(capsys, *words(data, "--data", data))
