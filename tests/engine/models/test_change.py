"""Display names, adding and removing: what changes the store, and what it never touches."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.models import change
from engine.models.change import add_model, removable_folder, remove_model, rename_model
from engine.models.records import STORE_JSON, store_folder
from engine.models.schema import MODEL_JSON, WEIGHTS
from engine.models.store import file_sha256, find_model, list_models, store_warnings, verify
from tests.tiny_model import save_tiny, tiny_info

UNET = f"unet/{WEIGHTS}"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of built-in models of a frozen build; empty."""
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "program"), raising=False)
    folder = tmp_path / "program" / "resources" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("source") / "tiny").folder


def describe(folder: Path, name: str, **changes: object) -> Path:
    folder.mkdir(parents=True)
    (folder / MODEL_JSON).write_text(tiny_info(name=name, **changes).model_dump_json())
    return folder


def store_json() -> Path:
    return store_folder() / STORE_JSON


def in_store() -> set[str]:
    return {path.name for path in store_folder().iterdir()} - {STORE_JSON}


# Display names


def test_a_display_name_stands_beside_the_folder_and_finds_the_model(program: Path) -> None:
    built_in = describe(program / "a", "discs", title="Discs")
    before = file_sha256(built_in / MODEL_JSON)
    assert rename_model(find_model("discs"), "  Größe der Papille ") == "Größe der Papille"
    assert file_sha256(built_in / MODEL_JSON) == before
    assert [e.title for e in list_models()[0]] == ["Größe der Papille"]
    assert find_model("größe der papille").name == "discs"
    assert find_model(built_in).title == "Größe der Papille"
    with pytest.raises(UserError, match="no model named Discs"):
        find_model("Discs")
    assert json.loads(store_json().read_text("utf-8"))["models"] == {
        find_model("discs").sha256: {"title": "Größe der Papille"}
    }


@pytest.mark.parametrize("title", ["", "  ", "x" * 81, "two\nlines", "a\tb", "a\u202eb", "a\0"])
def test_names_that_can_not_be_shown_are_refused(program: Path, title: str) -> None:
    entry = find_model(describe(program / "a", "discs"))
    with pytest.raises(UserError, match="can't get this name"):
        rename_model(entry, title)
    assert not store_json().exists()
    rename_model(entry, "x" * 80)


@pytest.mark.parametrize("title", ["Cups", "cups-id", "CUPS"])
def test_the_name_of_another_model_is_refused_and_ones_own_is_not(
    program: Path, title: str
) -> None:
    describe(program / "a", "discs", title="Discs")
    describe(store_folder() / "b", "cups-id", title="Cups")
    with pytest.raises(UserError, match="Another model is named"):
        rename_model(find_model("discs"), title)
    assert rename_model(find_model("discs"), "Discs") == "Discs"
    assert rename_model(find_model("discs"), "discs") == "discs"


@pytest.mark.parametrize(
    "content", ["no json", "[]", '{"format_version": 1, "colour": 1}', "x" * 1_000_001,
                '{"format_version": 1, "models": {"abc": {}}}',
                '{"format_version": 1, "models": {"' + "0" * 64 + '": {"title": "a\\nb"}}}'],
    ids=["text", "list", "unknown field", "large", "no hash", "line end"],
)  # fmt: skip
def test_a_damaged_store_json_costs_display_names_alone_and_is_kept(
    program: Path, content: str
) -> None:
    describe(program / "a", "discs", title="Discs")
    store_folder().mkdir(parents=True)
    store_json().write_text(content)
    entries, broken = list_models()
    assert ([e.title for e in entries], broken) == (["Discs"], [])
    (warning,) = store_warnings(entries)
    assert STORE_JSON in warning
    assert store_json().read_text() == content
    rename_model(entries[0], "Papilla")
    assert (store_folder() / f"{STORE_JSON}.damaged-1").read_text() == content
    assert find_model("Papilla").name == "discs" and store_warnings(list_models()[0]) == []


def test_the_store_json_of_a_later_version_is_left_alone(program: Path) -> None:
    entry = find_model(describe(program / "a", "discs"))
    store_folder().mkdir(parents=True)
    store_json().write_text('{"format_version": 2}')
    with pytest.raises(UserError, match="another version"):
        rename_model(entry, "Papilla")
    assert store_json().read_text() == '{"format_version": 2}'


def test_two_models_of_one_identifier_are_both_named_and_the_built_in_one_is_meant(
    program: Path,
) -> None:
    own = describe(store_folder() / "x", "lungs", title="Other")
    built_in = describe(program / "y", "lungs", title="Lungs")
    (warning,) = store_warnings(list_models()[0])
    assert warning.index(str(built_in)) < warning.index(str(own)) and "lungs" in warning
    assert find_model("lungs").folder == built_in
    assert find_model("Other").folder == own


# Removing


def test_a_removed_model_is_gone_with_its_display_name(program: Path) -> None:
    for name in ("one", "two"):
        describe(store_folder() / name, f"id-{name}", title=name)
        rename_model(find_model(f"id-{name}"), f"Number {name}")
    remove_model(removable_folder("Number one"))
    assert in_store() == {"two"}
    assert [r["title"] for r in json.loads(store_json().read_text())["models"].values()] == [
        "Number two"
    ]


def test_the_display_name_stays_while_a_model_of_the_same_hash_is_there(program: Path) -> None:
    describe(program / "a", "discs")
    rename_model(find_model("discs"), "Papilla")
    shutil.copytree(program / "a", store_folder() / "copy")
    remove_model(removable_folder(str(store_folder() / "copy")))
    assert find_model("discs").title == "Papilla"


