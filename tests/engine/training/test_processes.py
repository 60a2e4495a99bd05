"""Two processes, started by torchrun, train what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.models.store import read_entry, verify
from engine.training.checkpoint import read_state
from tests.engine.cli.test_train_cli import draw
from tests.engine.training import processes_worker
from tests.engine.training.discs import draw_discs

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 600  # seconds, on a machine that does much else


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts two processes; torchrun's own report is among the errors. None outlives the test."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[str]] = []

    def begin(*words: Any) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*command, *map(str, words)],
                cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return started[-1]

    yield begin
    for process in started:
        process.terminate()  # its two processes too, whether it still runs or not
        process.communicate()


def training(folder: Path, *more: Any) -> tuple[Any, ...]:
    words = (f"@{folder / 'discs.args'}", "--data", folder, "--output", folder / "discs")
    return ("main.py", "train", *words, "--val-every", "60", "--checkpoint-every", "60", *more)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], list[str]]:
    """Exit code, lines of the output, `error:` lines."""
    output, errors = process.communicate()
    ours = [line for line in errors.splitlines() if line.startswith("error: ")]
    return process.returncode, output.splitlines(), ours


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_two_processes_have_the_losses_of_one_and_share_their_errors(
    tmp_path: Path, start: Start
) -> None:
    folder = draw_discs(tmp_path / "data")
    (folder / "cut").mkdir()
    for picture in (folder / "images").iterdir():
        (folder / "cut" / picture.name).write_bytes(picture.read_bytes()[:200])
    code, output, errors = ended(start(ROOT / processes_worker.__file__, folder))
    assert (code, errors) == (0, [])
    told = [json.loads((folder / f"told{rank}.json").read_text()) for rank in range(2)]
    alone = processes_worker.losses_of(folder, folder / "one")
    half = processes_worker.losses_of(folder, folder / "half-one", *processes_worker.HALF)
    for one in told:
        assert one["size"] == 2 and len(one["losses"]) == processes_worker.STEPS
        assert one["losses"] == pytest.approx(alone, rel=1e-4)
        assert one["half"] == pytest.approx(half, rel=1e-4)
        assert one["nan"] == "The loss is not a number at step 3."
        assert "case00.png" in one["picture"]
    assert max(alone) > 1.2 * min(alone)
    # Only the second process met a bad picture, and nothing was written.
    assert not (folder / "bad.run").exists()
    state = read_state(folder / "nan.run")
    assert state is not None and (state["step"], state["failed_at"]) == (0, 3)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_a_batch_that_can_t_be_shared_out_is_refused_once(tmp_path: Path, start: Start) -> None:
    code, output, errors = ended(start(*training(draw(tmp_path), "--batch", "3")))
    assert code == 1 and output == []
    assert errors == ["error: A batch of 3 can't be shared out to 2 processes."]
    assert not (tmp_path / "discs.run").exists()


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
def test_ctrl_c_stops_all_and_resuming_ends_with_one_model(tmp_path: Path, start: Start) -> None:
    draw(tmp_path)
    process = start(*training(tmp_path, "--steps", "400"))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 50/"):
            break
    process.send_signal(signal.SIGINT)
    code, output, errors = ended(process)
    assert code == 1 and errors == ["error: Stopped before it was done."]
    state = read_state(tmp_path / "discs.run")
    assert state is not None and 50 <= state["step"] < 400
    assert not (tmp_path / "discs").exists()
    steps = state["step"] + 20
    resumed = start(
        *training(tmp_path, "--steps", steps, "--resume", "--json", tmp_path / "r.json")
    )
    code, output, errors = ended(resumed)
    assert (code, errors) == (0, [])
    assert [x for x in output if x.startswith("resumed")] == [f"resumed at step {state['step']}"]
    assert [x for x in output if x.startswith("wrote")] == [f"wrote {tmp_path / 'discs'}"]
    assert len(output) == len(set(output))  # each line once
    entry = read_entry(tmp_path / "discs")
    assert verify(entry) == [] and entry.info.lineage.steps == steps
    assert json.loads((tmp_path / "r.json").read_text())["steps"] == steps
    rows = (tmp_path / "discs.run" / "curves.csv").read_text().splitlines()[1:]
    seen = [int(row.split(",")[0]) for row in rows]
    assert seen == sorted(set(seen)) and seen[-1] == steps
