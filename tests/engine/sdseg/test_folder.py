"""Model folders: what is written is what is read, and anything else is refused."""

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import UserError
from engine.models.schema import MODEL_JSON, WEIGHTS, ModelInfo, Preprocessing, TargetEntry
from engine.models.store import read_entry
from engine.sdseg.config import TINY
from engine.sdseg.folder import file_sha256, load_model, save_model
from engine.sdseg.network import SDSegNetwork


def info(precision: str = "fp32") -> ModelInfo:
    return ModelInfo(
        name="tiny",
        title="Tiny",
        preset="compact",
        classes={1: "disc"},
        targets=(TargetEntry(name="disc", class_ids=(1,)),),
        preprocessing=Preprocessing(size=64),
        prediction_type="sample",
        scale_factor=1.0,
        precision=precision,
    )


@pytest.fixture(scope="module")
def network() -> SDSegNetwork:
    torch.manual_seed(1)
    made = SDSegNetwork.build(TINY).eval()
    made.scale_factor = 0.25
    return made


@pytest.fixture
def folder(tmp_path: Path, network: SDSegNetwork) -> Path:
    save_model(tmp_path / "tiny", network, info(), "# Tiny\n")
    return tmp_path / "tiny"


def answer(network: SDSegNetwork) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.inference_mode():
        return network.decode(network.estimate_z0(noise, network.condition(picture)))


def test_a_saved_model_answers_as_before(folder: Path, network: SDSegNetwork) -> None:
    loaded, found = load_model(folder)
    assert found.scale_factor == 0.25 and loaded.scale_factor == 0.25
    assert len(found.hashes) == 6
    torch.testing.assert_close(answer(loaded), answer(network), rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_half_precision_is_half_the_size_and_nearly_the_same(
    tmp_path: Path, folder: Path, network: SDSegNetwork
) -> None:
    save_model(tmp_path / "half", network, info("fp16"), "")
    part = Path("unet") / WEIGHTS
    assert (tmp_path / "half" / part).stat().st_size < 0.6 * (folder / part).stat().st_size
    loaded, _ = load_model(tmp_path / "half")
    assert next(loaded.unet.parameters()).dtype == torch.float32
    assert float((answer(loaded) - answer(network)).abs().max()) < 0.02


def test_an_existing_folder_is_never_written_over(folder: Path, network: SDSegNetwork) -> None:
    before = file_sha256(folder / MODEL_JSON)
    with pytest.raises(UserError, match="exists"):
        save_model(folder, network, info(), "")
    assert file_sha256(folder / MODEL_JSON) == before


def test_a_failed_save_leaves_nothing(tmp_path: Path, network: SDSegNetwork, monkeypatch) -> None:
    monkeypatch.setattr(network.vision_encoder, "save_config", lambda _path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(tmp_path / "models" / "m", network, info(), "")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("part", ["unet", "autoencoder", "vision_encoder"])
def test_one_flipped_byte_is_refused(folder: Path, part: str) -> None:
    file = folder / part / WEIGHTS
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="not the file"):
        load_model(folder)


@pytest.mark.parametrize("name", ["unet/config.json", f"autoencoder/{WEIGHTS}", MODEL_JSON])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=Path(name).name.split(".")[0]):
        load_model(folder)


def forge(folder: Path, part: str, tensors: dict[str, torch.Tensor]) -> None:
    """Replaces a part's weights and its hash, as someone with ill intent would."""
    file = folder / part / WEIGHTS
    save_file(tensors, file)
    content = json.loads((folder / MODEL_JSON).read_text())
    content["hashes"][f"{part}/{WEIGHTS}"] = file_sha256(file)
    (folder / MODEL_JSON).write_text(json.dumps(content))


def test_nan_wrong_shapes_and_missing_tensors_are_refused(folder: Path) -> None:
    good = load_file(folder / "unet" / WEIGHTS)
    name = "conv_in.weight"
    for bad, message in (
        ({**good, name: torch.full_like(good[name], float("nan"))}, "NaN"),
        ({**good, name: torch.zeros(3)}, "shape"),
        ({**good, name: good[name].to(torch.int32)}, "type"),
        ({k: v for k, v in good.items() if k != name}, "missing"),
        ({**good, "more": torch.zeros(1)}, "not expected"),
    ):
        forge(folder, "unet", bad)
        with pytest.raises(UserError, match=message):
            load_model(folder)


def test_a_header_longer_than_the_file_is_refused(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS
    file.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    content = json.loads((folder / MODEL_JSON).read_text())
    content["hashes"][f"unet/{WEIGHTS}"] = file_sha256(file)
    (folder / MODEL_JSON).write_text(json.dumps(content))
    with pytest.raises(UserError, match="safetensors"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 2}', "\x00\xff"])
def test_a_broken_model_json_is_one_sentence(folder: Path, text: str) -> None:
    (folder / MODEL_JSON).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=MODEL_JSON):
        read_entry(folder)


def reconfigure(folder: Path, part: str, **changes: object) -> None:
    """Changes a part's config.json and its hash."""
    file = folder / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    content = json.loads((folder / MODEL_JSON).read_text())
    content["hashes"][f"{part}/config.json"] = file_sha256(file)
    (folder / MODEL_JSON).write_text(json.dumps(content))


ABSURD = [
    ("unet", {"block_out_channels": [10**7, 10**7]}),
    ("unet", {"block_out_channels": []}),
    ("unet", {"layers_per_block": 10**7}),
    ("unet", {"heads": 0}),
    ("unet", {"heads": 3}),
    ("unet", {"norm_num_groups": 0}),
    ("unet", {"time_embedding_type": "x"}),
    ("autoencoder", {"layers_per_block": 10**30}),
    ("autoencoder", {"sample_size": []}),
    ("vision_encoder", {"block_out_channels": ""}),
    ("vision_encoder", {"norm_num_groups": 0}),
]


@pytest.mark.parametrize(("part", "changes"), ABSURD)
def test_an_absurd_configuration_is_refused_before_it_is_built(
    folder: Path, part: str, changes: dict[str, object]
) -> None:
    reconfigure(folder, part, **changes)
    started = time.monotonic()
    with pytest.raises(UserError, match=rf"{part}/config\.json"):
        load_model(folder)
    assert time.monotonic() - started < 5


def test_parts_of_different_models_are_refused(folder: Path) -> None:
    content = (folder / MODEL_JSON).read_text()
    for change in ({"class_coding": "embed"}, {"class_coding": "embed", "classes": {"1": "disc"}}):
        (folder / MODEL_JSON).write_text(json.dumps({**json.loads(content), **change}))
        with pytest.raises(UserError, match=r"unet/config\.json does not fit the rest"):
            load_model(folder)
    (folder / MODEL_JSON).write_text(content)
    reconfigure(folder, "vision_encoder", condition_channels=8)
    with pytest.raises(UserError, match=r"vision_encoder/config\.json does not fit the rest"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": {"train_timesteps": 10**12}},
        {"schedule": {"beta_end": -1.0}},
        {"softmax_temperature": 0.0},
        {"default_batch": 10**9},
        {"preprocessing": {"size": 64, "field_mm": 0.0}},
    ],
)
def test_settings_that_no_model_has_are_refused(folder: Path, change: dict[str, object]) -> None:
    content = {**json.loads((folder / MODEL_JSON).read_text()), **change}
    (folder / MODEL_JSON).write_text(json.dumps(content))
    with pytest.raises(UserError, match=MODEL_JSON):
        read_entry(folder)
