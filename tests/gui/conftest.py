"""The real window, with a real (tiny) model in the user's own models folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from engine.system.paths import user_data_dir
from sdseg_gui.app import create_window
from sdseg_gui.window import MainWindow
from tests.tiny_model import save_tiny

PATIENCE_MS = 60_000


def discard(window: MainWindow) -> None:
    """Closes without a question: pytest-qt closes windows before fixtures are torn down."""
    window.shutdown(discard=True)


@pytest.fixture
def tiny_model() -> str:
    """Name of a model that was never measured for fit, so it must be named to be used."""
    save_tiny(user_data_dir() / "models" / "tiny")
    return "tiny"


@pytest.fixture
def window(qtbot: QtBot, tiny_model: str) -> MainWindow:
    made = create_window()
    qtbot.addWidget(made, before_close_func=discard)
    return made


@pytest.fixture
def idle(qtbot: QtBot) -> Callable[[MainWindow], None]:
    """Waits until nothing is loaded, written or computed any more."""

    def wait(window: MainWindow) -> None:
        qtbot.waitUntil(lambda: not window.is_busy, timeout=PATIENCE_MS)
        time.sleep(0)
        qtbot.wait(1)

    return wait


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three small grey pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 256, (60, 80)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"picture{number}.png")
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A NIfTI volume of 12 slices."""
    values = np.random.default_rng(5).integers(0, 900, (30, 40, 12)).astype(np.int16)
    path = tmp_path / "brain.nii.gz"
    nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(path)
    return path
