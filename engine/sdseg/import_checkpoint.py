"""A checkpoint of the authors as a model folder; torch is imported when the file has been read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.domain.labels import MAX_LABEL_ID
from engine.domain.targets import Target
from engine.errors import UserError
from engine.models.card import render_card
from engine.models.schema import Lineage, ModelInfo, Preprocessing, TargetEntry
from engine.models.store import file_sha256
from engine.sdseg.config import PAPER
from engine.sdseg.contained import TENSORS_FILE, Facts, Progress, check_archive, copy_tensors
from engine.system.atomic import draft_beside

if TYPE_CHECKING:
    from engine.sdseg.network import SDSegNetwork


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
    heads: int = PAPER.unet.heads
    dropout: float = PAPER.unet.dropout
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
        raise UserError(f"{output} exists already.", hint="Choose another output folder.")
    check_archive(source)
    with draft_beside(output) as draft:

        def accept(facts: Facts) -> None:
            from engine.sdseg.checkpoint_network import check_shapes

            _classes(check_shapes(facts.shapes, options).class_count, options)

        facts = copy_tensors(source, draft, accept, progress, is_cancelled)
        from engine.sdseg.checkpoint_network import build_network, weights_of_unet
        from engine.sdseg.folder import save_model

        network = build_network(draft / TENSORS_FILE, options)
        (draft / TENSORS_FILE).unlink()
        weights = weights_of_unet(facts.shapes, options.raw)
        info = _describe(network, source, weights, facts.global_step, options)
        return save_model(output, network, info, render_card(info))


def _classes(
    count: int | None, options: ImportOptions
) -> tuple[dict[int, str], tuple[TargetEntry, ...]]:
    """Names of the classes 1, 2, ..., and the targets.

    A class that is a target of its own has that target's name.

    Args:
        count: embedded classes with background; None for a binary network.
        options: the wanted targets.

    Raises:
        UserError: there can't be so many classes, or a target is not among them.
    """
    top = 1 if count is None else count - 1
    if not 1 <= top <= MAX_LABEL_ID:
        raise UserError(f"The U-Net embeds {count} classes; 2 to {MAX_LABEL_ID + 1} can be used.")
    named = options.targets or tuple(Target(f"class {n}", (n,)) for n in range(1, top + 1))
    for number, target in enumerate(named):
        if outside := [n for n in target.class_ids if not 1 <= n <= top]:
            raise UserError(f"The model knows the classes 1 to {top}, not {outside[0]}.")
        if target.name in [other.name for other in named[:number]]:
            raise UserError(
                f"Two targets have the name {target.name}.",
                hint=f"Several classes of one target are written {target.name}=1,2.",
            )
    own = {t.class_ids[0]: t.name for t in named if len(set(t.class_ids)) == 1}
    classes = {n: own.get(n, f"class {n}") for n in range(1, top + 1)}
    return classes, tuple(TargetEntry(name=t.name, class_ids=t.class_ids) for t in named)


def _describe(
    network: SDSegNetwork, source: Path, weights: str, steps: int, options: ImportOptions
) -> ModelInfo:
    count = network.class_count
    classes, targets = _classes(count, options)
    return ModelInfo(
        name=options.name,
        title=options.title,
        preset="paper",
        kind="",
        classes=classes,
        targets=targets,
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
