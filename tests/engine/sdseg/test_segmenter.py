"""The segmenter on a real, tiny network: same answer whatever the order, batch and neighbours."""

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.domain.box import Box
from engine.domain.requests import SegmentRequest
from engine.errors import Cancelled, UserError
from engine.models.schema import Preprocessing
from engine.models.store import ModelEntry, read_entry
from engine.sdseg.segmenter import Segmenter
from tests.engine.sdseg.asking import answers, count_calls, request_of
from tests.tiny_model import mr_scan, picture_scan, save_tiny


def test_every_slice_is_answered_on_its_own_grid(segmenter: Segmenter) -> None:
    found = list(segmenter.segment(request_of(mr_scan())))
    assert [p.index for p in found] == list(range(6))
    for proposal in found:
        assert proposal.labels.shape == proposal.probability.shape == (40, 48)
        assert proposal.labels.dtype == np.uint8 and proposal.probability.dtype == np.float32
        np.testing.assert_array_equal(proposal.labels > 0, proposal.probability > 0.5)
        assert proposal.model_sha256 == segmenter.entry.sha256
    values = np.concatenate([p.probability.ravel() for p in found])
    assert 0 <= values.min() < values.max() <= 1 and values.std() > 1e-4


@pytest.mark.parametrize("batch", [1, 4])
def test_equal_bytes_whatever_the_order_and_the_neighbours(entry: ModelEntry, batch: int) -> None:
    scan = mr_scan()
    whole = answers(Segmenter.load(entry, "cpu"), request_of(scan, batch=batch))
    backwards = answers(
        Segmenter.load(entry, "cpu"), request_of(scan, slices=range(5, -1, -1), batch=batch)
    )
    for index in range(6):
        alone = answers(
            Segmenter.load(entry, "cpu"),
            request_of(scan, slices=range(index, index + 1), batch=batch),
        )
        expected = whole[index].probability.tobytes()
        assert backwards[index].probability.tobytes() == expected
        assert alone[index].probability.tobytes() == expected


def test_batch_sizes_agree_closely(segmenter: Segmenter) -> None:
    scan = mr_scan()
    one, many = (answers(segmenter, request_of(scan, batch=n)) for n in (1, 4))
    assert sorted(one) == sorted(many) == list(range(6))
    for index, proposal in one.items():
        np.testing.assert_allclose(many[index].probability, proposal.probability, atol=1e-3)


def test_the_seed_decides_and_samples_average_their_noises(segmenter: Segmenter) -> None:
    scan = picture_scan()
    by_seed = [answers(segmenter, request_of(scan, seed=n))[0].probability for n in (0, 0, 1)]
    assert by_seed[0].tobytes() == by_seed[1].tobytes()
    assert np.abs(by_seed[0] - by_seed[2]).max() > 1e-5
    four = answers(segmenter, request_of(scan, samples=4))[0].probability
    two = answers(segmenter, request_of(scan, samples=2))[0].probability
    assert np.abs(four - by_seed[0]).max() > 1e-5 and np.abs(four - two).max() > 1e-6
    # The first of several noises is the one that a single sample draws.
    one, both = (segmenter.inference.noise(request_of(scan, samples=n)) for n in (1, 2))
    assert torch.equal(one[0], both[0])


def test_the_threshold_is_applied_on_the_native_grid(segmenter: Segmenter) -> None:
    scan = picture_scan(150, 90)
    shown = answers(segmenter, request_of(scan))[0].probability
    middle = float(np.median(shown))
    found = answers(segmenter, request_of(scan, threshold=middle))[0].labels
    np.testing.assert_array_equal(found > 0, shown > np.float32(middle))
    assert 0.3 < (found > 0).mean() < 0.7


def test_a_box_is_cropped_segmented_and_put_back(segmenter: Segmenter) -> None:
    scan = mr_scan()
    box = Box((2, 10, 8), (5, 34, 40))
    found = answers(segmenter, request_of(scan, box=box))
    assert sorted(found) == [2, 3, 4]
    assert found[2].region == (slice(10, 34), slice(8, 40))
    assert found[2].labels.shape == (24, 32)
    cropped = replace(
        scan,
        array=scan.array[box.slices].copy(),
        grid=replace(scan.grid, shape=(3, 24, 32)),
        loaded=np.ones(3, dtype=bool),
    )
    alone = answers(segmenter, request_of(cropped))
    np.testing.assert_array_equal(alone[0].probability, found[2].probability)


def test_another_plane_is_sliced_along_its_own_axis(segmenter: Segmenter) -> None:
    scan = mr_scan()
    found = answers(segmenter, request_of(scan, plane=2, slices=range(48)))
    assert len(found) == 48 and found[7].labels.shape == (6, 40) and found[7].plane == 2


