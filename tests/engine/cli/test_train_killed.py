"""A run that was killed goes on, and ends with the bytes of one that never stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.sdseg.folder import file_sha256
from engine.training.checkpoint import read_state
from tests.engine.cli.calls import refused, sdseg
from tests.engine.cli.test_train_cli import draw

ROOT = Path(__file__).resolve().parents[3]
STEPS = 60
MORE = (
    "--steps", STEPS, "--autoencoder-steps", 110, "--pretrain-prior", 2, "--latent-variants", 2,
    "--rotate", 20, "--checkpoint-every", 20, "--val-every", 30,
)  # fmt: skip


def words(folder: Path, output: str, *more: Any) -> list[str]:
    named = (f"@{folder / 'discs.args'}", "--data", folder, "--output", folder / output)
    return [str(word) for word in ("train", *named, "--name", "discs", *MORE, *more)]


def weights(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and the model `whole` made without a stop."""
    folder = draw(tmp_path_factory.mktemp("whole"))
    assert sdseg(*words(folder, "whole")) == 0
    return folder


def killed_at(start: str, command: list[str]) -> list[str]:
    """Runs the program until it prints a line that begins so, then kills it; what it printed."""
    child = subprocess.Popen(
        [sys.executable, "-u", "main.py", *command],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    printed: list[str] = []
    for line in child.stdout:
        printed.append(line)
        if line.startswith(start):
            break
    child.kill()
    child.communicate()
    assert printed[-1].startswith(start), printed
    return printed


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("line", "resumed"),
    [("autoencoder step 100", False), ("encode -> decode", None), ("step 50/", True)],
)
def test_a_run_killed_anywhere_ends_with_equal_bytes(
    whole: Path, capsys: pytest.CaptureFixture[str], line: str, resumed: bool | None
) -> None:
    name = line.split()[0]
    killed_at(line, words(whole, name))
    state = read_state(whole / f"{name}.run")
    assert not (whole / name).exists()
    if resumed is not None:
        assert (state is not None and state["step"] >= 40) == resumed
    capsys.readouterr()
    assert sdseg(*words(whole, name, "--resume")) == 0
    said = capsys.readouterr().out
    assert ("resumed at step" in said) == (state is not None)
    assert ("autoencoder step 100" in said) == (state is None)
    assert len(weights(whole / "whole")) == 4
    assert weights(whole / name) == weights(whole / "whole")
    assert steps_of(whole / f"{name}.run") == steps_of(whole / "whole.run")


def steps_of(run: Path) -> list[str]:
    """Steps and losses of the table, without the time that they took."""
    rows = [row.split(",") for row in (run / "curves.csv").read_text().splitlines()]
    return [",".join([row[0], *row[2:]]) for row in rows]


def test_a_loss_that_is_no_number_leaves_a_state_to_go_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path)
    steps = ("--warmup", 0, "--steps", 30, "--checkpoint-every", 1)
    # The rate grows until the weights are too large to compute with.
    wild = words(tmp_path, "m", *steps, "--base-lr", "1e18", "--pretrain-prior", 0)
    line = refused(capsys, *wild)
    assert "is not a number at step" in line
    state = read_state(tmp_path / "m.run")
    assert state is not None and state["step"] <= state["failed_at"] < 30
    assert "another --base-lr" not in line and not (tmp_path / "m").exists()
    calm = words(tmp_path, "m", *steps, "--base-lr", "1e-4", "--pretrain-prior", 0, "--resume")
    assert "another --mask-weight" in refused(capsys, *calm, "--mask-weight", 2)
    assert sdseg(*calm) == 0
    said = capsys.readouterr().out
    assert f"resumed at step {state['step']}" in said
    card = (tmp_path / "m" / "CARD.md").read_text()
    assert f"From step {state['step']} on --base-lr was 0.0001; before, 1e+18." in card
