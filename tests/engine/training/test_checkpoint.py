"""A checkpoint is replaced as a whole; its weights and its words never come from two steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import UserError
from engine.sdseg.folder import save_model
from engine.training.checkpoint import (
    clear_drafts,
    load_checkpoint,
    note_failure,
    read_state,
    save_checkpoint,
)
from engine.training.curves import Curves
from tests.engine.training.discs import draw_discs, options, trainer_for
from tests.tiny_model import tiny_info, tiny_network

# Writes checkpoint after checkpoint, each of 16 MB full of its step's number.
WRITER = """
import sys, torch
from pathlib import Path
from engine.training.checkpoint import save_checkpoint
step = int(sys.argv[2])
while True:
    tensors = {f"part{n}": torch.full((1024, 1024), float(step)) for n in range(4)}
    save_checkpoint(Path(sys.argv[1]), tensors, {"step": step, "ema_updates": step})
    print(step, flush=True)
    step += 1
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_one_whole_checkpoint(tmp_path: Path) -> None:
    written = 0
    for delay in (0.0, 0.004, 0.011, 0.023):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(written + 1)],
            text=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        for _ in range(2):
            written = int(child.stdout.readline())
        time.sleep(delay)
        child.kill()
        rest, _ = child.communicate()
        written = int((rest.split() or [written])[-1])
        found = load_checkpoint(tmp_path)
        assert found is not None
        tensors, state = found
        assert state["step"] >= written
        assert {float(t.unique()) for t in tensors.values()} == {float(state["step"])}
        written = state["step"]
    clear_drafts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.safetensors", "checkpoint.json"}


def test_the_state_inside_the_tensors_rules_over_its_copy(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"w": torch.ones(2)}, {"step": 7, "ema_updates": 7, "settings": {}})
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 7
    for text in ('{"step": 3, "ema_updates": 3}', "{damaged", ""):
        (tmp_path / "checkpoint.json").write_text(text)
        state = read_state(tmp_path)
        assert state == {"step": 7, "ema_updates": 7, "settings": {}}
    (tmp_path / "checkpoint.json").unlink()
    assert load_checkpoint(tmp_path) is not None


@pytest.mark.parametrize("how", ["cut", "empty", "foreign", "json"])
def test_a_damaged_checkpoint_is_refused_with_its_name(tmp_path: Path, how: str) -> None:
    save_checkpoint(tmp_path, {"w": torch.ones(200)}, {"step": 7, "ema_updates": 7})
    file = tmp_path / "checkpoint.safetensors"
    if how in ("foreign", "json"):
        inside = {"state": "{damaged"} if how == "json" else None
        save_file({"w": torch.ones(2)}, file, inside)
    else:
        file.write_bytes(file.read_bytes()[:100] if how == "cut" else b"")
    with pytest.raises(UserError, match=r"checkpoint\.\w+ is damaged") as caught:
        load_checkpoint(tmp_path)
    assert "--resume" in caught.value.hint


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a disk without room."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(os.name == "nt", reason="a limit of Unix")
def test_a_full_disk_is_told_in_a_sentence_and_the_last_state_stays(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"w": torch.ones(2000)}, {"step": 7, "ema_updates": 7})
    with (
        small_disk(4096),
        pytest.raises(UserError, match=r"checkpoint\.safetensors can't be saved"),
    ):
        save_checkpoint(tmp_path, {"w": torch.zeros(2000)}, {"step": 8, "ema_updates": 8})
    found = load_checkpoint(tmp_path)
    assert found is not None and found[1]["step"] == 7 and bool(found[0]["w"].all())
    clear_drafts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.safetensors", "checkpoint.json"}


@pytest.mark.skipif(os.name == "nt", reason="a limit of Unix")
def test_curves_and_a_model_that_find_no_room_are_told_in_a_sentence(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "m.run")
    curves.begin(0)
    with small_disk(16), pytest.raises(UserError, match=r"curves\.csv could not be saved"):
        curves.add(20, 1.0, {"loss": 0.5}, None)
    with small_disk(16), pytest.raises(UserError, match=r"new could not be saved"):
        save_model(tmp_path / "new", tiny_network(), tiny_info(), "# New\n")
    assert [p.name for p in tmp_path.iterdir()] == ["m.run"]


def test_a_failure_is_noted_beside_the_last_good_state(tmp_path: Path) -> None:
    assert note_failure(tmp_path, 9) is None and not list(tmp_path.iterdir())
    save_checkpoint(tmp_path, {"w": torch.ones(2)}, {"step": 7, "ema_updates": 7})
    assert note_failure(tmp_path, 9) == 7
    found = load_checkpoint(tmp_path)
    assert found is not None and found[1] == {"step": 7, "ema_updates": 7, "failed_at": 9}
    assert torch.equal(found[0]["w"], torch.ones(2))


def test_weights_that_are_no_numbers_never_replace_a_checkpoint(tmp_path: Path) -> None:
    folder = draw_discs(tmp_path / "data")
    trainer = trainer_for(folder, options(folder, tmp_path / "m"))
    trainer.save()
    trainer.step = 2
    with torch.no_grad():
        trainer.network.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="A weight is not a number at step 2"):
        trainer.save()
    found = load_checkpoint(tmp_path / "m.run")
    assert found is not None and (found[1]["step"], found[1]["failed_at"]) == (0, 2)
