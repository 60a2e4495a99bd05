"""`models`: what is installed, what is broken, and whether a byte has changed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from engine.models.schema import MODEL_JSON
from engine.models.store import read_entry
from tests.engine.cli.calls import flip_last_byte, installed, says, sdseg, text_file

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def built_in(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same model among the program's own, as in a frozen build."""
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    return Path(shutil.copytree(model, tmp_path / "resources" / "models" / "first"))


def rows(report: Path) -> list[dict]:
    return json.loads(report.read_text())["models"]


def change_json(folder: Path, **changes: object) -> None:
    content = json.loads((folder / MODEL_JSON).read_text())
    (folder / MODEL_JSON).write_text(json.dumps(content | changes))


def test_built_in_and_own_models_are_listed_with_what_they_find(
    model: Path, built_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = installed(model, "second")
    change_json(own, name="second", title="Second model")
    assert sdseg("models", "--json", tmp_path / "r.json") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "tiny                     Tiny model (finds disc; stripes)",
        "second                   Second model (finds disc; stripes)",
    ]
    assert printed.err == ""
    assert [(r["name"], r["built_in"]) for r in rows(tmp_path / "r.json")] == [
        ("tiny", True),
        ("second", False),
    ]
    assert [r["sha256"] for r in rows(tmp_path / "r.json")] == [
        read_entry(built_in).sha256,
        read_entry(own).sha256,
    ]


@pytest.mark.parametrize("text", [None, "{}", "not json", '{"format_version": 2}'])
def test_a_broken_model_is_named_and_skipped(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    installed(model, "good")
    broken = installed(model, "broken")
    (broken / MODEL_JSON).unlink()
    if text is not None:
        text_file(broken / MODEL_JSON, text)
    assert sdseg("models", "--json", tmp_path / "r.json") == 0
    lines = says(capsys, "warning: ")
    assert len(lines) == 1 and "broken" in lines[0] and MODEL_JSON in lines[0]
    assert [r["name"] for r in rows(tmp_path / "r.json") if not r["built_in"]] == ["tiny"]


def test_files_and_hidden_folders_beside_the_models_are_no_models(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(model, "good").parent
    text_file(folder / "readme.txt")
    (folder / ".half-written").mkdir()
    assert sdseg("models") == 0
    assert says(capsys, "warning: ") == []


def test_intact_models_pass_the_check(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(model, "good")
    assert sdseg("models", "check", "--json", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["damaged"] == []
    assert says(capsys, "error: ") == []


@pytest.mark.parametrize("name", [UNET, "unet/config.json", "fit.safetensors"])
def test_one_flipped_byte_is_found(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    flip_last_byte(installed(fitted, "fitted") / name)
    assert sdseg("models", "check", "--json", tmp_path / "r.json") == 1
    lines = says(capsys, "error: ")
    assert len(lines) == 1 and "fitted" in lines[0] and name in lines[0]
    assert len(json.loads((tmp_path / "r.json").read_text())["damaged"]) == 1


def test_a_missing_file_and_a_broken_model_are_both_named(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed(model, "half") / UNET).unlink()
    text_file(installed(model, "worse") / MODEL_JSON, "{}")
    assert sdseg("models", "check") == 1
    lines = says(capsys, "error: ")
    assert len(lines) == 2
    assert any(UNET in line for line in lines) and any("worse" in line for line in lines)


def test_weights_that_no_hash_vouches_for_are_damage(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed(model, "forged")
    hashes = dict(read_entry(folder).info.hashes)
    del hashes[UNET]
    change_json(folder, hashes=hashes)
    assert sdseg("models", "check") == 1
    assert any(UNET in line for line in says(capsys, "error: "))


def test_without_models_nothing_is_listed_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert sdseg("models", "--json", tmp_path / "r.json") == 0
    assert [r for r in rows(tmp_path / "r.json") if not r["built_in"]] == []


def test_an_unknown_action_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert sdseg("models", "polish") == 2
    assert "usage: sdseg models" in capsys.readouterr().err
