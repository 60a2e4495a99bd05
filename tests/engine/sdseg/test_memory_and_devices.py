"""What the engine does where a GPU is old or memory is short, as far as that shows without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.domain.requests import SegmentRequest
from engine.errors import UserError
from engine.models.store import ModelEntry
from engine.sdseg import inference, segmenter
from engine.sdseg.devices import (
    choose_precision,
    choose_training_precision,
    is_out_of_memory,
)
from engine.sdseg.folder import load_model
from engine.sdseg.inference import pass_lengths
from engine.sdseg.segmenter import Segmenter
from tests.engine.evaluation.models import CLASSES, save_classes
from tests.tiny_model import mr_scan, picture_scan

GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return save_classes(tmp_path_factory.mktemp("models") / "several")


def probabilities(model: Segmenter, **changes: Any) -> list[np.ndarray]:
    scan = mr_scan()
    request = SegmentRequest(scan, range(scan.slice_count), **changes)
    return [proposal.probability for proposal in model.segment(request)]


@pytest.mark.parametrize("emulated", [True, False])
def test_bf16_that_is_only_emulated_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, emulated: bool
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or not emulated

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", GPU) == ("fp32" if emulated else "bf16")
    assert choose_precision("bf16", GPU) == "bf16"
    assert choose_training_precision("auto", GPU) == ("fp32" if emulated else "bf16")


@pytest.mark.parametrize(
    ("instructions", "chosen"),
    [({"avx2": True}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_a_cpu_trains_in_bf16_only_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    cpu = torch.device("cpu")
    assert choose_training_precision("auto", cpu) == chosen
    assert choose_training_precision("bf16", cpu) == "bf16"
    assert choose_training_precision("fp32", cpu) == "fp32"


def test_an_older_torch_that_knows_no_capabilities_trains_in_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_training_precision("auto", torch.device("cpu")) == "fp32"


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously ..."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_what_a_gpu_says_of_its_memory_is_understood(error: RuntimeError) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))


def short_on(monkeypatch: pytest.MonkeyPatch, devices: set[str]) -> None:
    """There is a GPU, and the memory of these devices holds no model."""

    def load(folder: Path, device: torch.device) -> Any:
        if device.type in devices:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return load_model(folder, device)

    def choose(name: str) -> torch.device:
        return torch.device("cpu") if name == "cpu" else GPU

    monkeypatch.setattr(segmenter, "load_model", load)
    monkeypatch.setattr(segmenter, "choose_device", choose)


def test_a_model_that_a_gpu_cannot_hold_goes_to_the_cpu_and_says_so(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = probabilities(Segmenter.load(entry, "cpu"))
    short_on(monkeypatch, {"cuda"})
    model = Segmenter.load(entry, "auto", "fp16")
    assert (model.inference.device.type, model.inference.precision) == ("cpu", "fp32")
    assert model.inference.notes == ["the GPU's memory was short: the model went to the CPU"]
    for found, other in zip(probabilities(model), expected, strict=True):
        assert found.tobytes() == other.tobytes()


def test_a_model_that_no_memory_holds_is_said_plainly(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_on(monkeypatch, {"cuda", "cpu"})
    with pytest.raises(UserError, match="not enough memory for Tiny model"):
        Segmenter.load(entry, "auto")


def test_a_device_that_is_short_to_the_end_gives_way_to_the_cpu(entry: ModelEntry) -> None:
    """The meta device stands for a GPU: batches shrink, then the CPU takes over, and says so."""
    expected = probabilities(Segmenter.load(entry, "cpu"))
    model = Segmenter.load(entry, "cpu")
    network = model.inference.network.to("meta")
    model.inference.device = torch.device("meta")
    tried: list[int] = []

    def refuse(_module: Any, args: tuple[torch.Tensor]) -> None:
        if args[0].device.type == "meta":
            tried.append(len(args[0]))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    network.vision_encoder.register_forward_pre_hook(refuse)
    loaded = load_model(entry.folder)[0].state_dict()
    network.to = lambda _device: network.load_state_dict(loaded, assign=True)  # meta has no values
    found = probabilities(model, batch=4)
    assert tried[:3] == [4, 2, 1] and set(tried[3:]) <= {1}
    assert model.inference.device.type == "cpu"
    assert model.inference.notes[-1] == "the GPU's memory was short: went on with the CPU"
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def rows_of_passes(model: Segmenter) -> list[int]:
    seen: list[int] = []
    unet = model.inference.network.unet
    unet.register_forward_pre_hook(lambda _m, args: seen.append(len(args[0])))
    return seen


def test_every_slice_of_a_batch_goes_through_in_passes_of_the_same_length(
    several: ModelEntry,
) -> None:
    model = Segmenter.load(several, "cpu")
    seen = rows_of_passes(model)
    probabilities(model, batch=3)
    assert CLASSES == 4 and seen == [4] * 6


@pytest.mark.parametrize(
    ("slices", "rows", "most", "expected"),
    [
        (4, 1, 8, [4]),
        (16, 1, 8, [8, 8]),
        (3, 4, 8, [4, 4, 4]),
        (4, 4, 8, [8, 8]),
        (2, 14, 8, [8, 6, 8, 6]),
        (5, 1, 2, [1] * 5),
        (1, 16, 8, [8, 8]),
    ],
)
def test_lengths_of_passes(slices: int, rows: int, most: int, expected: list[int]) -> None:
    assert pass_lengths(slices, rows, most) == expected
    assert sum(expected) == slices * rows and max(expected) <= most


def test_passes_of_samples_and_classes_are_lowered_to_free_memory(
    several: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Segmenter.load(several, "cpu")
    free = int(2.5 * model.inference.network.bytes_per_slice(64) / inference.SHARE_OF_MEMORY)
    monkeypatch.setattr(inference, "free_memory", lambda _device: free)
    seen = rows_of_passes(model)
    scan = picture_scan()
    list(model.segment(SegmentRequest(scan, range(1), samples=2)))
    assert seen == [2] * 4
    assert model.inference.notes == ["memory is short: 2 instead of 8 passes at once"]


def test_in_half_precision_probabilities_have_finer_steps_than_bf16(entry: ModelEntry) -> None:
    network = load_model(entry.folder)[0]
    z0 = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        decoded, probability = network.decode_picture(z0), network.decode(z0)
    assert decoded.dtype == torch.bfloat16 and probability.dtype == torch.float32
    assert not torch.equal(probability, probability.bfloat16().float())
