"""Models for the command line; each test copies what it changes."""

from pathlib import Path

import pytest

from tests.engine.cli.calls import SEED, fitted_to_stripes
from tests.tiny_model import save_tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose fit was never measured."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", SEED).folder


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows striped colour pictures from others."""
    return fitted_to_stripes(tmp_path_factory.mktemp("models") / "fitted")
