"""Scores of a model: pairs by stem, whole cases on their own grid, means over targets and cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.targets import Target
from engine.domain.volume import Volume
from engine.errors import Cancelled, UserError
from engine.evaluation.metrics import dice, hd95, iou
from engine.evaluation.pairs import Pair, find_pairs, read_names
from engine.evaluation.scoring import (
    Comparison,
    score_model,
    segment_whole,
    target_mask,
    whole_request,
)
from engine.evaluation.squares import truth_in_square
from engine.io import open_case
from engine.models.schema import Preprocessing, TargetEntry
from engine.sdseg.preprocess import prepare
from engine.sdseg.segmenter import Segmenter
from tests.engine.evaluation.models import save_classes
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
    answer = segment_whole(segmenter, scan)
    assert answer.dtype == np.uint8 and answer.shape == scan.grid.shape
    assert set(np.unique(answer)) == {0, 1} and 0.2 < answer.mean() < 0.8
    for proposal in segmenter.segment(whole_request(segmenter, scan, 0)):
        assert np.array_equal(answer[proposal.index], proposal.labels)
    assert np.array_equal(answer, segment_whole(segmenter, scan))
    assert not np.array_equal(answer, segment_whole(segmenter, scan, seed=1))


def asked_for(segmenter: Segmenter, scan: Volume, name: str) -> np.ndarray:
    """The answer to a request for one target."""
    request = replace(whole_request(segmenter, scan, 0), target=name)
    answer = np.zeros(scan.grid.shape, dtype=bool)
    for proposal in segmenter.segment(request):
        answer[(slice(None),) * request.axis + (proposal.index,)] = proposal.labels > 0
    return answer


@pytest.mark.parametrize("plane", ["scan", "axial"])
def test_one_answer_of_class_ids_holds_that_of_every_target(tmp_path: Path, plane: str) -> None:
    several = Segmenter.load(save_classes(tmp_path / "several", plane=plane), "cpu")
    scan = mr_scan()
    classes = segment_whole(several, scan)
    assert len(np.unique(classes)) > 1
    for name in ("disc", "cup", "vessel"):
        expected = asked_for(several, scan, name)
        assert np.array_equal(target_mask(several, name, classes), expected)


def test_a_binary_model_finds_its_target_whatever_id_that_has_in_the_truths(
    tmp_path: Path,
) -> None:
    cup = (TargetEntry(name="cup", class_ids=(2,)),)  # as `train --target cup=2` writes it
    model = Segmenter.load(save_tiny(tmp_path / "m", 2, classes={1: "cup"}, targets=cup), "cpu")
    scan = mr_scan()
    expected = asked_for(model, scan, "cup")
    assert expected.any()
    assert np.array_equal(target_mask(model, "cup", segment_whole(model, scan)), expected)


class Counting(Segmenter):
    """Remembers what it was asked."""

    def segment(self, request: SegmentRequest, *words: Any, **more: Any) -> Iterator[Proposal]:
        self.asked = [*getattr(self, "asked", []), request.target]
        return super().segment(request, *words, **more)


def test_each_case_is_segmented_once_however_many_targets_it_has(tmp_path: Path) -> None:
    model = Counting(save_classes(tmp_path / "several"), "cpu")
    truth = np.zeros((50, 70), np.uint8)
    targets = {t.name: Target(t.name, t.class_ids) for t in model.info.targets}
    cases = [pair(tmp_path, name, truth) for name in "ab"]
    scores = score_model(model, cases, targets)
    assert [len(found) for found in scores.cases.values()] == [3, 3]
    assert model.asked == ["", ""]


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
        answer = segment_whole(segmenter, open_case(pairs[n].image).scan)[0]
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


def test_values_that_are_no_class_id_are_background(segmenter: Segmenter, tmp_path: Path) -> None:
    truth = np.full((12, 10, 4), 257, np.int16)  # as a byte it would be 1
    truth[:, :5] = -255
    truth[3:9, 3:8, 1:3] = 1
    clean = np.where(truth == 1, 1, 0).astype(np.int16)
    scan = np.random.default_rng(0).integers(0, 900, truth.shape).astype(np.int16)
    for name, array in (("scan", scan), ("truth", truth), ("clean", clean)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii")
    found = []
    for name in ("truth", "clean"):
        case = Pair("v", tmp_path / "scan.nii", tmp_path / f"{name}.nii")
        found.append(score_model(segmenter, [case], {"disc": DISC}).cases["v"])
    assert found[0] == found[1]


# Distances


def test_distances_are_in_millimetres_where_the_scan_is_calibrated(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    values = np.zeros((12, 10, 4), np.uint8)
    values[2:9, 3:8, 1:3] = 1
    scan = np.random.default_rng(0).integers(0, 900, values.shape).astype(np.int16)
    paths = [tmp_path / f"{n}.nii.gz" for n in ("scan", "mask")]
    for path, array in zip(paths, (scan, values), strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 1.0, 3.0, 1.0])), path)
    case = Pair("v", *paths)
    scores = score_model(segmenter, [case], {"disc": DISC}, comparison=Comparison(distances=True))
    opened = open_case(case.image).scan
    answer = segment_whole(segmenter, opened)
    truth = open_case(case.mask).scan.array
    assert opened.grid.spacing == (3.0, 1.0, 2.0) and scores.unit == "mm"
    expected = hd95(answer, truth, (3.0, 1.0, 2.0))
    assert scores.cases["v"]["disc"]["hd95"] == expected != hd95(answer, truth)


def test_distances_are_in_pixels_in_a_plain_picture(segmenter: Segmenter, tmp_path: Path) -> None:
    truth = np.zeros((50, 70), np.uint8)
    truth[10:40, 5:50] = 1
    cases = [pair(tmp_path, "a", truth), pair(tmp_path, "b", np.zeros((50, 70), np.uint8), 1)]
    scores = score_model(segmenter, cases, {"disc": DISC}, comparison=Comparison(distances=True))
    answer = segment_whole(segmenter, open_case(cases[0].image).scan)[0]
    assert scores.unit == "px"
    assert scores.cases["a"]["disc"]["hd95"] == hd95(answer, truth)
    assert scores.cases["b"]["disc"]["hd95"] is None


# Stopping, and files that are wrong


def test_it_stops_when_asked(segmenter: Segmenter, tmp_path: Path) -> None:
    cases = [pair(tmp_path, n, np.ones((50, 70), np.uint8)) for n in "ab"]
    done: list[int] = []
    with pytest.raises(Cancelled):
        score_model(
            segmenter,
            cases,
            {"disc": DISC},
            lambda n, _: done.append(n),
            is_cancelled=lambda: bool(done),
        )
    assert done == [1]


def test_an_error_amid_the_work_names_the_case(segmenter: Segmenter, tmp_path: Path) -> None:
    case = pair(tmp_path, "a", np.ones((50, 70), np.uint8))
    with pytest.raises(UserError, match=r"a\.png: .*'cup size'"):
        score_model(segmenter, [case], {"cup size": DISC})


# The authors' definition


def test_the_authors_definition_is_measured_at_the_network_s_size(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    truth = np.zeros((50, 70), np.uint8)
    truth[10:40, 5:50] = 1
    cases = [pair(tmp_path, "a", truth), pair(tmp_path, "b", np.zeros((50, 70), np.uint8), 1)]
    how = Comparison(authors=True, distances=True)
    scores = score_model(segmenter, cases, {"disc": DISC}, comparison=how)
    request = whole_request(segmenter, open_case(cases[0].image).scan, 0)
    answer = next(segmenter.squares(request))[1][0] > 0.5
    there = np.asarray(Image.fromarray(truth).resize((64, 64), Image.Resampling.NEAREST)) > 0
    found = scores.cases["a"]["disc"]
    assert found["dice"] == pytest.approx(dice(answer, there), abs=1e-9)
    assert found["iou"] == pytest.approx(iou(answer, there), abs=1e-9)
    assert scores.cases["b"]["disc"] == {"dice": 1.0, "iou": 0.0, "hd95": None}
    report = scores.as_json()
    assert report["definition"] == "authors" and report["unit"] is None
    assert report["mean"]["hd95"] is report["mean"]["hd95_undefined"] is None


@pytest.mark.parametrize("how", ["squeeze", "pad"])
@pytest.mark.parametrize("layout", ["shown", "file"])
def test_a_truth_lies_in_the_square_where_the_network_sees_its_picture(
    how: Any, layout: Any, tmp_path: Path
) -> None:
    """A bright block in the scan and the same block in the truth end at the same pixels."""
    block = np.zeros((40, 26, 3), np.int16)
    block[6:30, 4:11, :] = 1000
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(block, np.diag([2.0, 1.0, 3.0, 1.0])), path)
    scan = open_case(path).scan
    rules = Preprocessing(size=64, fit=how, layout=layout, intensity="window", window=(500, 1000))
    truth = (scan.array[1] > 0).astype(np.uint8)
    whole = (slice(None), slice(None))
    shown, _ = prepare(scan, 1, whole, rules, (0.0, 1000.0), 0)
    found = truth_in_square(truth, scan, 0, rules)
    assert found.shape == (64, 64) and set(np.unique(found)) == {0, 1}
    assert (found != (shown[0] > 0.0)).mean() < 0.03  # a pixel of the outline may differ


def test_a_volume_is_one_volume_for_the_authors_definition(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[2:9, 3:8, 1] = 1
    scan = np.random.default_rng(0).integers(0, 900, truth.shape).astype(np.int16)
    for name, array in (("scan", scan), ("truth", truth)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii")
    case = Pair("v", tmp_path / "scan.nii", tmp_path / "truth.nii")
    scores = score_model(segmenter, [case], {"disc": DISC}, comparison=Comparison(authors=True))
    opened, rules = open_case(case.image).scan, segmenter.info.preprocessing
    there = open_case(case.mask).scan.array
    request = whole_request(segmenter, opened, 0)
    answers = np.stack([maps[0] > 0.5 for _, maps in segmenter.squares(request)])
    truths = np.stack([truth_in_square(there[n], opened, 0, rules) for n in range(4)])
    assert scores.cases["v"]["disc"]["dice"] == pytest.approx(dice(answers, truths), abs=1e-9)
