"""What every test needs: no display, no network, no settings of a real user."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["HF_HUB_OFFLINE"] = "1"
# Two test workers on two cores: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SDSEG_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real files for extra tests; skipped where the folder is missing."""
    if not SHARED.is_dir():
        pytest.skip("the folder with shared data is not here")
    return SHARED