def test_only_loaded_slices_are_run(segmenter: Segmenter) -> None:
    loaded = np.array([True, False, True, True, False, True])
    scan = replace(mr_scan(), loaded=loaded)
    assert sorted(answers(segmenter, request_of(scan))) == [0, 2, 3, 5]


def test_uneven_slices_are_segmented_one_by_one_and_not_across(segmenter: Segmenter) -> None:
    even = mr_scan()
    scan = replace(even, places=np.array([0, 1.5, 2.1, 3.0, 3.9, 5.0]))
    found, known = answers(segmenter, request_of(scan)), answers(segmenter, request_of(even))
    assert sorted(found) == list(range(6))
    np.testing.assert_array_equal(found[3].probability, known[3].probability)
    with pytest.raises(UserError, match="sagittal slices across them can't be segmented"):
        answers(segmenter, request_of(scan, plane=2, slices=range(48)))


@pytest.mark.parametrize("box", [None, Box((1, 4, 3), (6, 36, 40))])
def test_a_missing_slice_stays_empty_whatever_the_plane(entry: ModelEntry, box: Box | None) -> None:
    """What a slice cut the other way says of columns that were never measured is not said."""
    loaded = np.array([True, True, False, True, False, True])
    scan = replace(mr_scan(), loaded=loaded)
    segmenter = Segmenter.load(entry, "cpu")
    start, stop = (box.start[0], box.stop[0]) if box else (0, 6)
    gaps = ~loaded[start:stop]
    request = request_of(scan, plane=2, slices=range(10, 14), box=box, samples=2, threshold=0.0)
    for proposal in segmenter.segment(request):
        assert proposal.stability is not None
        for answer in (proposal.labels, proposal.probability, proposal.stability):
            assert not answer[gaps].any() and answer[~gaps].any()


def test_slices_outside_the_scan_and_unknown_targets_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(UserError, match="slices 0 to 5"):
        list(segmenter.segment(request_of(mr_scan(), slices=range(4, 9))))
    with pytest.raises(UserError, match="'cup'") as caught:
        list(segmenter.segment(request_of(mr_scan(), target="cup")))
    assert "disc" in caught.value.hint


def by_hand(segmenter: Segmenter, request: SegmentRequest) -> np.ndarray:
    """The probability maps of each noise alone, [samples, rows, columns]."""
    whole = segmenter.inference.noise(request)
    maps = []
    for n in range(request.samples):
        segmenter.inference.noise = lambda _request, n=n: whole[n : n + 1]
        maps.append(answers(segmenter, replace(request, samples=1))[0].probability)
    return np.stack(maps)


@pytest.mark.parametrize(("size", "samples"), [((64, 64), 5), ((50, 70), 11)])
def test_the_stability_map_is_the_spread_of_the_samples(
    segmenter: Segmenter, entry: ModelEntry, size: tuple[int, int], samples: int
) -> None:
    request = request_of(picture_scan(*size), samples=samples)
    found = answers(segmenter, request)[0]
    alone = by_hand(Segmenter.load(entry, "cpu"), request)
    np.testing.assert_allclose(found.probability, alone.mean(axis=0), atol=1e-5)
    assert found.stability is not None and found.stability.shape == size
    assert found.stability.dtype == np.float32 and found.stability.max() > 1e-4
    if size == (64, 64):  # the network's own square: nothing is resampled
        np.testing.assert_allclose(found.stability, alone.std(axis=0), atol=1e-5)
    else:  # resampling a deviation is not the deviation of the resampled, but near
        assert np.corrcoef(found.stability.ravel(), alone.std(axis=0).ravel())[0, 1] > 0.9
    assert answers(segmenter, replace(request, samples=1))[0].stability is None


def test_samples_are_encoded_once_and_go_through_the_unet_together(segmenter: Segmenter) -> None:
    network = segmenter.inference.network
    encoded, passed = count_calls(network.vision_encoder), count_calls(network.unet)
    answers(segmenter, request_of(picture_scan(), samples=12))
    assert encoded == [1] and passed == [8, 4]


def test_squares_are_the_maps_before_they_are_resampled(segmenter: Segmenter) -> None:
    request = request_of(picture_scan(64, 64))
    ((index, maps),) = segmenter.squares(request)
    assert index == 0 and maps.shape == (1, 64, 64) and maps.dtype == np.float32
    np.testing.assert_allclose(maps[0], answers(segmenter, request)[0].probability, atol=1e-6)


def test_asking_again_encodes_nothing_again_and_gives_equal_bytes(segmenter: Segmenter) -> None:
    encoded = count_calls(segmenter.inference.network.vision_encoder)
    scan = mr_scan()
    first = answers(segmenter, request_of(scan))
    again = answers(segmenter, request_of(scan))
    assert len(encoded) == 6
    for index, proposal in first.items():
        assert again[index].probability.tobytes() == proposal.probability.tobytes()
    answers(segmenter, request_of(scan, seed=3, threshold=0.2, samples=2))
    assert len(encoded) == 6


