"""`train --init`, `--from` and `--resume`: where a run starts, and that the lineage tells it."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.cli.train_parser import add_parser
from engine.models.schema import WEIGHTS, ModelInfo, Schedule
from engine.models.store import read_entry
from engine.sdseg.folder import load_model
from engine.training.options import Augmentation, Objective, Optimisation
from engine.training.resume import OPTION
from tests.engine.cli.calls import picture, refused, sdseg
from tests.engine.cli.test_train_cli import draw, words
from tests.engine.sdseg.test_starting_weights import tiny_autoencoder, tiny_unet
from tests.tiny_model import save_tiny

LAST = "unet/" + WEIGHTS


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw(tmp_path)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, the foreign folders `vae` and `unet`, and the model `discs` made from them."""
    folder = draw(tmp_path_factory.mktemp("started"))
    tiny_autoencoder(folder / "vae")
    tiny_unet(folder / "unet")
    assert sdseg(*call(folder), *init(folder)) == 0
    return folder


def call(folder: Path, *more: Any) -> tuple[Any, ...]:
    return words(folder, "--data", folder, *more)


def init(folder: Path) -> tuple[Any, ...]:
    return ("--init", folder / "vae", "--init", folder / "unet")


def made(folder: Path) -> ModelInfo:
    return read_entry(folder / "discs").info


def test_the_lineage_names_every_source_with_its_hash(started: Path) -> None:
    first, second = made(started).lineage.initial_weights
    assert first.startswith(f"vae (sha256 {sha256(started / 'vae' / WEIGHTS)}): autoencoder, ")
    assert first.endswith("tensors, all fitted")
    assert second.startswith(f"unet (sha256 {sha256(started / 'unet' / WEIGHTS)}): U-Net, ")
    assert "conv_in widened 4 -> 8 with zeros, 0 left fresh" in second
    assert first in (started / "discs" / "CARD.md").read_text()
    assert made(started).lineage.parent_sha256 is None


def test_the_autoencoder_is_kept_and_the_scale_factor_measured(started: Path) -> None:
    kept = load_file(started / "discs" / "autoencoder" / WEIGHTS)
    given = load_file(started / "vae" / WEIGHTS)
    assert all(torch.equal(kept[n], t.half()) for n, t in given.items())  # stored in half precision
    assert made(started).scale_factor != 1.0
    told = " ".join(made(started).departures)
    assert "fresh weights" not in told and "narrower" in told


def test_the_vision_encoder_starts_from_the_autoencoder(data: Path) -> None:
    tiny_autoencoder(data / "vae")
    more = ("--init", data / "vae", "--steps", "1", "--base-lr", "0")
    assert sdseg(*call(data, *more)) == 0
    network, _ = load_model(data / "discs")
    encoder = network.autoencoder.encoder.state_dict()
    ours = network.vision_encoder.encoder.state_dict()
    assert all(torch.equal(ours[n], t) for n, t in encoder.items())
    assert any("The U-Net started from fresh weights" in x for x in made(data).departures)


def test_the_run_folder_lists_everything(started: Path) -> None:
    record = json.loads((started / "discs.run" / "initial_weights.json").read_text())
    assert [r["sentence"] for r in record] == list(made(started).lineage.initial_weights)
    assert "conv_in.weight" in record[1]["fitted"] and record[1]["widened"] == {
        "conv_in.weight": [4, 8]
    }


def test_a_resumed_run_needs_the_files_no_more_and_still_names_them(
    started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made(started)
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    for name in ("discs", "vae", "unet"):
        shutil.rmtree(tmp_path / name)
    assert sdseg(*call(tmp_path, "--resume")) == 0
    assert "resumed at step 3" in capsys.readouterr().out
    assert made(tmp_path).lineage.initial_weights == before.lineage.initial_weights
    assert made(tmp_path).departures == before.departures
    assert sha256(tmp_path / "discs" / LAST) == sha256(started / "discs" / LAST)
    shutil.rmtree(tmp_path / "discs")
    assert sdseg(*call(tmp_path, "--resume"), *init(tmp_path)) == 0  # as it was typed at first
    assert made(tmp_path).lineage.initial_weights == before.lineage.initial_weights


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (("--lambda", "2"), "--lambda"),
        (("--mask-weight", "0"), "--mask-weight"),
        (("--batch", "2"), "--batch"),
        (("--no-scale-lr",), "--no-scale-lr"),
        (("--prediction", "epsilon"), "--prediction"),
        (("--rotate", "5"), "--rotate"),
        (("--seed", "1"), "--seed"),
        (("--target", "cup=2"), "--target"),
        (("--size", "96"), "--size"),
        (("--steps", "2"), "--steps"),
        (("--steps", "6", "--decay", "cosine"), "--decay"),
        (("--init", "elsewhere/other"), "--init"),
        (("--preset", "compact"), "--preset"),
    ],
)
def test_a_run_is_not_resumed_with_other_options(
    started: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    option: str,
) -> None:
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "discs")
    line = refused(capsys, *call(tmp_path, "--resume", *more))
    assert f"another {option}" in line and "discs.run" in line
    assert not (tmp_path / "discs").exists()


