"""Leave-patients-out: nobody stands on both sides, everybody is tested once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import folds
from engine.models.card import render_card
from engine.models.store import read_entry
from tests.tiny_model import save_tiny

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


def test_the_table_tells_slices_that_show_a_target_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "RESULTS", tmp_path)
    monkeypatch.setattr(folds, "RECIPES", tmp_path)
    recipe = tmp_path / "ct.args"
    recipe.write_text("--target liver=3,4 --target kidney=2\n# --target spleen=9\n--steps 10\n")
    shown = {"a": 3, "b": 4, "c": 2, "d": 0}
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name, value in shown.items():
            pixels = np.full((8, 8), value if folder == "masks" else 90, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")

    def case(name: str, liver: float, kidney: float) -> dict[str, Any]:
        return {"case": name, "targets": {"liver": {"dice": liver}, "kidney": {"dice": kidney}}}

    parts = ([case("a", 0.9, 1), case("c", 1, 0.7)], [case("b", 0.3, 1), case("d", 0, 1)])
    splits = [{"test": [c["case"] for c in cases]} for cases in (*parts, [])]
    for number, (split, cases) in enumerate(zip(splits, parts, strict=False), 1):
        result = {"cases": cases, "decides": folds.digest_of(recipe, split)}
        (tmp_path / f"ct-fold{number}.json").write_text(json.dumps(result))
    stale = {"cases": [case("a", 0, 0)], "decides": "an earlier recipe"}
    (tmp_path / "ct-fold3.json").write_text(json.dumps(stale))
    count, scores = folds.dice_by_target("ct", tmp_path, splits, folds.targets_of(recipe))
    assert count == 2 and list(scores) == ["liver", "kidney"]
    assert scores["liver"].shown == [0.9, 0.3] and scores["liver"].absent == [1, 0]
    assert scores["kidney"].shown == [0.7] and scores["kidney"].absent == [1, 1, 1]
    liver, kidney = folds.table(count, scores)[-2:]
    assert liver.startswith("| liver | 2 | 0.6000 | ") and liver.endswith("| 2 | 1 |")
    assert kidney.startswith("| kidney | 1 | 0.7000 | ") and kidney.endswith("| 3 | 3 |")
    nowhere = folds.table(1, {"spleen": folds.TargetScores(absent=[1, 0])})
    assert nowhere[-1] == "| spleen | 0 | - | - | 2 | 1 |"
    told = folds.figures(count, scores)
    assert told["Dice of liver, leave-patients-out in 2 folds, 2 slices that show it"] == 0.6
    assert told["finds of liver in 2 slices without it, the same folds"] == 0.5


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


def test_figures_are_put_onto_a_card_in_place_of_older_ones(tmp_path: Path) -> None:
    entry = save_tiny(tmp_path / "tiny")
    model = entry.folder
    (model / "CARD.md").write_text(render_card(entry.info, "Only discs."))
    folds.put_onto(model, {"Dice of liver, leave-patients-out in 4 folds, 9 slices": 0.5})
    folds.put_onto(model, {"Dice of liver, leave-patients-out in 5 folds, 11 slices": 0.75})
    now = read_entry(model).info
    assert now.scores == {
        **entry.info.scores, "Dice of liver, leave-patients-out in 5 folds, 11 slices": 0.75
    }  # fmt: skip
    assert now.model_copy(update={"scores": entry.info.scores}) == entry.info
    card = (model / "CARD.md").read_text()
    assert "in 5 folds, 11 slices | 0.7500 |" in card and "4 folds" not in card
    assert card.endswith("## Limits\n\nOnly discs.\n")


def test_figures_of_some_folds_alone_are_not_put_onto_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folds, "RESULTS", tmp_path)
    monkeypatch.setattr(folds, "RECIPES", tmp_path)
    words = ["ct", "--data", str(tmp_path), "--table", "--onto", str(tmp_path / "model")]
    assert folds.main(words) == 1 and "There is no recipe ct." in capsys.readouterr().err
    (tmp_path / "ct.args").write_text("--target liver=3\n")
    assert folds.main(words) == 1 and "train.txt" in capsys.readouterr().err
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name in folds.SPLITS:
        (tmp_path / f"{name}.txt").write_text("\n".join(f"p{n}_1" for n in range(5)))
    assert folds.main(words) == 1 and "0 of 5 folds are done." in capsys.readouterr().err
