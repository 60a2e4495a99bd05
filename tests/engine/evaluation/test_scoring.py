"""Scores of a model: pairs by stem, whole cases on their own grid, means over targets and cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from engine.domain.targets import Target
from engine.errors import UserError
from engine.evaluation.metrics import dice, iou
from engine.evaluation.scoring import (
    Pair,
    Scores,
    find_pairs,
    read_names,
    score_model,
    segment_whole,
)
from engine.io import open_case
from engine.models.schema import TargetEntry
from engine.sdseg.segmenter import Segmenter
from tests.tiny_model import mr_scan, picture_scan, save_tiny

DISC = Target("disc", (1,))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    targets = tuple(TargetEntry(name=name, class_ids=(1,)) for name in ("disc", "cup"))
    entry = save_tiny(tmp_path_factory.mktemp("models") / "tiny", 2, targets=targets)
    return Segmenter.load(entry, "cpu")


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def pair(folder: Path, name: str, truth: np.ndarray, seed: int = 0) -> Pair:
    picture = picture_scan(*truth.shape[:2], seed=seed).array[0]
    image = save(folder / "images" / f"{name}.png", picture)
    return Pair(name, image, save(folder / "masks" / f"{name}.png", truth))


# Names and pairs


def test_names_stand_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("b\n\na \n  c\n")
    assert read_names(tmp_path / "val.txt") == ["b", "a", "c"]


def test_a_name_may_hold_a_space(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("left eye 1\r\nright eye 2\r\n", encoding="utf-8")
    assert read_names(tmp_path / "val.txt") == ["left eye 1", "right eye 2"]


def test_a_split_without_names_or_without_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(" \n\n")
    with pytest.raises(UserError, match=r"val\.txt lists no cases"):
        read_names(tmp_path / "val.txt")
    with pytest.raises(UserError, match=r"test\.txt can't be read"):
        read_names(tmp_path / "test.txt")


def test_a_split_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00case")
    with pytest.raises(UserError, match=r"binary\.txt"):
        read_names(tmp_path / "binary.txt")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("images/b.jpg", "images/a.x.png", "masks/b.png", "masks/a.x.png", "masks/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(folder: Path, names: list[str] | None, split: str = "") -> list[tuple[str, str, str]]:
    pairs = find_pairs(folder / "images", folder / "masks", names, split)
    return [(p.name, p.image.name, p.mask.name) for p in pairs]


def test_pairs_go_by_stem_whatever_the_ending(folders: Path) -> None:
    expected = [("a.x", "a.x.png", "a.x.png"), ("b", "b.jpg", "b.png")]
    assert found(folders, None) == expected
    assert found(folders, ["b", "a.x"]) == expected[::-1]


def test_a_name_without_picture_or_mask_is_refused_with_the_split_that_names_it(
    folders: Path,
) -> None:
    with pytest.raises(UserError, match=r"val\.txt names c, but images has no file c"):
        found(folders, ["c"], "val.txt")
    (folders / "masks" / "b.png").unlink()
    with pytest.raises(UserError, match="masks has no file b"):
        found(folders, None)
    with pytest.raises(UserError, match="no folder nowhere"):
        find_pairs(folders / "nowhere", folders / "masks", None)


def test_a_note_beside_a_mask_is_not_taken_for_it(folders: Path) -> None:
    (folders / "masks" / "b.txt").touch()
    assert found(folders, ["b"]) == [("b", "b.jpg", "b.png")]


# Whole cases


def test_a_whole_case_is_what_the_segmenter_gives_slice_by_slice(segmenter: Segmenter) -> None:
    scan = mr_scan()
    answer = segment_whole(segmenter, scan, "disc")
    assert answer.dtype == np.bool_ and answer.shape == scan.grid.shape
    assert 0.2 < answer.mean() < 0.8
    assert np.array_equal(answer, segment_whole(segmenter, scan, "disc"))
    assert not np.array_equal(answer, segment_whole(segmenter, scan, "disc", seed=1))


def test_every_target_of_every_case_is_scored(segmenter: Segmenter, tmp_path: Path) -> None:
    truths = [np.zeros((50, 70), np.uint8), np.ones((40, 64), np.uint8)]
    truths[0][10:40, 5:50] = 1
    truths[0][20:30, 10:20] = 2
    pairs = [pair(tmp_path, name, truths[n], n) for n, name in enumerate("ab")]
    targets = {"disc": Target("disc", (1, 2)), "cup": Target("cup", (2,))}
    steps: list[tuple[int, int]] = []
    scores = score_model(segmenter, pairs, targets, lambda done, n: steps.append((done, n)))
    assert steps == [(1, 2), (2, 2)] and list(scores.cases) == ["a", "b"]
    for n, name in enumerate("ab"):
        answer = segment_whole(segmenter, open_case(pairs[n].image).scan, "disc")[0]
        for target in targets.values():
            truth = np.isin(truths[n], target.class_ids)
            expected = {"dice": dice(answer, truth), "iou": iou(answer, truth), "hd95": None}
            assert scores.cases[name][target.name] == expected
    assert scores.cases["b"]["cup"]["dice"] == 0.0  # found something where there is nothing


def test_a_mask_of_another_size_or_in_colour_is_refused_by_name(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    good = pair(tmp_path, "a", np.ones((50, 70), np.uint8))
    turned = save(tmp_path / "turned.png", np.ones((70, 50), np.uint8))
    coloured = save(tmp_path / "coloured.png", picture_scan(50, 70).array[0])
    for mask in (turned, coloured):
        with pytest.raises(UserError, match=f"{mask.name} does not have the size of a.png"):
            score_model(segmenter, [Pair("a", good.image, mask)], {"disc": DISC})


def test_truths_of_other_kinds_of_file_are_read_by_their_values(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    values = np.zeros((12, 10, 4), np.float32)
    values[2:9, 3:8, 1:3] = 1.0
    scan = np.random.default_rng(0).integers(0, 900, values.shape).astype(np.int16)
    affine = np.diag([2.0, 1.0, 3.0, 1.0])
    scores = []
    for kind in (np.float32, np.uint8, np.int16):
        paths = [tmp_path / f"{n}-{np.dtype(kind)}.nii.gz" for n in ("scan", "mask")]
        for path, array in zip(paths, (scan, values.astype(kind)), strict=True):
            nib.save(nib.Nifti1Image(array, affine), path)
        cases = score_model(segmenter, [Pair("v", *paths)], {"disc": DISC}).cases
        scores.append(cases["v"]["disc"])
    assert scores[0] == scores[1] == scores[2] and scores[0]["dice"]


# Means


def figures(dice: float, iou: float) -> dict[str, float | None]:
    return {"dice": dice, "iou": iou, "hd95": None}


@pytest.fixture
def scores() -> Scores:
    return Scores(
        {
            "a": {"disc": figures(0.8, 0.6), "cup": figures(0.4, 0.2)},
            "b": {"disc": figures(1.0, 1.0), "cup": figures(0.0, 0.0)},
            "c": {"disc": figures(0.3, 0.2), "cup": figures(0.5, 0.4)},
        }
    )


def test_means_go_over_targets_and_then_over_cases(scores: Scores) -> None:
    assert scores.mean("dice") == pytest.approx((0.6 + 0.5 + 0.4) / 3)
    assert scores.mean("iou") == pytest.approx((0.4 + 0.5 + 0.3) / 3)


def test_the_json_has_means_targets_and_cases(scores: Scores) -> None:
    report = json.loads(json.dumps(scores.as_json()))
    assert set(report) == {"mean", "targets", "cases"}
    assert report["mean"] == {
        "dice": pytest.approx(0.5),
        "iou": pytest.approx(0.4),
        "hd95": None,
    }
    assert report["targets"]["disc"]["dice"] == pytest.approx(0.7)
    assert report["targets"]["cup"]["iou"] == pytest.approx(0.2)
    assert [row["case"] for row in report["cases"]] == ["a", "b", "c"]
    assert report["cases"][0]["targets"]["cup"] == figures(0.4, 0.2)
