"""Means, bootstrap intervals, and what the JSON says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.evaluation.scores import Figures, Scores, interval, mean_of


def figures(dice: float, iou: float, hd95: float | None = None) -> Figures:
    return {"dice": dice, "iou": iou, "hd95": hd95}


@pytest.fixture
def scores() -> Scores:
    return Scores(
        {
            "a": {"disc": figures(0.8, 0.6, 2.0), "cup": figures(0.4, 0.2, 6.0)},
            "b": {"disc": figures(1.0, 1.0, 0.0), "cup": figures(0.0, 0.0, None)},
            "c": {"disc": figures(0.3, 0.2, None), "cup": figures(0.5, 0.4, None)},
        },
        units={"a": "mm", "b": "mm", "c": "mm"},
    )


# Means


def test_means_go_over_targets_and_then_over_cases(scores: Scores) -> None:
    assert scores.mean("dice") == pytest.approx((0.6 + 0.5 + 0.4) / 3)
    assert scores.mean("iou") == pytest.approx((0.4 + 0.5 + 0.3) / 3)


def test_an_undefined_distance_is_left_out_of_means(scores: Scores) -> None:
    assert scores.mean("hd95") == pytest.approx((4.0 + 0.0) / 2)  # c has none at all
    assert mean_of([None, None]) is mean_of([]) is None
    assert mean_of([None, 0.0]) == 0.0


def test_the_json_has_means_targets_and_cases(scores: Scores) -> None:
    report = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert set(report) == {"mean", "targets", "cases", "definition", "unit"}
    assert report["definition"] == "native" and report["unit"] == "mm"
    mean, disc, cup = report["mean"], report["targets"]["disc"], report["targets"]["cup"]
    assert [mean[f] for f in ("dice", "iou", "hd95")] == pytest.approx([0.5, 0.4, 2.0])
    assert [disc[f] for f in ("dice", "iou", "hd95")] == pytest.approx([0.7, 0.6, 1.0])
    assert [cup[f] for f in ("dice", "iou", "hd95")] == pytest.approx([0.3, 0.2, 6.0])
    assert (mean["hd95_undefined"], disc["hd95_undefined"], cup["hd95_undefined"]) == (3, 1, 2)
    assert [row["case"] for row in report["cases"]] == ["a", "b", "c"]
    assert report["cases"][0]["targets"]["cup"] == figures(0.4, 0.2, 6.0)
    for row in (mean, disc, cup):
        assert set(row["interval"]) == {"dice", "iou", "hd95"}
        for figure in ("dice", "iou"):
            low, high = row["interval"][figure]
            assert low < row[figure] < high
    assert cup["interval"]["hd95"] is None  # one value is no sample


def test_distances_that_were_not_measured_are_not_counted_as_undefined(scores: Scores) -> None:
    scores.units.clear()
    report = scores.as_json()
    for row in (report["mean"], *report["targets"].values()):
        assert row["hd95"] is row["hd95_undefined"] is row["interval"]["hd95"] is None
    assert report["unit"] is None


def test_millimetres_and_pixels_have_no_common_mean(scores: Scores) -> None:
    scores.units["b"] = "px"
    report = scores.as_json()
    assert report["unit"] is report["mean"]["hd95"] is report["targets"]["disc"]["hd95"] is None
    assert report["mean"]["hd95_undefined"] == 3
    assert [row["unit"] for row in report["cases"]] == ["mm", "px", "mm"]
    assert report["cases"][1]["targets"]["disc"]["hd95"] == 0.0


# Intervals


def test_the_interval_is_that_of_a_bootstrap_written_as_a_loop() -> None:
    values = list(np.random.default_rng(1).uniform(0.5, 1.0, 25))
    random = np.random.default_rng(99)
    means = sorted(float(np.mean(random.choice(values, len(values)))) for _ in range(10_000))
    low, high = interval(values) or (0.0, 0.0)
    assert low == pytest.approx(means[250], abs=0.004)
    assert high == pytest.approx(means[9750], abs=0.004)
    assert interval(values) == [low, high]


def test_the_interval_shrinks_with_the_number_of_cases() -> None:
    few, many = (interval([0.0, 1.0] * n) or [0.0, 0.0] for n in (4, 100))
    assert few[1] - few[0] > 0.5 and many[1] - many[0] < 0.16
    # 200 coins: 1.96 * 0.5 / sqrt(200) on each side.
    assert many == pytest.approx([0.5 - 0.0693, 0.5 + 0.0693], abs=0.01)


def test_undefined_values_are_passed_over() -> None:
    known = [1.0, 2.0, 4.0, 8.0, 3.0, 5.0] * 5
    without, with_gaps = interval(known), interval([*known, *[None] * 10])
    assert without and with_gaps == pytest.approx(without, abs=0.3)
    assert interval([None, 3.0, 3.0, None]) == [3.0, 3.0]


@pytest.mark.parametrize("values", [[], [0.9], [None, 0.9, None], [None, None]])
def test_fewer_than_two_values_have_no_interval(values: list[float | None]) -> None:
    assert interval(values) is None
