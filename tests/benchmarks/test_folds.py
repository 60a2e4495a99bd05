"""Leave-patients-out: nobody stands on both sides, everybody is tested once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import folds

patients = st.lists(st.integers(1, 6), min_size=5, max_size=12)  # slices of each


@given(counts=patients, count=st.integers(2, 5))
def test_no_patient_is_on_two_sides_and_each_is_tested_once(counts: list[int], count: int) -> None:
    stems = [f"ct_p{p:02}_{s}" for p, slices in enumerate(counts) for s in range(slices)]
    found = folds.folds_of(stems, count)
    assert len(found) == count
    for split in found:
        sides = [{folds.patient_of(stem) for stem in split[name]} for name in folds.SPLITS]
        assert sum(len(side) for side in sides) == len(set.union(*sides)) == len(counts)
        assert sorted(stem for side in split.values() for stem in side) == sorted(stems)
    tested = [stem for split in found for stem in split["test"]]
    assert sorted(tested) == sorted(stems)


def test_the_table_takes_the_cases_of_all_folds_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "RESULTS", tmp_path)
    for number, values in enumerate(([0.9, 0.8], [0.1]), 1):
        cases = [{"targets": {"liver": {"dice": value}}} for value in values]
        (tmp_path / f"ct-fold{number}.json").write_text(json.dumps({"cases": cases}))
    (tmp_path / "other-fold1.json").write_text(json.dumps({"cases": [{"targets": {}}]}))
    count, rows = folds.dice_by_target("ct")
    assert count == 2 and rows == {"liver": [0.9, 0.8, 0.1]}
    last = folds.table(count, rows)[-1]
    assert last.startswith("| liver | 3 | 0.6000 | ")
