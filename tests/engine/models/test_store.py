"""The store: which models are there, in which order, and which one a name means."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.models.schema import MODEL_JSON
from engine.models.store import find_model, list_models, read_entry, verify
from engine.system.paths import user_data_dir
from tests.tiny_model import save_tiny, tiny_info


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of built-in models of a frozen build; empty."""
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    folder = tmp_path / "resources" / "models"
    folder.mkdir(parents=True)
    return folder


def own() -> Path:
    return user_data_dir() / "models"


def describe(folder: Path, name: str, **changes: object) -> Path:
    """A folder with a model.json alone: all that the store looks at."""
    folder.mkdir(parents=True)
    (folder / MODEL_JSON).write_text(tiny_info(name=name, **changes).model_dump_json())
    return folder


def test_built_in_models_come_first_and_each_group_by_its_folder(program: Path) -> None:
    for folder, name in ((own() / "a", "own-a"), (own() / "c", "own-c")):
        describe(folder, name)
    for folder, name in ((program / "z", "built-z"), (program / "b", "built-b")):
        describe(folder, name)
    entries, broken = list_models()
    assert [e.name for e in entries] == ["built-b", "built-z", "own-a", "own-c"]
    assert [e.built_in for e in entries] == [True, True, False, False]
    assert broken == []


def test_a_built_in_model_is_never_shadowed_by_one_of_the_same_name(program: Path) -> None:
    describe(own() / "a", "lungs", title="Other lungs")
    describe(program / "z", "lungs", title="Lungs")
    assert find_model("lungs").built_in and find_model("lungs").info.title == "Lungs"
    assert find_model(own() / "a").info.title == "Other lungs"


def test_broken_folders_are_told_and_skipped(program: Path) -> None:
    describe(own() / "good", "good")
    (own() / "empty").mkdir()
    (own() / "text").mkdir()
    (own() / "text" / MODEL_JSON).write_text("nothing")
    (own() / "folder" / MODEL_JSON).mkdir(parents=True)
    entries, broken = list_models()
    assert [e.name for e in entries] == ["good"]
    assert [error.message.split(":")[0].split()[0] for error in broken] == [
        "empty",
        "folder",
        "text",
    ]
    assert all("\n" not in error.message for error in broken)


def test_files_and_hidden_folders_are_no_models(program: Path) -> None:
    describe(own() / ".draft-of-a-model", "draft")
    (own() / "notes.txt").write_text("mine")
    (program / "README.md").write_text("ours")
    assert list_models() == ([], [])


def test_without_any_folder_there_are_no_models_of_the_user() -> None:
    assert not own().exists()
    assert [e for e in list_models()[0] if not e.built_in] == []


def test_a_model_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    describe(own() / "any-folder", "discs")
    describe(tmp_path / "elsewhere", "cups")
    assert find_model("discs").folder == own() / "any-folder"
    assert find_model(tmp_path / "elsewhere").name == "cups"
    assert find_model(str(tmp_path / "elsewhere")).name == "cups"


def test_a_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(own() / "a", "discs", title="Installed")
    describe(tmp_path / "discs", "discs", title="Beside")
    monkeypatch.chdir(tmp_path)
    assert find_model("discs").info.title == "Installed"
    assert find_model("./discs").info.title == "Beside"


def test_an_unknown_name_is_refused_with_those_that_are_there() -> None:
    describe(own() / "a", "discs")
    with pytest.raises(UserError, match="no model named dics") as caught:
        find_model("dics")
    assert "discs" in caught.value.hint


def test_a_folder_without_a_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path.name} is not a model"):
        find_model(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may read everything")
def test_a_model_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = describe(tmp_path / "locked", "locked")
    (folder / MODEL_JSON).chmod(0)
    with pytest.raises(UserError, match="locked"):
        read_entry(folder)


def test_the_hash_of_a_model_is_that_of_its_model_json(tmp_path: Path) -> None:
    folder = describe(tmp_path / "m", "m")
    first = read_entry(folder).sha256
    assert first == hashlib.sha256((folder / MODEL_JSON).read_bytes()).hexdigest()
    content = json.loads((folder / MODEL_JSON).read_text())
    (folder / MODEL_JSON).write_text(json.dumps(content | {"title": "Renamed"}))
    assert read_entry(folder).sha256 != first


def test_every_file_of_a_saved_model_is_verified(tmp_path: Path) -> None:
    entry = save_tiny(tmp_path / "m")
    assert verify(entry) == [] and len(entry.info.hashes) == 6
    for name in entry.info.hashes:
        file = entry.folder / name
        good = file.read_bytes()
        file.write_bytes(good + b" ")
        assert verify(entry) == [name]
        file.unlink()
        assert verify(entry) == [name]
        file.write_bytes(good)
    assert verify(entry) == []


def test_a_model_whose_hashes_name_no_weights_is_not_intact(tmp_path: Path) -> None:
    entry = read_entry(describe(tmp_path / "m", "m"))
    assert "unet/diffusion_pytorch_model.safetensors" in verify(entry)


@pytest.mark.parametrize("absolute", [True, False])
def test_verifying_never_reads_outside_the_folder(tmp_path: Path, absolute: bool) -> None:
    entry = save_tiny(tmp_path / "m")
    outside = tmp_path / "outside.txt"
    outside.write_text("a secret")
    name = str(outside) if absolute else "../outside.txt"
    content = json.loads((entry.folder / MODEL_JSON).read_text())
    content["hashes"][name] = hashlib.sha256(b"a secret").hexdigest()
    (entry.folder / MODEL_JSON).write_text(json.dumps(content))
    try:
        changed = read_entry(entry.folder)
    except UserError:
        return  # refused even earlier
    assert verify(changed) == [name]