@pytest.mark.parametrize(
    "change",
    [{"window": (400.0, 500.0)}, {"box": Box((0, 2, 2), (6, 30, 30))}, {"batch": 2}, {"plane": 1}],
    ids=lambda change: next(iter(change)),
)
def test_latents_of_another_window_box_batch_or_plane_are_not_used(
    segmenter: Segmenter, entry: ModelEntry, change: dict[str, Any]
) -> None:
    scan = mr_scan()
    answers(segmenter, request_of(scan))
    other = answers(segmenter, request_of(scan, **change))
    fresh = answers(Segmenter.load(entry, "cpu"), request_of(scan, **change))
    for index, proposal in fresh.items():
        assert other[index].probability.tobytes() == proposal.probability.tobytes()


def test_latents_go_with_their_case_and_have_a_limit(segmenter: Segmenter) -> None:
    scan, cache = mr_scan(), segmenter.inference.latents
    answers(segmenter, request_of(scan))
    assert cache.count == 6
    del scan
    gc.collect()
    assert cache.count == 0
    cache.most_bytes = 2 * 4 * 8 * 8 * 4  # two latents of 4 x 8 x 8 in fp32
    scan = mr_scan()
    assert len(answers(segmenter, request_of(scan))) == 6 and cache.count == 2
    again = answers(segmenter, request_of(scan))
    assert sorted(again) == list(range(6))


def test_while_a_series_loads_nothing_is_kept(segmenter: Segmenter) -> None:
    scan = replace(mr_scan(), loaded=np.array([True] * 5 + [False]))
    answers(segmenter, request_of(scan))
    assert segmenter.inference.latents.count == 0


def test_it_stops_inside_a_batch(segmenter: Segmenter) -> None:
    network = segmenter.inference.network
    begun: list[bool] = []
    finished: list[bool] = []
    network.vision_encoder.register_forward_pre_hook(lambda *_: begun.append(True))
    network.vision_encoder.register_forward_hook(lambda *_: finished.append(True))
    stream = segmenter.segment(request_of(mr_scan(), batch=6), is_cancelled=lambda: bool(begun))
    with pytest.raises(Cancelled):
        next(stream)
    assert begun and not finished
    # Nothing of it is left: the next request runs to its end.
    assert len(answers(segmenter, request_of(mr_scan()))) == 6


def test_it_stops_between_batches_and_tells_how_far_it_is(segmenter: Segmenter) -> None:
    steps: list[tuple[int, int]] = []
    stream = segmenter.segment(
        request_of(mr_scan(), batch=2),
        lambda done, total: steps.append((done, total)),
        lambda: len(steps) == 2,
    )
    got: list[int] = []
    with pytest.raises(Cancelled):
        got.extend(p.index for p in stream)
    assert steps == [(2, 6), (4, 6)]


def test_stages_are_timed(segmenter: Segmenter) -> None:
    list(segmenter.segment(request_of(mr_scan())))
    timings = segmenter.timings
    stages = timings["encode"] + timings["unet"] + timings["decode"]
    assert all(timings[s] > 0 for s in ("load", "encode", "unet", "decode"))
    assert timings["total"] >= stages


def test_a_damaged_model_is_refused(entry: ModelEntry, tmp_path: Path) -> None:
    fresh = save_tiny(tmp_path / "other", seed=3)
    weights = fresh.folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="not the file it was saved as"):
        Segmenter.load(fresh)


def test_a_volume_far_larger_than_the_training_field_wants_a_box(tmp_path: Path) -> None:
    rules = Preprocessing(size=64, fit="pad", field_mm=30.0)
    segmenter = Segmenter.load(save_tiny(tmp_path / "field", preprocessing=rules))
    scan = mr_scan()  # slices of 60 x 48 mm
    assert segmenter.needs_box(scan, None)
    assert not segmenter.needs_box(scan, Box((0, 5, 5), (6, 25, 40)))


def test_more_steps_are_refused_where_only_the_last_timestep_was_trained(tmp_path: Path) -> None:
    scan = mr_scan()
    trained = {"last": 1, "mixed": 2}
    for name, steps in trained.items():
        segmenter = Segmenter.load(save_tiny(tmp_path / name, trained_timesteps=name), "cpu")
        assert len(list(segmenter.segment(SegmentRequest(scan, range(1), steps=steps)))) == 1
    last = Segmenter.load(read_entry(tmp_path / "last"), "cpu")
    with pytest.raises(UserError, match="single step"):
        list(last.segment(SegmentRequest(scan, range(1), steps=2)))
