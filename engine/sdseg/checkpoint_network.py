"""The network of a checkpoint of the authors, from its tensors by their names."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.errors import UserError
from engine.sdseg import ldm
from engine.sdseg.config import SDSegConfig, VisionEncoderConfig
from engine.sdseg.contained import HINT
from engine.sdseg.import_checkpoint import AUTOENCODER, UNET, VISION, ImportOptions
from engine.sdseg.network import SDSegNetwork


def build_network(file: Path, options: ImportOptions) -> SDSegNetwork:
    """The network of a checkpoint's tensors, by the authors' names.

    Raises:
        UserError: a part is missing, or has another shape than its sizes say.
    """
    with safe_open(file, framework="pt", device="cpu") as stream:
        names = set(stream.keys())

        def part(prefix: str) -> dict[str, Tensor]:
            found = {n[len(prefix) :]: n for n in names if n.startswith(prefix)}
            return {short: stream.get_tensor(name) for short, name in found.items()}

        unet, autoencoder, vision = part(UNET), part(AUTOENCODER), part(VISION)
        if not options.raw and ldm.ema_name(next(iter(unet), "")) in names:
            averaged = {name: ldm.ema_name(name) for name in unet}
            if not names.issuperset(averaged.values()):
                raise UserError("The averaged weights are not complete.", hint="Try --raw.")
            unet = {name: stream.get_tensor(copy) for name, copy in averaged.items()}
        scale = float(stream.get_tensor("scale_factor")) if "scale_factor" in names else 0.0
    if not scale > 0.0:
        raise UserError("The checkpoint has no scale factor.", hint=HINT)
    return _filled(unet, autoencoder, vision, scale, options)


def _filled(
    unet: dict[str, Tensor],
    autoencoder: dict[str, Tensor],
    vision: dict[str, Tensor],
    scale: float,
    options: ImportOptions,
) -> SDSegNetwork:
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
    network.scale_factor = scale
    return network.requires_grad_(False).eval()


def _fill(what: str, module: nn.Module, state: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict({n: t.float() for n, t in state.items()}, strict=True, assign=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"The {what} does not fit its own sizes: {reason}", hint=HINT) from error
