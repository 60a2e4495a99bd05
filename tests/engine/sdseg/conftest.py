"""A tiny network in a model folder, and a segmenter with it."""

from __future__ import annotations

import pytest

from engine.models.store import ModelEntry
from engine.sdseg.segmenter import Segmenter
from tests.tiny_model import save_tiny


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def segmenter(entry: ModelEntry) -> Segmenter:
    return Segmenter.load(entry, device="cpu")
