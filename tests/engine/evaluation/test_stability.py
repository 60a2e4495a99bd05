"""Figures of pairs of runs, against plain formulas and loops."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from engine.errors import Cancelled, UserError
from engine.evaluation.lpips import Lpips
from engine.evaluation.metrics import dice
from engine.evaluation.pairs import Pair
from engine.evaluation.scoring import whole_request
from engine.evaluation.squares import square_labels, square_mask, square_score
from engine.evaluation.stability import PairFigures, has_ms_ssim, measure_stability, ssim
from engine.io import open_case
from engine.models.schema import Preprocessing
from engine.sdseg.segmenter import Segmenter
from tests.engine.evaluation.models import save_classes
from tests.engine.evaluation.test_lpips import random_weights
from tests.tiny_model import picture_scan, save_tiny, tiny_info


def maps_of(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth maps in 0..1 that differ a little."""
    random = np.random.default_rng(seed)
    common = gaussian_filter(random.normal(size=(size, size)), 4)
    own = gaussian_filter(random.normal(size=(count, size, size)), (0, 3, 3))
    blobs = common / common.std() + 0.3 * own / own.std()
    return (1 / (1 + np.exp(-3 * blobs))).astype(np.float32)


def figures_of(maps: np.ndarray, lpips: Lpips | None = None) -> PairFigures:
    figures = PairFigures(lpips)
    figures.add(maps)
    return figures


# Maps on the square


def test_a_binary_square_is_split_at_a_half() -> None:
    maps = np.array([[[0.0, 0.5], [0.51, 1.0]]], dtype=np.float32)
    assert square_mask(maps).tolist() == [[0, 0], [1, 1]]
    assert square_score(maps).tolist() == maps[0].tolist()
    assert square_labels(maps, tiny_info(classes={5: "disc"})).tolist() == [[0, 0], [5, 5]]


def test_of_several_classes_the_likeliest_wins() -> None:
    maps = np.array([[[0.4, 0.5]], [[0.3, 0.2]], [[0.3, 0.3]]], dtype=np.float32)
    maps[2, 0, 0] = 0.45
    assert square_labels(maps, tiny_info(classes={1: "rim", 4: "cup"})).tolist() == [[4, 0]]
    assert square_mask(maps).tolist() == [[1, 0]]
    assert square_score(maps)[0].tolist() == pytest.approx([0.6, 0.5])


# Figures of pairs


def test_psnr_dice_and_counts_are_those_of_a_loop() -> None:
    maps = (maps_of(4) > 0.5).astype(np.float32)
    report = figures_of(maps).as_json()
    pairs = [(maps[a], maps[b]) for a, b in combinations(range(4), 2)]
    errors = [float(np.mean((a.astype(float) - b) ** 2)) for a, b in pairs]
    assert report["psnr"] == pytest.approx(np.mean([10 * np.log10(1 / e) for e in errors]))
    assert report["dice"] == pytest.approx(np.mean([dice(a, b) for a, b in pairs]))
    assert report["identical_pairs"] == 0 and report["lpips"] is report["ms_ssim"] is None


def test_psnr_is_what_monai_computes() -> None:
    from monai.metrics.regression import PSNRMetric

    maps = maps_of(2)
    a, b = (torch.from_numpy(m)[None, None] for m in maps)
    theirs = torch.as_tensor(PSNRMetric(max_val=1.0)(a, b))
    assert figures_of(maps).as_json()["psnr"] == pytest.approx(float(theirs), rel=1e-5)


def test_ssim_is_that_of_the_paper_of_wang() -> None:
    a, b = maps_of(2).astype(float)

    def blurred(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, radius=5)[5:-5, 5:-5]  # windows that lie inside

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    score /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    tensors = [torch.from_numpy(x).float()[None] for x in (a, b)]
    assert float(ssim(*tensors)) == pytest.approx(score.mean(), rel=1e-4)


def test_identical_pairs_are_counted_apart_and_left_out_of_psnr_alone() -> None:
    one, other = maps_of(2)
    figures = figures_of(np.stack([one, one, other]))
    mixed, only = figures.as_json(), figures_of(np.stack([one, other])).as_json()
    assert figures.pairs == 3 and mixed["identical_pairs"] == 1
    assert mixed["psnr"] == pytest.approx(only["psnr"])
    for figure in ("ssim", "dice"):
        assert mixed[figure] == pytest.approx((1 + 2 * only[figure]) / 3, rel=1e-5)
    same = figures_of(np.stack([one, one])).as_json()
    assert same["psnr"] is None and same["identical_pairs"] == 1
    assert same["ssim"] == pytest.approx(1.0) and same["dice"] == pytest.approx(1.0)


