"""A segmenter where memory is short or a device is missing: it does with less, or says so."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import UserError
from engine.models.store import ModelEntry
from engine.sdseg import inference
from engine.sdseg.devices import choose_device, choose_precision, is_out_of_memory
from engine.sdseg.segmenter import Segmenter
from tests.engine.sdseg.asking import answers, count_calls, request_of
from tests.tiny_model import mr_scan, picture_scan


def short_of_memory(above: int) -> Callable[[torch.Tensor], None]:
    def refuse(picture: torch.Tensor) -> None:
        if len(picture) > above:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough")

    return refuse


@pytest.fixture
def tight(segmenter: Segmenter) -> Iterator[Callable[[int], Segmenter]]:
    """The segmenter on a machine whose memory holds only so many slices."""
    encoder = segmenter.inference.network.vision_encoder
    hooks: list[Any] = []

    def limited(above: int) -> Segmenter:
        refuse = short_of_memory(above)
        hooks.append(encoder.register_forward_pre_hook(lambda _m, args: refuse(args[0])))
        return segmenter

    yield limited
    for hook in hooks:
        hook.remove()


def test_short_memory_halves_the_batch_and_says_so(
    entry: ModelEntry, tight: Callable[[int], Segmenter]
) -> None:
    scan = mr_scan()
    expected = answers(Segmenter.load(entry, "cpu"), request_of(scan))
    segmenter = tight(2)
    found = answers(segmenter, request_of(scan, batch=8))
    assert sorted(found) == list(range(6)) and segmenter.inference.batch == 2
    assert len(segmenter.inference.notes) == 2 and "memory" in segmenter.inference.notes[0]
    for index, proposal in found.items():
        np.testing.assert_allclose(proposal.probability, expected[index].probability, atol=1e-3)


def test_no_memory_for_a_single_slice_is_said_plainly(tight: Callable[[int], Segmenter]) -> None:
    with pytest.raises(UserError, match="not enough memory"):
        list(tight(0).segment(request_of(mr_scan(), batch=4)))


def test_short_memory_halves_the_passes_of_many_samples(
    segmenter: Segmenter, entry: ModelEntry
) -> None:
    request = request_of(picture_scan(), samples=8)
    expected = answers(Segmenter.load(entry, "cpu"), request)[0]
    refuse = short_of_memory(2)
    unet = segmenter.inference.network.unet
    passed = count_calls(unet)
    unet.register_forward_pre_hook(lambda _m, args: refuse(args[0]))
    found = answers(segmenter, request)[0]
    assert passed == [8, 4, 2, 2, 2, 2]
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-3)
    assert found.stability is not None and expected.stability is not None
    np.testing.assert_allclose(found.stability, expected.stability, atol=1e-3)


def test_a_batch_that_free_memory_cannot_hold_is_lowered_before_it_runs(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_slice = segmenter.inference.network.bytes_per_slice(64)
    free = int(3.5 * per_slice / inference.SHARE_OF_MEMORY)
    monkeypatch.setattr(inference, "free_memory", lambda _device: free)
    request = request_of(mr_scan(), batch=8)
    assert len(answers(segmenter, request)) == 6
    assert segmenter.use(request).batch == 3
    assert segmenter.inference.notes == ["memory is short: 3 instead of 8 slices at once"]


def test_other_errors_are_not_taken_for_short_memory(segmenter: Segmenter) -> None:
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("size mismatch"))

    def broken(*_: object) -> None:
        raise RuntimeError("size mismatch")

    hook = segmenter.inference.network.unet.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        list(segmenter.segment(request_of(mr_scan())))
    hook.remove()


def test_half_precision_changes_little_and_leaves_the_unet_alone(entry: ModelEntry) -> None:
    seen: list[torch.dtype] = []
    half = Segmenter.load(entry, "cpu", "bf16")
    half.inference.network.unet.register_forward_pre_hook(
        lambda _m, args: seen.append(args[0].dtype)
    )
    half.inference.network.unet.conv_in.register_forward_hook(
        lambda _m, _a, out: seen.append(out.dtype)
    )
    scan = picture_scan()
    exact = answers(Segmenter.load(entry, "cpu"), request_of(scan))[0].probability
    rough = answers(half, request_of(scan))[0].probability
    assert seen == [torch.float32, torch.float32]
    assert 0 < np.abs(exact - rough).max() < 0.05


def test_devices_and_precisions_that_are_not_there_are_refused() -> None:
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    with pytest.raises(UserError, match="fp16"):
        choose_precision("fp16", torch.device("cpu"))
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(UserError, match="CUDA"):
            choose_device("cuda")
