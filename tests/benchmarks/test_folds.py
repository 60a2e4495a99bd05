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


def test_a_fold_of_another_recipe_is_named_and_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folds, "RESULTS", tmp_path)
    monkeypatch.setattr(folds, "RECIPES", tmp_path)
    recipe, split = tmp_path / "ct.args", {"train": ["a"], "val": ["b"], "test": ["c"]}
    recipe.write_text("# CT\n--steps 10 --batch 4\n--notes few\n")
    mark = folds.digest_of(recipe, split)
    (tmp_path / "ct-fold1.json").write_text(json.dumps({"decides": mark}))
    recipe.write_text("# CT slices\n--steps 10\n--batch 4\n--notes many\n")
    folds.run_fold("ct", tmp_path, 1, split, tmp_path / "work")
    assert capsys.readouterr().out == ""
    recipe.write_text("--steps 20 --batch 4\n")
    folds.run_fold("ct", tmp_path, 1, split, tmp_path / "work")
    assert "ct-fold1.json: recipe or lists changed" in capsys.readouterr().out
    assert folds.digest_of(recipe, {**split, "val": ["d"]}) != folds.digest_of(recipe, split)
