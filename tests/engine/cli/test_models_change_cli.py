"""`models info`, `rename`, `remove`, `add` and `pull` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.models.store import find_model
from engine.system.paths import user_data_dir
from tests.engine.cli.calls import flip_last_byte, installed, refused, says, sdseg, text_file
from tests.engine.models.fake_hub import COMMIT, REPOSITORY, FakeHub, serving

ROOT = Path(__file__).resolve().parents[3]
UNET = "unet/diffusion_pytorch_model.safetensors"


def outcome(report: Path) -> dict:
    return json.loads(report.read_text())


def test_info_tells_what_is_known(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = find_model(installed(model, "good"))
    assert sdseg("models", "info", "tiny", "--json", tmp_path / "r.json") == 0
    printed = capsys.readouterr().out
    for words in ("Tiny model", entry.sha256, str(entry.folder), "64 x 64", "stripes"):
        assert words in printed
    told = outcome(tmp_path / "r.json")["model"]
    assert (told["sha256"], told["built_in"]) == (entry.sha256, False)
    assert told["info"]["preprocessing"]["size"] == 64
    assert "no model named other" in refused(capsys, "models", "info", "other")


def test_a_display_name_shows_in_the_list_and_names_the_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(model, "good")
    assert sdseg("models", "rename", "tiny", "My discs", "--json", tmp_path / "r.json") == 0
    assert "Tiny model is now My discs." in capsys.readouterr().out
    told = outcome(tmp_path / "r.json")
    assert (told["before"], told["model"]["title"]) == ("Tiny model", "My discs")
    assert sdseg("models") == 0
    assert "tiny                     My discs (finds disc; stripes)" in capsys.readouterr().out
    assert sdseg("models", "check", "my discs") == 0
    assert "more than 80" in refused(capsys, "models", "rename", "tiny", "x" * 81)


def test_one_model_is_checked_without_the_others(
    model: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(model, "good")
    flip_last_byte(installed(fitted, "bad") / UNET)
    assert sdseg("models", "check", "tiny") == 0
    assert says(capsys, "error: ") == []
    assert UNET in refused(capsys, "models", "check", "fitted")


def test_json_may_stand_before_the_action(model: Path, tmp_path: Path) -> None:
    installed(model, "good")
    assert sdseg("models", "--json", tmp_path / "r.json", "info", "tiny") == 0
    assert outcome(tmp_path / "r.json")["model"]["name"] == "tiny"


def test_two_models_of_one_identifier_and_a_damaged_store_are_warnings(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = installed(model, "one"), installed(model, "two")
    text_file(user_data_dir() / "models" / "store.json", "nothing")
    assert sdseg("models", "check", "--json", tmp_path / "r.json") == 0
    lines = says(capsys, "warning: ")
    assert len(lines) == 2
    assert "store.json" in lines[0] and str(one) in lines[1] and str(two) in lines[1]
    assert len(outcome(tmp_path / "r.json")["warnings"]) == 2


def test_a_model_comes_and_goes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdseg("models", "add", model, "--json", tmp_path / "r.json") == 0
    folder = Path(outcome(tmp_path / "r.json")["model"]["folder"])
    assert folder == user_data_dir() / "models" / "tiny" and folder.is_dir()
    assert "is there already" in refused(capsys, "models", "add", model)
    assert sdseg("models", "remove", "tiny", "--json", tmp_path / "r.json") == 0
    assert outcome(tmp_path / "r.json") == {"removed": str(folder)} and not folder.exists()
    assert "no model named tiny" in refused(capsys, "models", "remove", "tiny")


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["rename", "a"], ["remove"], ["add"], ["pull"], ["info"]):
        assert sdseg("models", *words) == 2
        assert f"usage: sdseg models {words[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "info", "check", "rename", "remove", "add", "pull"])
def test_each_action_explains_itself(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sdseg("models", action, "--help") == 0
    assert "--json FILE" in capsys.readouterr().out


def test_pull_from_a_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdseg("models", "pull", model, "--json", tmp_path / "r.json") == 0
    told = outcome(tmp_path / "r.json")
    assert told["model"]["name"] == "tiny" and Path(told["folder"]).is_dir()
    assert "Added Tiny model as tiny" in capsys.readouterr().out


def program(*words: str) -> subprocess.CompletedProcess[str]:
    """The real program; HF_HUB_OFFLINE is set, and this command is the exception."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1,localhost"}
    return subprocess.run(
        [sys.executable, "main.py", "models", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_the_program_pulls_starting_weights_and_says_how_to_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeHub({"config.json": b"{}", "a.safetensors": os.urandom(5000), "b.ckpt": b"b"})
    weights = user_data_dir() / "weights" / "owner--name"
    with serving(fake) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        report = tmp_path / "r.json"
        done = program("pull", REPOSITORY, "--file", "a.safetensors", "--json", str(report))
        gone = program("pull", "owner/other")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str(weights) and "train --init" in done.stdout
    assert (weights / "a.safetensors").read_bytes() == fake.files["a.safetensors"]
    told = outcome(report)
    assert (told["source"], told["revision"], told["model"]) == (REPOSITORY, COMMIT, None)
    assert told["files"] == [{"name": "a.safetensors", "bytes": 5000}]
    assert gone.returncode == 1
    assert gone.stderr.splitlines()[0].startswith("error: owner/other is not on 127.0.0.1")
    closed = program("pull", REPOSITORY, "--revision", "v1")
    assert closed.returncode == 1
    errors = [line for line in closed.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "offline" in errors[0] and "Traceback" not in closed.stderr
