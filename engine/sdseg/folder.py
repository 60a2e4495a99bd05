"""Model folders on disk: one diffusers-style sub-folder a part, model.json, card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from engine.errors import UserError
from engine.io.kinds import writing
from engine.models.schema import CARD, MODEL_JSON, NEEDED, PARTS, WEIGHTS, ModelInfo
from engine.models.store import BROKEN, file_sha256, read_entry
from engine.sdseg.config import (
    LATENT_CHANNELS,
    AutoencoderConfig,
    SDSegConfig,
    UNetConfig,
    VisionEncoderConfig,
)
from engine.sdseg.network import SDSegNetwork, SDSegUNet
from engine.sdseg.vision import PublishedVisionEncoder, TrunkVisionEncoder
from engine.sdseg.weights import check_form, load_into, read_tensors, save_tensors
from engine.system.atomic import draft_beside, publish_folder

FIT_FILE = "fit.safetensors"
STORED_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MAX_WIDTH, MAX_LAYERS, MAX_LEVELS = 8192, 16, 8


def save_model(
    folder: Path,
    network: SDSegNetwork,
    info: ModelInfo,
    card: str,
    fit: dict[str, Tensor] | None = None,
) -> ModelInfo:
    """Writes a model folder: all of it or nothing.

    Args:
        folder: must not exist yet; a model is never changed after it is written.
        network: its parts are stored in `info.precision`.
        info: `hashes` is filled in here.
        card: text of CARD.md.
        fit: arrays of the fit statistic, or None.

    Returns:
        `info` as it was written.

    Raises:
        UserError: the folder exists, or can't be written.
    """
    if folder.exists():
        raise UserError(f"{folder.name} exists already.", hint="Choose another output folder.")
    with draft_beside(folder) as draft, writing(folder):
        written = _write_parts(draft, network, info, fit)
        (draft / CARD).write_text(card, encoding="utf-8")
        publish_folder(draft, folder)
    return written


def _write_parts(
    draft: Path, network: SDSegNetwork, info: ModelInfo, fit: dict[str, Tensor] | None
) -> ModelInfo:
    dtype = STORED_TYPES[info.precision]
    for name in PARTS:
        module: Any = getattr(network, name)
        part = draft / name
        part.mkdir()
        module.save_config(part)
        save_tensors(part / WEIGHTS, _stored(module, dtype))
    if fit is not None:
        save_tensors(draft / FIT_FILE, {k: v.contiguous() for k, v in fit.items()})
    for weights in draft.rglob("*.safetensors"):  # written for their owner's eyes alone
        weights.chmod(0o644)
    files = sorted(p for p in draft.rglob("*") if p.is_file())
    hashes = {p.relative_to(draft).as_posix(): file_sha256(p) for p in files}
    info = info.model_copy(update={"hashes": hashes, "scale_factor": network.scale_factor})
    (draft / MODEL_JSON).write_text(info.model_dump_json(indent=1), encoding="utf-8")
    return info


def _stored(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: (t.detach().to("cpu", dtype) if t.is_floating_point() else t.cpu()).contiguous()
        for name, t in module.state_dict().items()
    }


def load_model(folder: Path, device: str | torch.device = "cpu") -> tuple[SDSegNetwork, ModelInfo]:
    """Builds the network of a model folder and fills it; every file's hash is checked.

    Returns:
        The network in evaluation mode, fp32, and its model.json.

    Raises:
        UserError: something is missing, changed or does not fit; nothing is left behind.
    """
    info = read_entry(folder).info
    names = sorted({*NEEDED, *info.hashes})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"The model {folder.name} lacks {missing[0]}.", hint=BROKEN)
    # What takes no time first: gigabytes are hashed only if the form is right.
    weights = {name for name in names if name.endswith(".safetensors")}
    _check_hashes(folder, info, [name for name in names if name not in weights])
    with torch.device("meta"):
        parts = {name: _build_part(folder / name, name, info) for name in PARTS}
    _check_together(parts, info)
    for name, module in parts.items():
        check_form(module, folder / name / WEIGHTS)
    _check_hashes(folder, info, sorted(weights))
    for name, module in parts.items():
        load_into(module, folder / name / WEIGHTS)
    config = SDSegConfig(
        AutoencoderConfig(),
        UNetConfig(),
        VisionEncoderConfig(info.vision_encoder),
        info.schedule,
        info.prediction_type,
        info.preprocessing.size,
        len(info.classes) if info.class_coding == "channels" else 1,
    )
    network = SDSegNetwork(
        config, parts["autoencoder"], parts["unet"], parts["vision_encoder"], info.scale_factor
    )
    network.requires_grad_(False)
    return network.to(device).eval(), info


def load_fit(folder: Path) -> dict[str, Tensor] | None:
    """The arrays of the fit statistic, or None if the model has none."""
    file = folder / FIT_FILE
    return read_tensors(file) if file.exists() else None


def _check_hashes(folder: Path, info: ModelInfo, names: list[str]) -> None:
    for name in names:
        if info.hashes.get(name) != file_sha256(folder / name):
            raise UserError(f"{folder.name}/{name} is not the file it was saved as.", hint=BROKEN)


def _build_part(folder: Path, name: str, info: ModelInfo) -> Any:
    """The empty module that a sub-folder's config.json describes, on the current device."""
    vision = TrunkVisionEncoder if info.vision_encoder == "trunk" else PublishedVisionEncoder
    classes: dict[str, Any] = {
        "autoencoder": AutoencoderKL,
        "unet": SDSegUNet,
        "vision_encoder": vision,
    }
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not _is_reasonable(config):
            raise ValueError("unreasonable sizes")
        module = classes[name].from_config(config)
        if not all(_divides(m) for m in module.modules() if isinstance(m, Attention)):
            raise ValueError("a head that is no whole number of channels wide")
    except Exception as error:  # diffusers trusts what it is given: anything may come of it
        raise UserError(f"{name}/config.json does not describe a model.", hint=BROKEN) from error
    return module


def _is_reasonable(config: dict[str, Any]) -> bool:
    """No number that would keep diffusers building for ever; nothing has been built yet."""
    layers = config.get("layers_per_block", 1)
    lists = [value for value in config.values() if isinstance(value, list)]
    numbers = [*config.values(), *(n for values in lists for n in values)]
    return (
        isinstance(layers, int)
        and layers <= MAX_LAYERS
        and all(len(values) <= MAX_LEVELS for values in lists)
        and all(abs(n) <= MAX_WIDTH for n in numbers if isinstance(n, int | float))
    )


def _divides(attention: Attention) -> bool:
    return attention.heads > 0 and attention.inner_dim % attention.heads == 0


def _check_together(parts: dict[str, Any], info: ModelInfo) -> None:
    """Parts that are sound alone may still not be those of one model.

    Raises:
        UserError: they aren't.
    """
    autoencoder, unet, vision = (parts[name].config for name in PARTS)
    classes = len(info.classes) + 1 if info.class_coding == "embed" else None
    fits = {
        "autoencoder": autoencoder["latent_channels"] == LATENT_CHANNELS,
        "vision_encoder": unet["in_channels"] == LATENT_CHANNELS + vision["condition_channels"],
        "unet": (unet["out_channels"], unet["num_class_embeds"]) == (LATENT_CHANNELS, classes),
    }
    for name, does in fits.items():
        if not does:
            raise UserError(f"{name}/config.json does not fit the rest of the model.", hint=BROKEN)
