"""`finetune` on the command line, and as the child that a window follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.cli.main import main
from engine.io.project import read_project
from engine.models.store import list_models, read_entry, verify
from engine.system.children import child_command
from engine.system.paths import user_data_dir
from tests.engine.training.projects import picture_project
from tests.tiny_model import save_tiny, save_two_class

SHORT = "0.03"  # minutes
PATIENCE_S = 120.0
pytestmark = pytest.mark.timeout(400)


def tiny(folder: Path) -> str:
    save_tiny(folder / "tiny")
    return str(folder / "tiny")


def validation(project: Path) -> list[str]:
    return [case.name for case in read_project(project).cases if case.validation]


def test_a_model_learns_from_a_project(tmp_path: Path, capsys) -> None:
    project, model = picture_project(tmp_path, ["a", "b", "c"]), tiny(tmp_path)
    base, output, outcome = read_entry(Path(model)), tmp_path / "new", tmp_path / "report.json"
    words = ["finetune", str(project), "--model", model, "--minutes", SHORT]
    assert main([*words, "--output", str(output), "--json", str(outcome)]) == 0
    report, entry = json.loads(outcome.read_text()), read_entry(output)
    assert report["model"]["sha256"] == entry.sha256 and verify(entry) == []
    assert report["train_cases"] == 2 and report["val_cases"] == 1 and report["steps"] > 0
    assert entry.info.lineage.parent_sha256 == base.sha256 == read_entry(Path(model)).sha256
    assert entry.info.targets == base.info.targets and entry.info.name == "new"
    assert list(entry.info.scores.values()) == [report["dice"], report["base_dice"]]
    told = (output / "CARD.md").read_text() + entry.info.model_dump_json()
    assert str(tmp_path) not in told and project.name not in told
    frozen = validation(project)
    assert len(frozen) == 1 and f"to check with: {frozen[0]}" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".new", "new"))] == ["new"]


def test_two_classes_join_the_users_models_with_a_name_of_their_own(tmp_path: Path) -> None:
    save_two_class(user_data_dir() / "models" / "two", name="two", title="Rim and cup")
    project = picture_project(tmp_path, ["a", "b"], labels=("rim", "cup"))
    dead, living = (user_data_dir() / "training" / f"{n}-x" for n in (2**22 + 1, os.getpid()))
    for folder in (dead, living):
        folder.mkdir(parents=True)
    for _ in range(2):
        assert main(["finetune", str(project), "--model", "two", "--minutes", SHORT]) == 0
    new = [e for e in list_models()[0] if e.info.lineage.parent_sha256]
    assert len({e.name for e in new}) == len({e.title for e in new}) == 2
    assert all(e.title.startswith("Rim and cup, fine-tuned 20") for e in new)
    assert new[0].info.classes == {2: "rim", 5: "cup"} and new[0].info.class_coding == "channels"
    assert [*dead.parent.iterdir()] == [living], "what a killed run left is gone"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("one case", "only a can be used"),
        ("output", "exists already"),
        ("open", "is open in a window"),
        ("model", "There is no model named"),
    ],
)
def test_what_can_not_be_done_is_said_first(tmp_path: Path, capsys, change, said) -> None:
    project = picture_project(tmp_path, ["a"] if change == "one case" else ["a", "b"])
    model = "nobody" if change == "model" else tiny(tmp_path)
    output = tmp_path / "new"
    if change == "output":
        output.mkdir()
    if change == "open":
        project.with_name(project.name + ".lock").write_text("")
    words = ["finetune", str(project), "--model", model, "--output", str(output)]
    assert main(words) == 1
    assert said in capsys.readouterr().err and validation(project) == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--minutes=0", "more than 0"),
        ("--minutes=20000", "at most 10000"),
        ("--minutes=soon", "'soon' is not a number"),
        ("--seed=-1", "'-1' is less than 0"),
        ("--seed=99999999999999999999", "is more than"),
    ],
)
def test_a_value_out_of_range_is_wrong_usage(tmp_path: Path, capsys, option, said) -> None:
    assert main(["finetune", str(tmp_path), "--model", "m", option]) == 2
    assert said in capsys.readouterr().err


def follow(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that follows a fine-tuning of an hour, as the window does; prints each step."""
    project, model = picture_project(tmp_path, ["a", "b"]), tiny(tmp_path)
    words = ["finetune", str(project), "--news", "--model", model, "--minutes", "60"]
    code = (
        "from engine.system.following import follow_child\n"
        f"follow_child({words!r}, lambda m: print(m['step'], flush=True), lambda: False, 'It')"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)


def wait_for_step(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert next(line for line in process.stdout if int(line) > 0)


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = follow(tmp_path)
    wait_for_step(parent)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    child.wait(PATIENCE_S)  # psutil.TimeoutExpired fails the test
    parent.communicate()
    for name in ("training", "models"):
        assert not any((user_data_dir() / name).iterdir())


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_control_c_leaves_nothing_behind(tmp_path: Path) -> None:
    project, model = picture_project(tmp_path, ["a", "b"]), tiny(tmp_path)
    output = tmp_path / "new"
    words = ["finetune", str(project), "--model", model, "--output", str(output)]
    process = subprocess.Popen(
        child_command(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert next(line for line in process.stdout if line.startswith("training"))
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and said == "error: Stopped before it was done.\n"
    assert not output.exists() and not any((user_data_dir() / "training").iterdir())
