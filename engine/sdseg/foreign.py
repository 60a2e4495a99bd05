"""Other programs' weights: what a path holds of an autoencoder and a U-Net.

Known are folders of diffusers (one model, or a pipeline with sub-folders) and files by the names of
latent diffusion (Rombach et al., CVPR 2022): `kl-f8`, a U-Net, or both in one checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from engine.errors import UserError
from engine.models.schema import MODEL_JSON, WEIGHTS
from engine.models.store import MAX_JSON_BYTES, file_sha256
from engine.sdseg import ldm
from engine.sdseg.contained import TENSORS_FILE, copy_tensors
from engine.sdseg.weights import read_tensors, tensor_shapes

Kind = Literal["autoencoder", "unet"]
IsCancelled = Callable[[], bool]
UNET, EMA, FIRST_STAGE = "model.diffusion_model.", "model_ema.", "first_stage_model."
AUTOENCODER_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
CLASSES: dict[str, Kind] = {
    "AutoencoderKL": "autoencoder",
    "UNet2DModel": "unet",
    "UNet2DConditionModel": "unet",
}
SUB_FOLDERS = ("vae", "vqvae", "unet")
FILES = (WEIGHTS, "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin")
HINT = (
    "Starting weights are a diffusers AutoencoderKL, UNet2DModel or pipeline folder, or a file of "
    "latent diffusion (kl-f8, a U-Net, a whole checkpoint)."
)
OURS = "Start from it with --from."


@dataclass(frozen=True)
class Source:
    """One part in one file.

    Attributes:
        label: what a person calls it: the path's last name, with a sub-folder of a pipeline.
        kind: which part.
        file: safetensors with its tensors; of a pickled file the copy that the child made.
        sha256: of the file as it was given.
        names: name in the part -> name in the file.
        dialect: whose names they are.
        weights: "averaged weights" or "last weights" where a file may hold both.
        left_over: names in the file that belong to no part.
        settings: config.json of a diffusers model.
    """

    label: str
    kind: Kind
    file: Path
    sha256: str
    names: dict[str, str]
    dialect: Literal["diffusers", "ldm"]
    weights: str = ""
    left_over: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def read(self) -> dict[str, Tensor]:
        """The part's tensors, float32, by the names of its dialect.

        Raises:
            UserError: the file is damaged, or holds NaN or infinite values.
        """
        wanted = set(self.names.values())
        try:
            tensors = read_tensors(self.file, wanted=wanted.__contains__)
        except UserError as error:
            raise UserError(f"{self.label}: {error.message}", hint=HINT) from error
        return {short: tensors[name] for short, name in self.names.items()}


def find_sources(
    path: Path, draft: Path, is_cancelled: IsCancelled | None = None
) -> tuple[Source, ...]:
    """What a path holds; no tensor is read here, but a pickled file is turned into safetensors.

    Args:
        path: folder or file.
        draft: an empty folder for the safetensors of a pickled file.
        is_cancelled: asked while a pickled file is read.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: it is none of the known kinds, or damaged.
    """
    if path.is_dir():
        return tuple(_of_folder(path, draft, is_cancelled))
    if not path.is_file():
        raise UserError(f"{path.name} was not found.", hint="Check the path.")
    file = _as_safetensors(path, draft, is_cancelled, lambda names: _check_names(path, names))
    return _of_latent_diffusion(path, file, _names(path, file))


def _of_folder(path: Path, draft: Path, is_cancelled: IsCancelled | None) -> Iterator[Source]:
    if (path / MODEL_JSON).exists() or (path.parent / MODEL_JSON).exists():
        raise UserError(f"{path.name} belongs to a model of this program.", hint=OURS)
    if (path / "config.json").exists():
        yield _of_diffusers(path, path.name, draft, is_cancelled)
        return
    found = [n for n in SUB_FOLDERS if (path / n / "config.json").exists()]
    if not found:
        raise UserError(f"{path.name} holds no model of diffusers.", hint=HINT)
    for name in found:
        inside = draft / name
        inside.mkdir()
        yield _of_diffusers(path / name, f"{path.name}/{name}", inside, is_cancelled)


def _of_diffusers(
    folder: Path, label: str, draft: Path, is_cancelled: IsCancelled | None
) -> Source:
    settings = _settings(folder, label)
    name = settings.get("_class_name")
    kind = CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"{label} is a {name}, which can't be started from.", hint=HINT)
    weights = next((folder / n for n in FILES if (folder / n).is_file()), None)
    if weights is None:
        raise UserError(f"{label} lacks {WEIGHTS}.", hint="Get the folder again.")
    file = _as_safetensors(weights, draft, is_cancelled)
    names = {n: n for n in _names(weights, file)}
    return Source(label, kind, file, file_sha256(weights), names, "diffusers", settings=settings)


def _settings(folder: Path, label: str) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("too large")
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{label}/config.json can't be read.", hint=HINT) from error
    return settings if isinstance(settings, dict) else {}


def _as_safetensors(
    path: Path,
    draft: Path,
    is_cancelled: IsCancelled | None,
    check_names: Callable[[tuple[str, ...]], None] = lambda _names: None,
) -> Path:
    """The file itself, or what a child process makes of a pickled one, if its names will do."""
    if path.suffix.lower() == ".safetensors":
        return path
    copy_tensors(path, draft, lambda f: check_names(tuple(f.shapes)), None, is_cancelled)
    return draft / TENSORS_FILE


def _names(path: Path, file: Path) -> tuple[str, ...]:
    try:
        return tuple(tensor_shapes(file))
    except UserError as error:
        raise UserError(error.message.replace(file.name, path.name, 1), hint=HINT) from error


def _check_names(path: Path, names: tuple[str, ...]) -> None:
    """Refuses a file that holds no part by latent diffusion's names, or a whole SDSeg."""
    if any(n.startswith(("cond_stage_model.encoder.", "cond_stage_model.out.")) for n in names):
        raise UserError(
            f"{path.name} is a checkpoint of SDSeg itself.",
            hint="Make a model of it with import-checkpoint, and start from that with --from.",
        )
    if any(n.startswith(("encoder.down_blocks.", "down_blocks.")) for n in names):
        raise UserError(
            f"{path.name} has the names of diffusers.",
            hint="Name its folder instead, with its config.json.",
        )
    if not _autoencoder_names(names) and not _under(UNET, names):
        raise UserError(f"{path.name} holds no autoencoder and no U-Net.", hint=HINT)


