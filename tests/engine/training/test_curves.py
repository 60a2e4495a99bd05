"""The table holds each step once, the picture shows it, TensorBoard is there where asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from engine.training.chart import COLOURS, SIZE, draw_chart
from engine.training.curves import Curves, board_writer
from tests.engine.training.discs import draw_discs, options, trainer_for


def steps_of(folder: Path) -> list[int]:
    rows = (folder / "curves.csv").read_text().splitlines()
    assert rows[0] == "step,cpu_minutes,loss,noise,latent,mask,pyramid,val_dice"
    assert all(row.count(",") == 7 for row in rows)
    return [int(row.split(",")[0]) for row in rows[1:]]


def grown(folder: Path, begin: int, steps: range) -> Curves:
    curves = Curves(folder)
    curves.begin(begin)
    for step in steps:
        curves.add(step, step / 100, {"loss": 1 / step, "noise": 0.1}, 0.5 if step == 60 else None)
    return curves


def test_a_resumed_run_writes_no_step_twice(tmp_path: Path) -> None:
    grown(tmp_path, 0, range(20, 101, 20))
    assert steps_of(tmp_path) == [20, 40, 60, 80, 100]
    before = (tmp_path / "curves.csv").read_text()
    grown(tmp_path, 50, range(60, 101, 20))
    assert (tmp_path / "curves.csv").read_text() == before
    grown(tmp_path, 0, range(20, 41, 20))  # a new run in the same folder
    assert steps_of(tmp_path) == [20, 40]


@pytest.mark.parametrize("damage", ["120,1.2,0.5", "120,1.2,0.5,0.1,0.1,,", "\x00\xff,", "12"])
def test_a_row_that_a_crash_cut_off_goes(tmp_path: Path, damage: str) -> None:
    grown(tmp_path, 0, range(20, 61, 20))
    with (tmp_path / "curves.csv").open("a") as stream:
        stream.write(damage)
    grown(tmp_path, 200, range(220, 221))
    assert steps_of(tmp_path) == [20, 40, 60, 220]


def test_the_picture_is_drawn_with_each_score_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    grown(tmp_path, 0, range(20, 41, 20))
    assert not (tmp_path / "curves.png").exists()
    grown(tmp_path, 40, range(60, 61))
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == SIZE and image.mode == "RGB"
        values = np.asarray(image).astype(int)
    for name in ("loss", "noise", "val Dice"):  # all three are there, from step 20 on
        colour = [int(COLOURS[name][n : n + 2], 16) for n in (1, 3, 5)]
        columns = np.flatnonzero((np.abs(values - colour).sum(axis=2) < 40).any(axis=0))
        assert len(columns) > 5, name
    assert not list(tmp_path.glob(".~*"))


def test_lines_lie_where_their_values_are() -> None:
    falling = [(n, 2.0 - n / 50) for n in range(1, 101)]
    image = np.asarray(draw_chart({"mask": falling}, [(50, 0.2), (100, 0.9)])).astype(int)
    green = np.abs(image - [0x00, 0x9E, 0x73]).sum(axis=2) < 60
    at = [np.flatnonzero(green[:340, column]).mean() for column in (150, 450, 800)]
    assert at[0] < at[1] < at[2]  # it falls
    orange = np.abs(image - [0xD5, 0x5E, 0x00]).sum(axis=2) < 60
    low, high = (np.flatnonzero(orange[380:, c]).mean() for c in (455, 830))
    assert low > high + 80 and not orange[:, 100:440].any()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_course_may_be_short_or_empty(count: int) -> None:
    few = [(n + 1, 0.0) for n in range(count)]
    assert draw_chart({"loss": few, "mask": []}, few).size == SIZE


def test_the_trainer_writes_table_picture_and_tensorboard(tmp_path: Path) -> None:
    from dataclasses import replace

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = draw_discs(tmp_path / "data")
    chosen = replace(options(folder, tmp_path / "m"), tensorboard=True, val_every=3)
    trainer_for(folder, chosen).run()
    run = tmp_path / "m.run"
    assert steps_of(run) == [3, 6] and (run / "curves.png").exists()
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["scalars"]) == {
        "train/loss", "train/noise", "train/latent", "train/mask", "val/dice",
    }  # fmt: skip
    last = (run / "curves.csv").read_text().splitlines()[-1].split(",")
    event = board.Scalars("train/loss")[-1]
    assert event.step == 6 and event.value == pytest.approx(float(last[2]))


def test_tensorboard_is_imported_only_when_it_is_asked_for() -> None:
    code = "import sys, engine.training.run; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_package_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="tensorboard is not installed") as caught:
        board_writer()
    assert "pip install" in caught.value.hint