def test_two_empty_maps_agree() -> None:
    report = figures_of(np.zeros((2, 64, 64), dtype=np.float32)).as_json()
    assert report["dice"] == 1.0 and report["ssim"] == pytest.approx(1.0)


def test_many_runs_are_compared_in_parts_that_lose_nothing() -> None:
    maps = maps_of(9)  # 36 pairs, more than are compared at once
    expected = [figures_of(maps[[a, b]]).as_json() for a, b in combinations(range(9), 2)]
    figures = figures_of(maps)
    assert figures.pairs == 36
    for figure in ("psnr", "ssim", "dice"):
        mean = np.mean([one[figure] for one in expected])
        assert figures.as_json()[figure] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(("size", "there"), [(64, False), (160, False), (192, True)])
def test_ms_ssim_needs_more_than_160_pixels(size: int, there: bool) -> None:
    assert has_ms_ssim(size) is there
    value = figures_of(maps_of(2, size)).as_json()["ms_ssim"]
    if there:
        assert value is not None and 0.3 < value < 0.9999
    else:
        assert value is None


def test_ms_ssim_of_equal_maps_is_one_and_falls_with_noise() -> None:
    clean = maps_of(1, 256)[0]
    noise = np.random.default_rng(5).normal(size=clean.shape).astype(np.float32)
    values = [
        figures_of(np.stack([clean, (clean + s * noise).clip(0, 1)])).as_json()["ms_ssim"]
        for s in (0.0, 0.05, 0.3)
    ]
    assert values[0] == pytest.approx(1.0) and values[0] > values[1] > values[2]


# Whole runs


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter.load(save_tiny(tmp_path_factory.mktemp("models") / "tiny", 2), "cpu")


@pytest.fixture
def cases(tmp_path: Path) -> list[Pair]:
    found = []
    for n, name in enumerate("ab"):
        path = tmp_path / f"{name}.png"
        Image.fromarray(picture_scan(seed=n).array[0]).save(path)
        found.append(Pair(name, path, path))
    return found


def test_every_two_runs_of_every_case_are_compared(segmenter: Segmenter, cases: list[Pair]) -> None:
    steps: list[int] = []
    lpips = Lpips(random_weights())
    found = measure_stability(segmenter, cases, 3, 7, lpips, lambda: steps.append(1))
    assert len(steps) == 2
    assert (found["runs"], found["size"], found["pairs"]) == (3, 64, 6)
    masks, scores = PairFigures(lpips), PairFigures(lpips)
    for case in cases:
        scan = open_case(case.image).scan
        runs = [next(segmenter.squares(whole_request(segmenter, scan, n)))[1] for n in (7, 8, 9)]
        scores.add(np.concatenate(runs))
        masks.add((np.concatenate(runs) > 0.5).astype(np.float32))
    for kind, expected in (("masks", masks), ("scores", scores)):
        assert found[kind] == pytest.approx(expected.as_json())
        assert set(found[kind]) == {"psnr", "ssim", "ms_ssim", "dice", "lpips", "identical_pairs"}
    assert found["masks"] != found["scores"] and found["masks"]["lpips"] > 0
    assert found != measure_stability(segmenter, cases, 3, 0, lpips)


def test_several_classes_are_compared_as_foreground(tmp_path: Path, cases: list[Pair]) -> None:
    model = Segmenter.load(save_classes(tmp_path / "several"), "cpu")
    found = measure_stability(model, cases, 2)
    expected = PairFigures()
    for case in cases:
        scan = open_case(case.image).scan
        runs = [next(model.squares(whole_request(model, scan, n)))[1] for n in (0, 1)]
        expected.add(np.stack([1.0 - maps[0] for maps in runs]))
    assert found["scores"] == pytest.approx(expected.as_json())


def test_at_the_paper_s_size_ms_ssim_is_there(tmp_path: Path, cases: list[Pair]) -> None:
    entry = save_tiny(tmp_path / "large", 2, preprocessing=Preprocessing(size=256))
    found = measure_stability(Segmenter.load(entry, "cpu"), cases[:1], 2)
    assert found["size"] == 256 and 0.0 <= found["masks"]["ms_ssim"] <= 1.0


def test_comparing_stops_when_asked() -> None:
    figures = PairFigures()
    with pytest.raises(Cancelled):
        figures.add(maps_of(9), lambda: figures.pairs > 0)
    assert 0 < figures.pairs < 36


def test_it_stops_when_asked_and_names_a_bad_file(segmenter: Segmenter, cases: list[Pair]) -> None:
    done: list[int] = []
    with pytest.raises(Cancelled):
        measure_stability(
            segmenter, cases, 2, progress=lambda: done.append(1), is_cancelled=lambda: bool(done)
        )
    assert done == [1]
    cases[1].image.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.png"):
        measure_stability(segmenter, cases, 2)
