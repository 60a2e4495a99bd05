"""The authors' Dice and IoU: their own values, also the odd ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.metrics import authors_dice, authors_iou

ROOT = Path(__file__).resolve().parents[3]
OFFICIAL = Path(
    os.environ.get("SDSEG_FIXTURES", ROOT.parent / "shared" / "fixtures" / "sdseg_official")
)
METRICS = OFFICIAL / "metrics.json"


def masks(found: int, there: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Two masks with these counts."""
    answer, truth = np.zeros((2, 4096), dtype=bool)
    answer[:found] = True
    truth[found - overlap : found - overlap + there] = True
    return answer, truth


@pytest.mark.parametrize(
    ("found", "there", "overlap", "dice", "iou"),
    [
        (0, 0, 0, 0.0, 0.0),
        (814, 0, 0, 1.0, 0.0),
        (0, 1013, 0, 0.0, 0.0),
        (10, 10, 10, 20 / (20 + 1e-10), 10 / (10 + 1e-10)),
        (4, 6, 2, 4 / (10 + 1e-10), 2 / (8 + 1e-10)),
    ],
)
def test_the_odd_cases_are_the_authors(
    found: int, there: int, overlap: int, dice: float, iou: float
) -> None:
    pair = masks(found, there, overlap)
    assert authors_dice(*pair) == pytest.approx(dice, abs=1e-15)
    assert authors_iou(*pair) == pytest.approx(iou, abs=1e-15)


def reference() -> list[dict[str, Any]]:
    return json.loads(METRICS.read_text()) if METRICS.is_file() else []


@pytest.mark.skipif(not METRICS.is_file(), reason="no reference fixtures here")
def test_parity_of_the_authors_metrics() -> None:
    assert len(reference()) >= 5
    for row in reference():
        pair = masks(row["pred_pixels"], row["true_pixels"], row["overlap_pixels"])
        assert [int(m.sum()) for m in pair] == [row["pred_pixels"], row["true_pixels"]]
        assert authors_dice(*pair) == pytest.approx(row["dice"], rel=0, abs=1e-12), row["name"]
        assert authors_iou(*pair) == pytest.approx(row["iou"], rel=0, abs=1e-12), row["name"]
