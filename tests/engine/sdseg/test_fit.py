"""Whether a model fits a picture: measured with the real trunk on pictures that the test draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.grid import picture_grid
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.models.store import ModelEntry
from engine.sdseg.choose import choose_model
from engine.sdseg.fit import CASES_FOR_DOUBLE, cloud_of, describe, fit_features, fit_statistic
from engine.sdseg.fit_check import check_fit, spread
from engine.sdseg.segmenter import Segmenter
from tests.tiny_model import mr_scan, save_fitted_tiny, save_tiny

SIZE = 64
Drawing = Callable[[np.random.Generator], np.ndarray]


def stripes(random: np.random.Generator) -> np.ndarray:
    """Slanted waves, uint8 [S, S, 3]."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    phase, pitch = random.uniform(0, 6), random.uniform(25, 40)
    wave = np.sin((x + random.uniform(0.2, 0.8) * y) * pitch + phase)
    return paint(wave, random)


def blobs(random: np.random.Generator) -> np.ndarray:
    """A few soft discs, uint8 [S, S, 3]."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    field = -np.ones((SIZE, SIZE))
    for _ in range(5):
        (cy, cx), radius = random.uniform(0.1, 0.9, 2), random.uniform(0.05, 0.15)
        field = np.maximum(field, 1 - 2 * ((y - cy) ** 2 + (x - cx) ** 2) / radius**2)
    return paint(field, random)


def paint(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    grey = (values.clip(-1, 1) + 1) * 100 + random.normal(0, 5, values.shape) + 25
    tint = np.array([1.0, 0.75, 0.6]) * random.uniform(0.85, 1.0, 3)
    return (grey[:, :, None] * tint).clip(0, 255).astype(np.uint8)


def drawn(kind: Drawing, count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([kind(random) for _ in range(count)])


def as_pictures(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def scan_of(values: np.ndarray) -> Volume:
    return Volume(values[None], picture_grid(*values.shape[:2]), modality="picture")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelEntry]:
    root = tmp_path_factory.mktemp("models")
    found = {}
    for kind in (stripes, blobs):
        pictures = as_pictures(drawn(kind, 60, seed=1))
        name = kind.__name__
        found[name] = save_fitted_tiny(root / name, pictures, name=name, colour=True, kind=name)
    return found


def test_a_model_knows_its_own_kind_from_another(models: dict[str, ModelEntry]) -> None:
    for own, other in ((stripes, blobs), (blobs, stripes)):
        entry = models[own.__name__]
        accepted = [check_fit(entry, scan_of(x)).fits for x in drawn(own, 12, seed=5)]
        refused = [not check_fit(entry, scan_of(x)).fits for x in drawn(other, 12, seed=6)]
        assert sum(accepted) >= 11 and sum(refused) >= 11


def test_the_answer_says_how_far_and_why(models: dict[str, ModelEntry]) -> None:
    near = check_fit(models["stripes"], scan_of(drawn(stripes, 1, seed=7)[0]))
    assert near.fits and near.reason == ""
    assert near.distance is not None and near.threshold is not None
    far = check_fit(models["stripes"], scan_of(drawn(blobs, 1, seed=7)[0]))
    assert not far.fits and "stripes" in far.reason
    assert far.distance is not None and far.distance > near.threshold > near.distance


def test_the_model_that_fits_is_chosen_and_no_other_is_loaded(
    models: dict[str, ModelEntry], tmp_path: Path
) -> None:
    loaded: list[str] = []

    def load(entry: ModelEntry) -> Segmenter:
        loaded.append(entry.name)
        return Segmenter.load(entry)

    unmeasured = save_tiny(tmp_path / "unmeasured", name="unmeasured")
    entries = [*models.values(), unmeasured]
    chosen, results = choose_model(scan_of(drawn(blobs, 1, seed=8)[0]), None, entries, load)
    assert chosen is not None and chosen.entry.name == "blobs" and loaded == ["blobs"]
    assert not results["stripes"].fits and "never measured" in results["unmeasured"].reason
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    nothing, _ = choose_model(scan_of(noise), None, entries, load)
    assert nothing is None


def test_modality_and_colour_speak_first(models: dict[str, ModelEntry]) -> None:
    entry = models["stripes"]
    assert "MR" in check_fit(entry, mr_scan()).reason
    grey = drawn(stripes, 1, seed=9)[0][:, :, :1].repeat(3, axis=2)
    assert "colour" in check_fit(entry, scan_of(grey)).reason


def test_a_volume_is_judged_by_the_middle_of_several_slices(tmp_path: Path) -> None:
    pictures = as_pictures(drawn(stripes, 60, seed=1).mean(axis=3, keepdims=True).repeat(3, 3))
    entry = save_fitted_tiny(tmp_path / "mr", pictures, ("MR",), kind="stripes")
    good = drawn(stripes, 7, seed=2).mean(axis=3).astype(np.uint8)
    odd = drawn(blobs, 7, seed=3).mean(axis=3).astype(np.uint8)
    grid = replace(picture_grid(SIZE, SIZE), shape=(7, SIZE, SIZE))

    def fits(*slices: np.ndarray, **changes: object) -> bool:
        scan = replace(Volume(np.stack(slices), grid, modality="MR"), **changes)
        return check_fit(entry, scan).fits

    assert fits(*good) and not fits(*odd)
    assert fits(*good[:5], *odd[5:])
    assert not fits(*good[:1], *odd[1:])
    flags = np.array([True, True, True, False, False, False, False])
    assert fits(*good[:3], *odd[3:], loaded=flags)


def test_a_changed_statistic_is_refused(tmp_path: Path) -> None:
    entry = save_fitted_tiny(tmp_path / "m", as_pictures(drawn(stripes, 16, seed=1)))
    file = entry.folder / "fit.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"fit\.safetensors"):
        check_fit(entry, scan_of(drawn(stripes, 1, seed=1)[0]))


def test_features_do_not_depend_on_the_neighbours() -> None:
    pictures = as_pictures(drawn(stripes, 3, seed=1))
    together = fit_features(pictures)
    assert together.shape == (3, 112 + 320)
    for n in range(3):
        assert torch.equal(fit_features(pictures[n : n + 1])[0], together[n])


def test_fewer_cases_give_a_wider_threshold() -> None:
    random = torch.Generator().manual_seed(0)
    train, unseen = (torch.randn(n, 40, generator=random) for n in (200, 100))
    few, many = (fit_statistic(train, unseen, n)[1] for n in (30, 3000))
    rejected = describe(train).distance(unseen) > many
    few_gives, many_gives = 1 + CASES_FOR_DOUBLE / 30, 1 + CASES_FOR_DOUBLE / 3000
    assert few == pytest.approx(many * few_gives / many_gives) and int(rejected.sum()) <= 1
    assert float(describe(train).distance(torch.randn(1, 40, generator=random) * 5)) > few


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 40),
    size=st.integers(1, 30),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_a_cloud_survives_saving_and_ignores_the_unit(
    count: int, size: int, scale: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, size, generator=random)
    cloud = describe(features)
    asked = torch.randn(5, size, generator=random)
    distances = cloud.distance(asked)
    assert bool(torch.isfinite(distances).all()) and bool((distances >= 0).all())
    assert torch.equal(cloud_of(cloud.tensors()).distance(asked), distances)


def test_slices_to_look_at_are_spread_out() -> None:
    assert spread(range(3), 5) == [0, 1, 2]
    few = spread(range(100), 5)
    assert few == sorted(few) and len(few) == 5 and few[0] > 5 and few[-1] < 95