def _of_latent_diffusion(path: Path, file: Path, names: tuple[str, ...]) -> tuple[Source, ...]:
    _check_names(path, names)
    autoencoder, unet = _autoencoder_names(names), _under(UNET, names)
    taken = {*autoencoder.values(), *unet.values()}
    # The other copy of the U-Net's weights is left on purpose, not left over.
    left_over = tuple(n for n in names if n not in taken and not n.startswith(EMA))
    unet, weights = _averaged(unet, set(names))
    sha256 = file_sha256(path)
    found: list[Source] = []
    if autoencoder:
        found.append(Source(path.name, "autoencoder", file, sha256, autoencoder, "ldm"))
    if unet:
        found.append(Source(path.name, "unet", file, sha256, unet, "ldm", weights))
    # What belongs to no part is told once, with the last part.
    found[-1] = replace(found[-1], left_over=left_over)
    return tuple(found)


def _autoencoder_names(names: tuple[str, ...]) -> dict[str, str]:
    prefix = FIRST_STAGE if any(n.startswith(FIRST_STAGE) for n in names) else ""
    return {s: n for s, n in _under(prefix, names).items() if s.startswith(AUTOENCODER_PARTS)}


def _under(prefix: str, names: tuple[str, ...]) -> dict[str, str]:
    return {n[len(prefix) :]: n for n in names if n.startswith(prefix)}


def _averaged(unet: dict[str, str], names: set[str]) -> tuple[dict[str, str], str]:
    """The averaged copies of a U-Net's tensors where all are there, else the last ones."""
    averaged = {short: ldm.ema_name(short) for short in unet}
    if unet and names.issuperset(averaged.values()):
        return averaged, "averaged weights"
    return unet, "last weights" if any(n.startswith(EMA) for n in names) else ""