def test_another_list_of_cases_is_another_run(
    started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "discs")
    (tmp_path / "train.txt").write_text("case0\ncase1\n")
    assert "another --train" in refused(capsys, *call(tmp_path, "--resume"))


def test_steps_may_grow_while_the_rate_is_constant(started: Path, tmp_path: Path) -> None:
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "discs")
    assert sdseg(*call(tmp_path, "--resume", "--steps", "4")) == 0
    assert made(tmp_path).lineage.steps == 4


@pytest.mark.parametrize("how", ["wide", "cut", "missing", "twice"])
def test_weights_that_can_t_be_used_are_refused_and_nothing_is_written(
    data: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    vae = data / "vae"
    named = "vae"
    if how == "wide":
        tiny_autoencoder(vae, block_out_channels=(8, 8, 8, 8))
        named = "8-8-8-8 channels wide; 4-4-8-8 are wanted"
    elif how == "cut":
        tiny_autoencoder(vae)
        (vae / WEIGHTS).write_bytes((vae / WEIGHTS).read_bytes()[:-9])
        named = "not a valid safetensors"
    elif how == "twice":
        tiny_autoencoder(vae)
        named = "both hold the autoencoder"
    twice = ("--init", vae) if how == "twice" else ()
    before = {p.name for p in data.iterdir()}
    assert named in refused(capsys, *call(data, "--init", vae, *twice))
    assert {p.name for p in data.iterdir()} == before


# From a model of ours


def test_a_model_s_child_names_its_parent_and_keeps_its_rules(data: Path) -> None:
    rules = {"size": 64, "channels": "grey", "intensity": "percentile"}
    base = save_tiny(
        data / "base",
        preprocessing=rules,
        schedule=Schedule(beta_end=0.02),
        prediction_type="v_prediction",
        departures=("It is small.",),
    )
    recipe = (data / "discs.args").read_text().replace("--preset tiny --size 64", "")
    (data / "discs.args").write_text(recipe)
    assert sdseg(*call(data, "--from", data / "base", "--channels", "rgb")) == 0
    info = made(data)
    assert info.lineage.parent_sha256 == base.sha256
    assert info.lineage.initial_weights == ("tiny",)
    assert (info.preset, info.prediction_type) == ("compact", "v_prediction")
    assert info.schedule == base.info.schedule
    assert info.preprocessing.size == 64 and info.preprocessing.intensity == "percentile"
    assert info.preprocessing.channels == "rgb"  # as typed
    assert info.departures[0] == "It is small."
    assert "The training started from the model tiny." in info.departures


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (("--size", "96"), "--size"),
        (("--prediction", "epsilon"), "--prediction"),
        (("--preset", "paper"), "--preset"),
        (("--preset", "compact"), "--preset"),
    ],
)
def test_options_that_contradict_the_base_model_are_refused(
    data: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], option: str
) -> None:
    save_tiny(data / "base")
    line = refused(capsys, *call(data, "--from", data / "base", *more))
    assert option in line and "tiny" in line


def test_a_folder_that_is_no_model_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "images is not a model" in refused(capsys, *call(data, "--from", data / "images"))


def test_init_with_a_nan_is_refused_by_its_own_name(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_unet(data / "unet")
    tensors = load_file(data / "unet" / WEIGHTS)
    tensors["conv_out.weight"][0] = float("inf")
    save_file(tensors, data / "unet" / WEIGHTS)
    assert "conv_out.weight holds NaN" in refused(capsys, *call(data, "--init", data / "unet"))


def test_pictures_may_be_told_apart_from_weights(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = picture(data / "x.png")
    assert "x.png" in refused(capsys, *call(data, "--init", file))


def test_a_refused_resume_names_an_option_that_train_has() -> None:
    known = add_parser(argparse.ArgumentParser().add_subparsers()).format_help()
    kinds = (Objective, Optimisation, Augmentation)
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    names |= {"target", "preset", "prediction_type", "plane", "start", "seed", "train", "val"}
    for name in names - {"minutes"}:  # an option of `finetune`
        option = OPTION.get(name, "--" + name.replace("_", "-"))
        assert re.search(rf"^  {option}(?![\w-])", known, re.MULTILINE), option
