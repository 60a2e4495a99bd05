"""`train`: a model from pictures and masks."""

from __future__ import annotations

import argparse
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.train_parser import add_parser
from engine.domain.targets import Target
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.models.schema import ModelInfo, Preprocessing
    from engine.training.options import TrainOptions

__all__ = ["add_parser", "options_of", "run"]


FILES = ("images", "masks", "train", "val", "test")


def _data_paths(args: argparse.Namespace) -> dict[str, Path | None]:
    if args.projects:
        return _project_paths(args)
    if args.data is None:
        missing = [n for n in FILES[:4] if getattr(args, n) is None]
        if missing:
            args.usage_error(
                f"--{missing[0]} is missing, or one folder with --data, or a project with --project"
            )
        return {n: getattr(args, n) for n in FILES}
    usual: dict[str, Path | None] = {
        n: args.data / (n if n in ("images", "masks") else f"{n}.txt") for n in FILES
    }
    if _is_blank(args.data / "test.txt"):
        usual["test"] = None
    return {n: getattr(args, n) or usual[n] for n in FILES}


def _data(args: argparse.Namespace, labels: dict[int, str]) -> dict[str, Any]:
    """All options that tell where cases come from and what is known of them."""
    named = _named_values(args, labels)
    return {**_data_paths(args), "named_values": named, "patients": args.groups}


def _is_blank(split: Path) -> bool:
    """True if a list is missing, or is there but lists nothing."""
    return not split.exists() or (
        split.is_file() and not split.read_bytes().removeprefix(BOM_UTF8).strip()
    )


def _project_paths(args: argparse.Namespace) -> dict[str, Path | None]:
    """The lists lie in the run's folder; there are no folders of pictures."""
    for name in ("data", *FILES, "groups"):
        if getattr(args, name) is not None:
            args.usage_error(f"--project and --{name} exclude each other")
    if not (args.targets or args.start or args.labels):
        args.usage_error("with --project, --target tells which label is learned: --target polyp=1")
    run = args.output.with_name(args.output.name + ".run")
    none = Path()
    return {
        "images": none,
        "masks": none,
        "train": run / "train.txt",
        "val": run / "val.txt",
        "test": None,
    }


def _dealt(options: TrainOptions, projects: list[Path]) -> TrainOptions:
    """With the cases of projects, dealt into train and val."""
    from dataclasses import replace

    from engine.system.processes import is_first
    from engine.training.project_cases import Wanted, read_cases
    from engine.training.split import reasons_of, resumed_split, split_cases

    wanted = Wanted.of(options)
    offers = [read_cases(path, wanted) for path in projects]
    if options.resume and options.train.exists():
        split = resumed_split(offers, options.train, options.val)
    else:
        split = split_cases(offers)
    for text in (
        f"left out: {reasons_of(offers)}" if any(offer.left_out for offer in offers) else "",
        *(f"labels not learned: {', '.join(o.unlearned)}" for o in offers if o.unlearned),
        f"validation cases: {', '.join(source.name for source in split.val)}",
    ):
        if text and is_first():
            _say(text)
    return replace(options, dealt=split)


def _labels(args: argparse.Namespace) -> dict[int, str]:
    """Names of the mask values, where a file tells them."""
    from engine.training.labels_file import LABELS, read_labels

    if args.labels is not None:
        return read_labels(args.labels)
    usual = args.data / LABELS if args.data else None
    return read_labels(usual) if usual and usual.is_file() else {}


def _named_values(args: argparse.Namespace, labels: dict[int, str]) -> frozenset[int]:
    """Mask values that mean something, be they learned or not: labels.json beside the masks too."""
    from engine.training.labels_file import LABELS, read_labels

    beside = args.masks.parent / LABELS if args.masks else None
    more = read_labels(beside) if not labels and beside and beside.is_file() else {}
    return frozenset({*labels, *more})


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
    if args.sdseg_share < 1 and not args.pyramid_weight:
        args.usage_error("--sdseg-share needs --pyramid-weight, or pictures would teach nothing")
    if args.start and args.init:
        args.usage_error("--init and --from exclude each other")
    if args.start and args.prior_steps:
        args.usage_error("--pretrain-prior and --from exclude each other")
    names = [target.name for target in args.targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        args.usage_error(f"--target {twice} stands twice; write its values in one: {twice}=1,2")


def options_of(args: argparse.Namespace, command: str) -> TrainOptions:
    """What was typed, as the engine takes it; `command` is kept for the lineage."""
    from engine.models.store import read_entry
    from engine.sdseg.devices import choose_device, choose_training_precision
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

    _check_together(args)
    base = read_entry(args.start).info if args.start else None
    labels = _labels(args)
    precision = choose_training_precision(args.precision, choose_device(args.device))
    options: TrainOptions = picked(
        TrainOptions,
        **_data(args, labels),
        targets=_targets(args, base, labels),
        class_names=base.classes if base else labels,
        preprocessing=_preprocessing(args, base),
        plane=args.plane or (base.plane if base else "scan"),
        roi=args.roi or (base.roi if base else "none"),
        identity=picked(Identity, **_names(args)),
        init=tuple(args.init),
        prediction_type=args.prediction,
        objective=picked(Objective),
        optimisation=picked(Optimisation, scale_lr=not args.no_scale_lr, precision=precision),
        augmentation=picked(Augmentation),
        command=command,
    )
    return _dealt(options, args.projects) if args.projects else options


def _names(args: argparse.Namespace) -> dict[str, Any]:
    """Of the model, where the option is called otherwise than on the card."""
    name = args.name or args.output.name
    modalities = tuple(word.strip() for word in args.modality.split(","))
    return {
        "name": name, "title": args.title or name, "modalities": modalities, "data": args.data_name,
    }  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Trains, prints the curves as it goes, writes the model folder.

    Returns:
        What `--json` reports; None in all but the first of several processes.
    """
    import os
    import shlex

    from engine.training.run import train_model

    args.output = Path(os.path.abspath(args.output))  # "." has no name of its own
    command = "sdseg " + shlex.join(str(word) for word in args.typed if word != "--resume")
    options = options_of(args, command)
    if args.data is not None and not args.data.is_dir():
        raise UserError(f"There is no folder {args.data}.", hint="Check what --data names.")
    return train_model(options, args.device, _say)


def _say(text: str) -> None:
    print(text, flush=True)
