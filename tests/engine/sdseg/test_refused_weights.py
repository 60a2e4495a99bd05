"""Files that no network can start from: each is refused, with a way out."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import UserError
from engine.models.schema import WEIGHTS
from engine.sdseg.foreign import find_sources
from engine.sdseg.starting_weights import check_distinct
from tests.engine.sdseg.foreign_weights import (
    FIRST,
    SMALL,
    filled,
    latent_diffusion,
    refusal,
    small_config,
    tiny_autoencoder,
    under,
)
from tests.tiny_model import save_tiny

# What is refused


class Trap:
    """Unpickling it would leave a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    content = {f"{FIRST}decoder.conv_out.bias": Trap(tmp_path / "proof")}
    torch.save({"state_dict": content}, tmp_path / "bad.ckpt")
    refusal(tmp_path / "bad.ckpt", tmp_path)
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Trap(tmp_path / "proof")))
    assert "bare.ckpt" in refusal(tmp_path / "bare.ckpt", tmp_path).message
    assert not (tmp_path / "proof").exists()


def test_the_main_process_never_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"state_dict": under(FIRST, latent_diffusion())}, tmp_path / "kl-f8.ckpt")
    config = small_config()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled here")

    monkeypatch.setattr(torch, "load", never)
    assert len(filled(tmp_path / "kl-f8.ckpt", tmp_path, config)[1]) == 1


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def set_nan(file: Path) -> None:
    tensors = load_file(file)
    tensors["quant_conv.bias"][0] = float("nan")
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (cut, "not a valid safetensors"),
        (set_nan, "NaN"),
        (Path.unlink, "lacks"),
        (lambda file: file.write_bytes(b"\xff" * 64), "not a valid safetensors"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], word: str) -> None:
    tiny_autoencoder(tmp_path / "vae")
    spoil(tmp_path / "vae" / WEIGHTS)
    assert word in refusal(tmp_path / "vae", tmp_path).message


def other_class(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    return folder


def broken_config(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("[[")
    return folder


def authors(folder: Path) -> Path:
    return SMALL / "binary.ckpt"


def ours(folder: Path) -> Path:
    return save_tiny(folder).folder


def part_of_ours(folder: Path) -> Path:
    return save_tiny(folder).folder / "unet"


def bare_diffusers(folder: Path) -> Path:
    tiny_autoencoder(folder)
    return folder / WEIGHTS


def someone_else(folder: Path) -> Path:
    file = folder.with_suffix(".safetensors")
    save_file({"model.0.conv.weight": torch.zeros(2)}, file)
    return file


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (other_class, "x is a VQModel"),
        (broken_config, "x/config.json can't be read"),
        (authors, "--from"),
        (ours, "--from"),
        (part_of_ours, "--from"),
        (bare_diffusers, "Name its folder"),
        (someone_else, "no autoencoder and no U-Net"),
        (empty, "no model of diffusers"),
        (lambda folder: folder, "x was not found"),
    ],
)
def test_what_can_t_be_started_from_is_refused_with_a_way_out(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    error = refusal(make(tmp_path / "x"), tmp_path)
    assert words in f"{error.message} {error.hint}"


def test_two_sources_of_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny_autoencoder(tmp_path / name)
    sources = [s for n in "ab" for s in find_sources(tmp_path / n, tmp_path)]
    with pytest.raises(UserError, match="a and b both hold the autoencoder"):
        check_distinct(sources)
