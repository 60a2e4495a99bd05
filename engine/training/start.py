"""What a run starts from: fresh weights, other programs' weights, or a model of ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.errors import UserError
from engine.models.schema import CHANNELS, ModelInfo, Schedule
from engine.models.store import read_entry
from engine.sdseg.config import PRESETS, SDSegConfig
from engine.sdseg.folder import load_model
from engine.sdseg.foreign import Source, find_sources
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.starting_weights import PartReport, check_distinct, fill_part
from engine.sdseg.trunk import load_pretrained
from engine.sdseg.vision import TrunkVisionEncoder
from engine.system.atomic import atomic_write_text, draft_beside
from engine.system.interrupt import Interrupt
from engine.training.options import TrainOptions

Say = Callable[[str], None]
TRUNK = "EfficientNet-Lite0, ImageNet (Apache-2.0)"
RECORD = "initial_weights.json"
SHOWN = 4  # names a line on the terminal; RECORD has all
PAPER_PARTS = ("autoencoder", "U-Net")


@dataclass(frozen=True)
class Start:
    """The network at step 0, and what card and model.json say of it.

    Attributes:
        network: to be trained.
        preset: family, as in model.json.
        schedule: noise schedule of the network.
        weights: a sentence for each set of starting weights.
        fresh: what started from random weights: parts of `PAPER_PARTS`, or a few words.
        base: model.json of the model that the run starts from.
        parent_sha256: hash of that model.
        changes: a sentence for each option that changed while the run went on.
    """

    network: SDSegNetwork
    preset: Literal["paper", "compact"]
    schedule: Schedule
    weights: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    base: ModelInfo | None = None
    parent_sha256: str | None = None
    changes: tuple[str, ...] = ()

    def remembered(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run needs no other program's files."""
        return {name: list(getattr(self, name)) for name in ("weights", "fresh", "changes")}


def make_start(options: TrainOptions, remembered: Mapping[str, Any] | None, say: Say) -> Start:
    """Builds the network and fills it with the starting weights.

    Args:
        options: of the run.
        remembered: of the checkpoint that will be restored, whose weights replace these; None
            for a run that begins.
        say: told what did and did not fit.

    Raises:
        Cancelled: interrupted while a pickled file was read.
        UserError: the weights can't be read or don't fit, or the options contradict the model.
    """
    if options.start is not None:
        return _from_model(options.start, options)
    config = _configuration(options)
    network = SDSegNetwork.build(config)
    preset = "paper" if options.preset in (None, "paper") else "compact"
    start = Start(network, preset, config.schedule, fresh=PAPER_PARTS)
    trunk = network.vision_encoder
    if isinstance(trunk, TrunkVisionEncoder):
        start = replace(start, weights=(TRUNK,))
    if remembered is not None:
        return replace(
            start,
            weights=tuple(remembered.get("weights", start.weights)),
            fresh=tuple(remembered.get("fresh", PAPER_PARTS)),
        )
    if isinstance(trunk, TrunkVisionEncoder):
        load_pretrained(trunk.trunk)
    return _with_init(start, config, options, say) if options.init else start


def _configuration(options: TrainOptions) -> SDSegConfig:
    count = len(options.groups)
    if count > CHANNELS:
        raise UserError(
            f"{count} classes were asked for; a mask picture has {CHANNELS} channels.",
            hint="Train with fewer targets, or join some of them: --target organs=1,2,3,4.",
        )
    config = replace(
        PRESETS[options.preset or "paper"],
        size=options.preprocessing.size,
        channel_classes=count,
    )
    if options.prediction_type:
        config = replace(config, prediction_type=options.prediction_type)
    return config


def _from_model(folder: Path, options: TrainOptions) -> Start:
    entry = read_entry(folder)
    check_base(entry.info, options)
    network, info = load_model(folder)
    if network.class_count is not None:
        raise UserError(
            f"{info.name} has an embedding of several classes, which can't be trained on yet.",
            hint="Start from a model of one target.",
        )
    for part in (network.unet, network.vision_encoder):
        part.requires_grad_(True)
    return Start(
        network,
        info.preset,
        info.schedule,
        weights=(info.name,),
        base=info,
        parent_sha256=entry.sha256,
    )


def check_base(info: ModelInfo, options: TrainOptions) -> None:
    """Refuses options that contradict the model a run starts from.

    Raises:
        UserError: naming the option.
    """
    for option, wanted, found in (
        ("--preset", _family(options.preset), (info.preset, info.vision_encoder)),
        ("--prediction", options.prediction_type, info.prediction_type),
        ("--size", options.preprocessing.size, info.preprocessing.size),
        ("--target", tuple(options.classes), info.class_ids),
    ):
        if wanted not in (None, found):
            raise UserError(
                f"{option} differs from the model {info.name}, which the run starts from.",
                hint=f"Leave {option} out: it follows the model.",
            )


def _family(preset: str | None) -> tuple[str, str] | None:
    """What model.json tells of a preset: the family and the kind of vision encoder."""
    if preset is None:
        return None
    return ("paper" if preset == "paper" else "compact", PRESETS[preset].vision_encoder.kind)


def _with_init(start: Start, config: SDSegConfig, options: TrainOptions, say: Say) -> Start:
    with draft_beside(options.run_folder) as draft, Interrupt() as interrupt:
        sources: list[Source] = []
        for path in options.init:
            inside = Path(tempfile.mkdtemp(dir=draft))
            sources += find_sources(path, inside, lambda: interrupt.raised)
        check_distinct(sources)
        reports = [fill_part(start.network, config, source) for source in sources]
    for report in reports:
        for line in _lines(report):
            say(line)
    options.run_folder.mkdir(parents=True, exist_ok=True)
    record = [{**asdict(r), "sentence": r.sentence} for r in reports]
    atomic_write_text(options.run_folder / RECORD, json.dumps(record, indent=1))
    say(f"all names are listed in {options.run_folder.name}/{RECORD}")
    return replace(
        start,
        weights=(*start.weights, *(r.sentence for r in reports)),
        fresh=_fresh(reports),
    )


def _fresh(reports: list[PartReport]) -> tuple[str, ...]:
    given = {r.part for r in reports}
    parts = [part for part in PAPER_PARTS if part not in given]
    return (*parts, *(f"{len(r.fresh)} tensors of the {r.part}" for r in reports if r.fresh))


def _lines(report: PartReport) -> list[str]:
    lines = [report.sentence]
    for what, names in (
        ("missing, left fresh", report.missing),
        ("of another shape, left fresh", tuple(report.misfits)),
        ("left over", report.left_over),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"  {what}: {', '.join(names[:SHOWN])}{more}")
    return lines