def test_a_built_in_model_is_never_removed(program: Path) -> None:
    describe(program / "lungs", "lungs")
    describe(store_folder() / "lungs", "lungs", title="Other")
    for name in ("lungs", str(program / "lungs")):
        with pytest.raises(UserError, match="came with the program"):
            removable_folder(name)
    assert removable_folder("Other") == store_folder() / "lungs"
    assert (program / "lungs" / MODEL_JSON).is_file()


def test_folders_outside_the_store_are_left_alone(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(tmp_path / "mine", "mine")
    describe(store_folder() / "kept", "kept")
    monkeypatch.chdir(tmp_path)
    store = str(store_folder())
    for name in (
        str(tmp_path / "mine"), "mine", "./mine", store, f"{store}/..", f"{store}/kept/../../..",
        f"{store}/kept/unet", f"{store}/.draft-x", "..", ".", "", f"{store}/../../mine", STORE_JSON,
    ):  # fmt: skip
        with pytest.raises(UserError):
            removable_folder(name)
    assert (tmp_path / "mine" / MODEL_JSON).is_file() and in_store() == {"kept"}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("by", ["linked", "path", "identifier"])
def test_of_a_link_only_the_link_goes(program: Path, tmp_path: Path, by: str) -> None:
    target = describe(tmp_path / "elsewhere", "far")
    store_folder().mkdir(parents=True)
    link = store_folder() / "linked"
    link.symlink_to(target, target_is_directory=True)
    name = {"linked": "linked", "path": str(link), "identifier": "far"}[by]
    remove_model(removable_folder(name))
    assert in_store() == set() and (target / MODEL_JSON).is_file()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_inside_a_model_is_not_followed_and_one_to_nothing_goes(
    program: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    folder = describe(store_folder() / "m", "m")
    (folder / "inner").symlink_to(tmp_path / "precious", target_is_directory=True)
    (store_folder() / "nowhere").symlink_to(tmp_path / "gone")
    remove_model(removable_folder("m"))
    remove_model(removable_folder("nowhere"))
    assert in_store() == set() and (tmp_path / "precious" / "file").is_file()


def test_a_broken_model_can_be_removed_by_its_folders_name(program: Path) -> None:
    (store_folder() / "broken").mkdir(parents=True)
    (store_folder() / "broken" / MODEL_JSON).write_text("nothing")
    with pytest.raises(UserError, match=r"model\.json can't be read"):
        find_model("broken")
    remove_model(removable_folder("broken"))
    assert in_store() == set()


def test_what_could_not_be_deleted_never_shows_as_a_model(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(store_folder() / "m", "m")
    describe(store_folder() / "n", "n")
    monkeypatch.setattr(change, "_delete", lambda _: None)
    remove_model(removable_folder("m"))
    assert [e.name for e in list_models()[0]] == ["n"] and len(in_store()) == 2


def test_what_can_not_be_renamed_stays_whole(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(store_folder() / "m", "m")

    def busy(*_: object) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(change.os, "rename", busy)
    with pytest.raises(UserError, match="m can't be removed: in use"):
        remove_model(removable_folder("m"))
    assert find_model("m").folder == store_folder() / "m"


# Adding


def test_an_added_model_is_a_copy_of_what_decides_the_answer(
    program: Path, tiny: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(tiny, tmp_path / "from"))
    for name in ("notes.txt", "unet/run.py", "optimizer.ckpt"):
        (source / name).write_text("not part of it")
    entry = add_model(source)
    assert entry.folder == store_folder() / "tiny" and not entry.built_in
    assert verify(entry) == []
    copied = {f.relative_to(entry.folder).as_posix() for f in entry.folder.rglob("*.*")}
    assert copied == {*entry.info.hashes, MODEL_JSON, "CARD.md"}
    assert in_store() == {"tiny"}


def test_a_model_that_is_there_is_refused_by_hash_and_by_identifier(
    program: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, program / "tiny")
    with pytest.raises(UserError, match="Tiny model is there already"):
        add_model(tiny)
    with pytest.raises(UserError, match="Another model has the identifier tiny"):
        add_model(save_tiny(tmp_path / "other", seed=3).folder)
    add_model(save_tiny(tmp_path / "third", name="third").folder)
    assert in_store() == {"third"}


@pytest.mark.parametrize("way", ["flipped", "missing", "card alone", "no json"])
def test_a_damaged_model_leaves_nothing_behind(
    program: Path, tiny: Path, tmp_path: Path, way: str
) -> None:
    source = Path(shutil.copytree(tiny, tmp_path / "from"))
    if way == "flipped":
        content = (source / UNET).read_bytes()
        (source / UNET).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif way == "missing":
        (source / UNET).unlink()
    elif way == "card alone":
        shutil.rmtree(source / "unet")
    else:
        (source / MODEL_JSON).unlink()
    with pytest.raises(UserError):
        add_model(source)
    assert not store_folder().exists() or in_store() == set()


@pytest.mark.parametrize("name", ["../../up", "con", "Größe/2", "..", "a" * 300, ""])
def test_an_identifier_never_decides_where_the_folder_goes(
    program: Path, tmp_path: Path, name: str
) -> None:
    entry = add_model(save_tiny(tmp_path / "from", name=name).folder)
    assert entry.folder.parent == store_folder() and entry.folder.name.lower() != "con"
    assert len(entry.folder.name) < 80 and verify(entry) == []


def test_drafts_of_runs_that_were_killed_are_swept_away_and_young_ones_are_not(
    program: Path, tiny: Path
) -> None:
    for name in (".draft-old", ".draft-young", ".trash-1"):
        (store_folder() / name).mkdir(parents=True)
    os.utime(store_folder() / ".draft-old", (0, 0))
    add_model(tiny)
    assert in_store() == {"tiny", ".draft-young"}
