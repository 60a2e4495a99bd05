"""The program as a process of its own: what a person types, what comes out, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from engine.system.resources import resource_path
from sdseg_gui.commands import COMMANDS
from tests.engine.cli.calls import (
    SEED,
    fitted_to_stripes,
    picture,
    pixels,
    stripes,
    text_file,
    volume,
)
from tests.engine.io.phantoms import Series, sha256_of
from tests.tiny_model import save_tiny

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, str(ROOT / "main.py")]
PATIENCE_S = 90.0
ENDS_WITHIN_S = 30.0  # a thread that is just importing torch can't be stopped
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, no real display, one thread."""
    home = tmp_path / "home"
    home.mkdir()
    mine = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return mine | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "SDSEG_HOME": str(home / "sdseg"),
        "QT_QPA_PLATFORM": "offscreen",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program to its end; there is never a traceback."""

    def call(*words: Any, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
        settings = {k: v for k, v in (environment | more).items() if v}
        command = [*PROGRAM, *map(str, words)]
        done = subprocess.run(
            command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    return call


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the program and gives it back running; nothing stays behind after the test."""
    started: list[subprocess.Popen[str]] = []

    def launch(*words: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits while the process lives."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def listens_to_sigterm(process: subprocess.Popen[str]) -> bool:
    """True once the program has put its own handler in place."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


# Commands


def test_commands_are_printed_at_once_and_without_qt(environment: dict[str, str]) -> None:
    command = [sys.executable, "-X", "importtime", "main.py", "commands"]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert time.monotonic() - began < 3
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [c.id for c in COMMANDS]
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines(done.stderr, "import")}
    assert "sdseg_gui" in loaded
    assert loaded & {"PySide6", "torch", "numpy", "pyqtgraph", "diffusers"} == set()


def test_commands_as_json(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("commands", "--json", tmp_path / "c.json").returncode == 0
    rows = json.loads((tmp_path / "c.json").read_text())
    assert [row["id"] for row in rows] == [c.id for c in COMMANDS]
    assert all(row["title"] and "&" not in row["title"] for row in rows)
    assert {"id": "edit.undo", "title": "Undo", "keys": ["Ctrl+Z"], "menu": "Edit"} in rows


@pytest.mark.parametrize(("word", "said"), [("--version", "sdseg 0."), ("commands", "edit.undo")])
def test_small_questions_are_answered(run: Callable[..., Any], word: str, said: str) -> None:
    done = run(word)
    assert done.returncode == 0 and said in done.stdout and done.stderr == ""


def test_a_word_that_is_no_option_is_named(run: Callable[..., Any]) -> None:
    done = run("--bogus")
    assert done.returncode == 2 and "'--bogus' is not understood" in done.stderr


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_names_every_command(run: Callable[..., Any], word: str) -> None:
    done = run(word)
    assert done.returncode == 0 and done.stderr == ""
    for name in ("segment", "train", "evaluate", "models", "info", "commands"):
        assert name in done.stdout
    assert "Research use only" in done.stdout


def test_help_of_a_command(run: Callable[..., Any]) -> None:
    done = run("segment", "--help")
    assert done.returncode == 0
    for option in ("--output", "--model", "--roi", "--slices", "--plane", "--seed", "--json"):
        assert option in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--nonsense",),
        ("commands", "--nonsense"),
        ("segment", "--nonsense"),
        ("segment",),
        ("a.png", "b.png"),
    ],
)
def test_wrong_usage_ends_with_2_and_shows_the_right_one(
    run: Callable[..., Any], words: tuple[str, ...]
) -> None:
    done = run(*words)
    assert done.returncode == 2 and "usage: sdseg" in done.stderr


def test_a_path_that_is_not_there_is_said_in_one_line_and_a_hint(run: Callable[..., Any]) -> None:
    done = run("nowhere/eye.png")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ") and "nowhere/eye.png" in error and hint.startswith("hint: ")


# Segmenting


def test_segment_writes_mask_manifest_and_json(run: Callable[..., Any], tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny", SEED).folder
    source = picture(tmp_path / "eye.png")
    before = sha256_of(source)
    words = ("--model", model, "--output", tmp_path / "m.png", "--json", tmp_path / "r.json")
    done = run("segment", source, *words)
    assert done.returncode == 0 and done.stderr == ""
    assert set(np.unique(pixels(tmp_path / "m.png"))) == {0, 1}
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["outputs"] == [str(tmp_path / "m.png")] and report["model"]["name"] == "tiny"
    assert (tmp_path / "m.manifest.json").is_file() and sha256_of(source) == before


def test_without_a_display_a_path_is_segmented(
    run: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    fitted_to_stripes(Path(environment["SDSEG_HOME"]) / "models" / "fitted")
    source = picture(tmp_path / "eye.png", stripes(99))
    done = run(source, cwd=tmp_path, QT_QPA_PLATFORM="")
    assert done.returncode == 0, done.stderr
    assert "no display" in done.stdout
    assert pixels(tmp_path / "sdseg-masks" / "eye.png").shape == (64, 64)
    assert (tmp_path / "sdseg-masks" / "eye.overlay.png").is_file()


def test_the_demo_finds_something_in_the_built_in_picture(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    try:
        models = sorted(resource_path("models").iterdir())
    except UserError:
        models = []
    if not models:
        pytest.skip("this checkout has no built-in models under resources/models yet")
    words = ("--json", tmp_path / "r.json")
    done = run("segment", "--demo", "--output", tmp_path / "demo", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    mask = pixels(Path(report["outputs"][0]))
    assert report["cases"][0]["fit"]["fits"] and report["cases"][0]["found"]
    assert 0.002 < (mask > 0).mean() < 0.2
    assert len(list((tmp_path / "demo").glob("*.overlay.png"))) == 1


def test_ctrl_c_stops_in_order_and_leaves_only_whole_files(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    model = save_tiny(tmp_path / "tiny", SEED).folder
    (tmp_path / "in").mkdir()
    for n in range(400):
        Image.fromarray(np.full((9, 9), n % 256, np.uint8)).save(tmp_path / "in" / f"{n:03d}.png")
    out = tmp_path / "out"
    process = start("segment", tmp_path / "in", "--model", model, "--output", out)
    wait_for(lambda: (out / "003.png").exists(), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 1 and "Traceback" not in errors
    assert lines(errors, "error: ") == ["error: Stopped before it was done."]
    masks = sorted(out.glob("*.png"))
    assert 4 <= len(masks) < 400
    assert all(pixels(mask).shape == (9, 9) for mask in masks)
    assert [p.name for p in out.iterdir() if p.name.startswith(".~")] == []


# The window


def slices_of(tmp_path: Path) -> Path:
    values = np.random.default_rng(3).integers(0, 900, (4, 20, 24)).astype(np.int16)
    return Series(values).write(tmp_path / "Canary Cuthbert")


SOURCES: dict[str, Callable[[Path], Path]] = {
    "picture": lambda folder: picture(folder / "eye.png"),
    "volume": lambda folder: volume(folder / "head.nii.gz"),
    "dicom": slices_of,
    "damaged": lambda folder: text_file(folder / "scan.nii.gz"),
}


@linux_only
@pytest.mark.parametrize("kind", SOURCES)
def test_the_window_lives_until_it_is_asked_to_end(
    start: Callable[..., subprocess.Popen[str]],
    environment: dict[str, str],
    tmp_path: Path,
    kind: str,
) -> None:
    source = SOURCES[kind](tmp_path)
    before = sha256_of(source)
    process = start(source)
    wait_for(lambda: listens_to_sigterm(process), process)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0
    assert "Traceback" not in errors and "QThread" not in errors
    assert sha256_of(source) == before
    kept = [p for p in Path(environment["HOME"]).rglob("*") if p.is_file()]
    logs = [p.read_text() for p in kept if p.suffix == ".log"]
    assert len(logs) == 1 and "started" in logs[0] and "ERROR" not in logs[0]
    for file in kept:
        assert b"canary" not in (file.name.encode() + file.read_bytes()).lower(), file


@linux_only
def test_ctrl_c_in_the_terminal_closes_the_window(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("--demo")
    wait_for(lambda: listens_to_sigterm(process), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0 and "Traceback" not in errors


STUCK = """
import sys, time
from PySide6.QtCore import QTimer
from sdseg_gui import app, jobs

jobs.STOP_DEADLINE_MS = 200
create = app.create_window

def create_window(path):
    window = create(path)
    window.loader.submit("Stuck", lambda job: time.sleep(60))
    QTimer.singleShot(500, window.close)
    return window

app.create_window = create_window
sys.exit(app.run_window())
"""


def test_a_worker_that_can_t_be_stopped_does_not_abort_the_program(environment) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STUCK], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Destroyed while thread" not in done.stderr
    assert time.monotonic() - began < 55.0
