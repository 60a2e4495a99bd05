"""The network of a checkpoint of the authors, from its tensors by their names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.errors import UserError
from engine.sdseg import ldm
from engine.sdseg.config import SDSegConfig, VisionEncoderConfig
from engine.sdseg.contained import HINT
from engine.sdseg.import_checkpoint import ImportOptions
from engine.sdseg.network import SDSegNetwork

UNET, AUTOENCODER, VISION = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
PARTS = {UNET: "U-Net", AUTOENCODER: "autoencoder", VISION: "vision encoder"}
SCALE = "scale_factor"
SCALES = (1e-6, 1e6)  # 0.18 is usual
Names = dict[str, dict[str, str]]


def build_network(file: Path, options: ImportOptions) -> SDSegNetwork:
    """The network of a checkpoint's tensors.

    Args:
        file: safetensors by the authors' names.
        options: what the tensors do not tell.

    Raises:
        UserError: a part is missing, or has another shape than its sizes say.
    """
    with safe_open(file, framework="pt", device="cpu") as stream:
        names = _names_by_part(stream.keys(), options.raw)
        parts = {
            part: {short: stream.get_tensor(name) for short, name in inside.items()}
            for part, inside in names.items()
        }
        scale = float(stream.get_tensor(SCALE))
    low, high = SCALES
    if not low <= scale <= high:
        raise UserError(f"The checkpoint's scale factor is {scale:g}, which is none.", hint=HINT)
    with _understood():
        network = _filled(parts, options)
    network.scale_factor = scale
    return network.requires_grad_(False).eval()


def check_shapes(shapes: Mapping[str, tuple[int, ...]], options: ImportOptions) -> SDSegNetwork:
    """The network of tensors without values, on the meta device.

    Raises:
        UserError: a part is missing, or has another shape than its sizes say.
    """
    names = _names_by_part(shapes, options.raw)
    if math.prod(shapes[SCALE]) != 1:
        raise UserError("The checkpoint's scale factor is not one number.", hint=HINT)
    with _understood():
        empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        parts = {p: {s: empty[n] for s, n in inside.items()} for p, inside in names.items()}
        return _filled(parts, options)


def weights_of_unet(names: Iterable[str], raw: bool) -> str:
    """Which of a checkpoint's two copies of the U-Net is taken, in a word."""
    return "averaged" if not raw and _holds_averages(set(names)) else "raw"


def _holds_averages(names: set[str]) -> bool:
    unet = (n[len(UNET) :] for n in names if n.startswith(UNET))
    return any(ldm.ema_name(name) in names for name in unet)


@contextmanager
def _understood() -> Iterator[None]:
    """Names and shapes of a forged file can go wrong anywhere between here and diffusers.

    Raises:
        UserError: they did.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise UserError("The file's tensors make no network of SDSeg.", hint=HINT) from e


def _names_by_part(names: Iterable[str], raw: bool) -> Names:
    """For each part its tensors: name within the part -> name in the file."""
    known = set(names)
    found: Names = {
        prefix: {n[len(prefix) :]: n for n in known if n.startswith(prefix)} for prefix in PARTS
    }
    for prefix, what in PARTS.items():
        if not found[prefix]:
            raise UserError(f"The file holds no {what} of SDSeg.", hint=HINT)
    if SCALE not in known:
        raise UserError("The checkpoint has no scale factor.", hint=HINT)
    unet = found[UNET]
    if not raw and _holds_averages(known):
        found[UNET] = {name: ldm.ema_name(name) for name in unet}
        if not known.issuperset(found[UNET].values()):
            raise UserError("The averaged weights are not complete.", hint="Try --raw.")
    return found


def _filled(parts: dict[str, dict[str, Tensor]], options: ImportOptions) -> SDSegNetwork:
    unet, autoencoder, vision = (parts[prefix] for prefix in PARTS)
    config = SDSegConfig(
        ldm.autoencoder_config(autoencoder),
        ldm.unet_config(unet, options.heads, options.dropout),
        VisionEncoderConfig(dropout=options.dropout),
        size=options.preprocessing.size,
    )
    if ldm.autoencoder_config(vision) != config.autoencoder:
        raise UserError("The vision encoder has other sizes than the autoencoder.", hint=HINT)
    with torch.device("meta"):
        network = SDSegNetwork.build(config)
    encoder = {n: t for n, t in vision.items() if n.startswith("encoder.")}
    states = {
        "U-Net": (network.unet, ldm.unet_state(unet, config.unet)),
        "autoencoder": (
            network.autoencoder,
            ldm.autoencoder_state(autoencoder, config.autoencoder),
        ),
        "vision encoder": (
            network.vision_encoder,
            ldm.autoencoder_state(encoder, config.autoencoder)
            | {n: t for n, t in vision.items() if n.startswith("out.")},
        ),
    }
    for what, (module, state) in states.items():
        _fill(what, module, state)
    return network


def _fill(what: str, module: nn.Module, state: dict[str, Tensor]) -> None:
    if odd := [name for name, t in state.items() if not t.is_floating_point()]:
        raise UserError(f"The {what} has whole numbers for weights: {odd[0]}.", hint=HINT)
    try:
        module.load_state_dict({n: t.float() for n, t in state.items()}, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"The {what} does not fit its own sizes: {reason}", hint=HINT) from error
