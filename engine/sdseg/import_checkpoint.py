"""A checkpoint of the authors as a model folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.domain.targets import Target
from engine.errors import Cancelled, UserError
from engine.models.card import render_card
from engine.models.schema import Lineage, ModelInfo, Preprocessing, TargetEntry
from engine.models.store import file_sha256
from engine.sdseg import ldm
from engine.sdseg.config import SDSegConfig, VisionEncoderConfig
from engine.sdseg.folder import draft_beside, save_model
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.unpickle import FACTS_FILE, HINT, TENSORS_FILE
from engine.system.children import start_child

UNET, AUTOENCODER, VISION = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
NEEDED = {UNET: "U-Net", AUTOENCODER: "autoencoder", VISION: "vision encoder"}
# A checkpoint that takes longer is not read but attacked; torch's import is part of it.
PATIENCE_S, PATIENCE_S_PER_GB = 60.0, 30.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportOptions:
    """What the tensors do not tell.

    Attributes:
        name, title: of the model.
        preprocessing: how pictures are to be prepared.
        plane, roi: as in model.json.
        targets: named targets; () makes one a class.
        raw: the U-Net's last weights instead of the averaged ones.
        heads, dropout: of the U-Net, as trained.
        command: what was typed, for the lineage.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    plane: Literal["scan", "axial"] = "scan"
    roi: Literal["none", "box"] = "none"
    targets: tuple[Target, ...] = ()
    raw: bool = False
    heads: int = ldm.HEADS
    dropout: float = ldm.DROPOUT
    command: str = ""


def import_checkpoint(
    source: Path,
    output: Path,
    options: ImportOptions,
    progress: Progress | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> ModelInfo:
    """Writes the model folder of a checkpoint; if that fails nothing is left behind.

    Args:
        source: a `.ckpt` of the authors' code.
        output: the folder to write; must not exist.
        options: what the tensors do not tell.
        progress: called with (tensors read, tensors in all).
        is_cancelled: asked while the file is read.

    Raises:
        Cancelled: `is_cancelled` said so.
        UserError: the file is no such checkpoint, is damaged, or the folder can't be written.
    """
    if output.exists():
        raise UserError(f"{output.name} exists already.", hint="Choose another output folder.")
    if not source.is_file():
        raise UserError(f"{source.name} was not found.", hint="Check the path.")
    with draft_beside(output) as draft:
        _unpickle(source, draft, progress, is_cancelled)
        facts = json.loads((draft / FACTS_FILE).read_text(encoding="utf-8"))
        network = build_network(draft / TENSORS_FILE, options)
        (draft / TENSORS_FILE).unlink()
        info = _describe(network, source, facts["global_step"], options)
        return save_model(output, network, info, render_card(info))


def _unpickle(
    source: Path,
    folder: Path,
    progress: Progress | None,
    is_cancelled: Callable[[], bool] | None,
) -> None:
    """Lets a child read the pickle; it is stopped when it takes too long."""
    words = ["--child", "unpickle", str(source.absolute()), str(folder.absolute())]
    child = start_child(words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, text=True)
    patience = PATIENCE_S + PATIENCE_S_PER_GB * source.stat().st_size / 1e9
    watch = threading.Timer(patience, child.kill)
    watch.start()
    try:
        said = _listen(child, progress, is_cancelled)
        code = child.wait()
    finally:
        watch.cancel()
        child.kill()
        child.communicate()
    if code == 0:
        return
    if said is None:
        raise UserError(f"{source.name} could not be read: its reader ended early.", hint=HINT)
    raise UserError(said["message"], hint=said["hint"])


def _listen(
    child: Popen[str], progress: Progress | None, is_cancelled: Callable[[], bool] | None
) -> dict[str, str] | None:
    """Passes progress on; returns what the child says was wrong."""
    for line in child.stdout or ():
        if is_cancelled and is_cancelled():
            raise Cancelled
        if line.startswith("{"):
            return json.loads(line)
        done, total = line.split()
        if progress:
            progress(int(done), int(total))
    return None


def build_network(file: Path, options: ImportOptions) -> SDSegNetwork:
    """The network of a checkpoint's tensors, by the authors' names.

    Raises:
        UserError: a part is missing, or has another shape than its sizes say.
    """
    with safe_open(file, framework="pt", device="cpu") as stream:
        names = set(stream.keys())
        for prefix, what in NEEDED.items():
            if not any(name.startswith(prefix) for name in names):
                raise UserError(f"The file holds no {what} of SDSeg.", hint=HINT)

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


def _describe(network: SDSegNetwork, source: Path, steps: int, options: ImportOptions) -> ModelInfo:
    count = network.unet.config["num_class_embeds"]
    targets = options.targets or tuple(Target(f"class {n}", (n,)) for n in range(1, count or 2))
    names = {n: t.name for t in targets for n in t.class_ids}
    top = (count or 2) - 1
    if max(names) > top:
        raise UserError(f"The model knows the classes 1 to {top}, not {max(names)}.")
    names |= {n: f"class {n}" for n in range(1, top + 1) if n not in names}
    weights = "raw" if options.raw else "averaged"
    return ModelInfo(
        name=options.name,
        title=options.title,
        preset="paper",
        kind="",
        classes=dict(sorted(names.items())),
        targets=tuple(TargetEntry(name=t.name, class_ids=t.class_ids) for t in targets),
        class_coding="embed" if count else "binary",
        preprocessing=options.preprocessing,
        plane=options.plane,
        roi=options.roi,
        trained_timesteps="uniform",
        prediction_type="epsilon",
        scale_factor=network.scale_factor,
        default_batch=1,
        lineage=Lineage(
            parent_sha256=file_sha256(source),
            initial_weights=(f"{source.name}, {weights} weights of the U-Net",),
            command=options.command,
            steps=max(steps, 0),
        ),
        licence="As the checkpoint it was imported from",
    )
