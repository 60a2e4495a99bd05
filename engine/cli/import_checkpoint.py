"""`import-checkpoint`: a checkpoint of the authors' code as a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import values
from engine.cli.values import parse_target
from engine.errors import UserError

if TYPE_CHECKING:
    from engine.sdseg.import_checkpoint import ImportOptions

# How the authors' code prepares each data set at inference.
PREPARED: dict[str, dict[str, Any]] = {
    "cvc": {"resample": "pillow_bilinear"},
    "kvasir": {"resample": "pillow_bicubic"},
    "refuge2": {"resample": "pillow_bilinear"},
    "btcv": {"intensity": "window_extremes", "window": (75.0, 400.0),
             "resample": "corners", "layout": "file"},
    "sts3d": {"intensity": "window_extremes", "window": (500.0, 1200.0),
              "resample": "corners", "layout": "file"},
}  # fmt: skip
VOLUMES, CROPPED = ("btcv", "sts3d"), ("refuge2",)
MAX_YAML_BYTES = 1_000_000


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `import-checkpoint` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "import-checkpoint",
        help="the authors' .ckpt as a model folder",
        description="Reads a checkpoint without running any code of it. Sizes are read off the "
        "tensors; heads (8) and dropout (0.2) unless CONFIG says otherwise.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--config", type=Path, metavar="YAML", help="the one it was trained with")
    parser.add_argument("--raw", action="store_true",
                        help="the U-Net's last weights instead of the averaged ones")  # fmt: skip
    parser.add_argument("--name", help="of the model; default: the output folder's")
    parser.add_argument("--title", default="")
    parser.add_argument("--preprocess", choices=list(PREPARED), default="cvc",
                        help="pictures as of this data set; default: cvc")  # fmt: skip
    parser.add_argument("--window", type=values.window, metavar="LEVEL,WIDTH",
                        help="instead of that data set's")  # fmt: skip
    parser.add_argument("--target", action="append", default=[], metavar="NAME=ID[,ID]",
                        help="can be given several times; default: one a class")  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Imports it.

    Raises:
        Cancelled: asked to stop; nothing is left behind.
        UserError: it can't be imported; nothing is left behind.
    """
    from tqdm import tqdm

    from engine.models.store import read_entry
    from engine.sdseg.import_checkpoint import import_checkpoint
    from engine.system.interrupt import Interrupt

    options = _options(args)
    with tqdm(unit="tensor", disable=None, leave=False) as bar, Interrupt() as interrupt:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        info = import_checkpoint(
            args.checkpoint, args.output, options, progress, lambda: interrupt.raised
        )
    print(f"wrote {args.output}: {', '.join(info.lineage.initial_weights)}")
    return {
        "output": str(args.output),
        "model": {"name": info.name, "sha256": read_entry(args.output).sha256},
        "classes": info.classes,
        "scale_factor": info.scale_factor,
    }


def _options(args: argparse.Namespace) -> ImportOptions:
    import shlex

    from engine.models.schema import Preprocessing
    from engine.sdseg.import_checkpoint import ImportOptions

    name = args.name or args.output.resolve().name
    settings = read_settings(args.config) if args.config else {}
    rules = dict(PREPARED[args.preprocess])
    if args.window:
        rules = {"intensity": "window"} | rules | {"window": args.window}
    return ImportOptions(
        name=name,
        title=args.title or name,
        preprocessing=Preprocessing.model_validate({"size": 256, **rules}),
        plane="axial" if args.preprocess in VOLUMES else "scan",
        roi="box" if args.preprocess in CROPPED else "none",
        targets=tuple(parse_target(text) for text in args.target),
        raw=args.raw,
        command="sdseg " + shlex.join(args.typed),
        **settings,
    )


def read_settings(file: Path) -> dict[str, Any]:
    """Heads and dropout of the U-Net from the authors' YAML, those that it names.

    Raises:
        UserError: it can't be read, or names nonsense.
    """
    import yaml

    try:
        if file.stat().st_size > MAX_YAML_BYTES:
            raise UserError(f"{file.name} is too large for a configuration.")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        unet = content["model"]["params"]["unet_config"]["params"]
        found = {"heads": unet.get("num_heads"), "dropout": unet.get("dropout")}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file.name} can't be read as YAML.", hint="Check the path.") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file.name} does not describe a U-Net.",
            hint="It should have model.params.unet_config.params.",
        ) from error
    heads, dropout = found["heads"], found["dropout"]
    if heads is not None and not (isinstance(heads, int) and 1 <= heads <= 64):
        raise UserError(f"{file.name}: {heads} is no number of attention heads.")
    if dropout is not None and not (isinstance(dropout, float | int) and 0 <= dropout < 1):
        raise UserError(f"{file.name}: {dropout} is no dropout.")
    return {key: value for key, value in found.items() if value is not None}
