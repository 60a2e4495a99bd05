"""`train`: a model from pictures and masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.train_parser import add_parser
from engine.domain.targets import Target

if TYPE_CHECKING:
    from engine.models.schema import ModelInfo, Preprocessing
    from engine.training.options import TrainOptions

__all__ = ["add_parser", "run"]


def _data_paths(args: argparse.Namespace) -> dict[str, Path | None]:
    names = ("images", "masks", "train", "val", "test")
    if args.data is None:
        missing = [n for n in names[:4] if getattr(args, n) is None]
        if missing:
            args.usage_error(f"--{missing[0]} is missing, or one folder with --data")
        return {n: getattr(args, n) for n in names}
    usual: dict[str, Path | None] = {
        n: args.data / (n if n in ("images", "masks") else f"{n}.txt") for n in names
    }
    if not (args.data / "test.txt").exists():
        usual["test"] = None
    return {n: getattr(args, n) or usual[n] for n in names}


def _labels(args: argparse.Namespace) -> dict[int, str]:
    """Names of the mask values, where a file tells them."""
    from engine.training.labels_file import LABELS, read_labels

    if args.labels is not None:
        return read_labels(args.labels)
    usual = args.data / LABELS if args.data else None
    return read_labels(usual) if usual and usual.is_file() else {}


def _targets(
    args: argparse.Namespace, base: ModelInfo | None, labels: dict[int, str]
) -> tuple[Target, ...]:
    """Those typed, else the base model's, else the labels file's, else the value 1."""
    from engine.training.labels_file import targets_of

    if args.targets:
        return tuple(args.targets)
    if base is not None:
        return tuple(Target(t.name, t.class_ids) for t in base.targets)
    return targets_of(labels) or (Target("target", (1,)),)


def _preprocessing(args: argparse.Namespace, base: ModelInfo | None) -> Preprocessing:
    """What was typed, over the base model's values or the defaults."""
    from pydantic import ValidationError

    from engine.models.schema import Preprocessing

    names = ("size", "channels", "fit", "intensity", "window", "field_mm")
    typed = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    rules = base.preprocessing.model_dump() if base else {"size": 256}
    try:
        return Preprocessing(**{**rules, **typed})
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "--window"
        return args.usage_error(f"{where}: {first['msg']}")


def _check_together(args: argparse.Namespace) -> None:
    """Refuses options that are fine alone and make no sense with each other."""
    if not (args.sdseg_weight or args.mask_weight or args.pyramid_weight):
        args.usage_error("--sdseg-weight 0 needs --mask-weight or --pyramid-weight")
    if args.start and args.init:
        args.usage_error("--init and --from exclude each other")


def _options(args: argparse.Namespace, command: str) -> TrainOptions:
    from engine.models.store import read_entry
    from engine.training.options import (
        Augmentation,
        Identity,
        Objective,
        Optimisation,
        TrainOptions,
    )

    def picked(kind: type, **extra: Any) -> Any:
        known = kind.__dataclass_fields__.keys() & vars(args).keys()
        return kind(**{**{k: getattr(args, k) for k in known}, **extra})

    name = args.name or args.output.name
    _check_together(args)
    base = read_entry(args.start).info if args.start else None
    modalities = tuple(word.strip() for word in args.modality.split(","))
    labels = _labels(args)
    identity = picked(
        Identity, name=name, title=args.title or name, modalities=modalities, data=args.data_name
    )
    return picked(
        TrainOptions,
        **_data_paths(args),
        targets=_targets(args, base, labels),
        class_names=base.classes if base else labels,
        preprocessing=_preprocessing(args, base),
        plane=args.plane or (base.plane if base else "scan"),
        roi=args.roi or (base.roi if base else "none"),
        identity=identity,
        init=tuple(args.init),
        prediction_type=args.prediction,
        objective=picked(Objective),
        optimisation=picked(Optimisation, scale_lr=not args.no_scale_lr),
        augmentation=picked(Augmentation),
        command=command,
    )


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Trains, prints the curves as it goes, writes the model folder.

    Returns:
        What `--json` reports; None in all but the first of several processes.
    """
    import shlex

    from engine.training.run import train_model

    command = "sdseg " + shlex.join(str(word) for word in args.typed if word != "--resume")
    return train_model(_options(args, command), args.device, _say)


def _say(text: str) -> None:
    print(text, flush=True)
