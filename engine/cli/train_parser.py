"""The options of `train`, grouped so that the few that matter come first."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.cli import values
from engine.cli.values import number, share, whole

ABOUT = """Trains SDSeg on pictures and masks. The defaults are the paper's, for a GPU and with its
starting weights (--init). For a laptop begin with a recipe:
train @resources/recipes/NAME.args --data DIR --output DIR."""
EPILOG = """Nobody who is learned from may stand in val or test. --groups FILE, or patients.csv or
groups.csv beside the lists or the folder of pictures (first line: stem,patient), tells who is who;
else stems do that agree up to the end of a part such as p10001, patient7, sub-03, case0005, seq12
(curvas_p10001_394).

A project's labels are told apart by their names: --target polyp=1 learns the label polyp, whatever
its number there. Slices count that somebody has corrected, and all of approved cases. If the
project has no frozen validation split, about a fifth of the cases is chosen and kept in OUTPUT.run.

--init takes diffusers folders (AutoencoderKL, UNet2DModel, pipeline), files of latent diffusion
(kl-f8, a U-Net, a whole checkpoint). An autoencoder must fit as a whole and is then not trained; of
a U-Net what fits is taken; its first convolution is widened with zeros. What fitted is printed and
told in the model's lineage. Several processes share each batch when torchrun or accelerate launch
starts them. A file of options, one or more a line, is named with @FILE."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `train` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a model on pictures and masks",
        usage="sdseg train --data DIR --output DIR [--preset NAME] [--target NAME=ID] [...]",
        description=ABOUT,
        epilog=EPILOG,
        fromfile_prefix_chars="@",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26),
    )
    parser.set_defaults(usage_error=parser.error)
    parser.convert_arg_line_to_args = _reader_of_lines(parser)  # type: ignore[method-assign]
    _add_first(parser.add_argument_group("the ones that matter"))
    _add_data(parser.add_argument_group("data, where it does not lie in one folder"))
    _add_result(parser.add_argument_group("result"))
    _add_pictures(parser.add_argument_group("how pictures are prepared"))
    _add_network(parser.add_argument_group("network and what it starts from"))
    _add_learning(parser.add_argument_group("learning (defaults: the paper's)"))
    _add_course(parser.add_argument_group("course of the run"))
    _add_objective(parser.add_argument_group("objective (defaults: the paper's)"))
    _add_augmentation(parser.add_argument_group("augmentation (default: flips)"))
    return parser


def _reader_of_lines(parser: argparse.ArgumentParser) -> Callable[[str], list[str]]:
    """Words of a line of an @FILE: quotes join, # begins a comment."""

    def words(line: str) -> list[str]:
        import shlex

        text = line.lstrip("\ufeff")  # editors on Windows put it in front of the first line
        try:
            return shlex.split(text, comments=True)
        except ValueError:
            parser.error(f"in the file of options a quotation mark is missing: {text.strip()}")

    return words


def _add(
    group: Any, name: str, kind: Any, default: Any, words: str, metavar: str = "N", **more: Any
) -> None:
    """One option with a value, its default behind its words."""
    told = f"{default:g}" if isinstance(default, float) else str(default)
    group.add_argument(
        name, type=kind, default=default, metavar=metavar, help=f"{words} ({told})", **more
    )


def _choose(group: Any, name: str, choices: list[str], words: str, default: Any = None) -> None:
    """One option of a few words; their own default, if any, stands in `words`."""
    told = "" if default is None else f" ({default})"
    group.add_argument(name, choices=choices, default=default, metavar="NAME", help=words + told)


def _add_first(group: Any) -> None:
    group.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with images/, masks/, train.txt, val.txt and perhaps test.txt, labels.json, "
        "patients.csv",
    )
    group.add_argument("--output", type=Path, required=True, metavar="DIR", help="the new model")
    _choose(
        group, "--preset", ["paper", "compact", "compact-published", "tiny"],
        "compact for a laptop, paper for a GPU as published; also compact-published, tiny (paper)",
    )  # fmt: skip
    group.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="model folder to train on; network and preparation of pictures are the model's",
    )
    group.add_argument(
        "--target",
        dest="targets",
        type=values.target,
        action="append",
        default=[],
        metavar="NAME=ID",
        help="wanted mask values, as disc=1,2: one class; given again, each value is a class "
        "of its own, up to three (those of labels.json, else target=1)",
    )


def _add_data(group: Any) -> None:
    group.add_argument(
        "--project",
        dest="projects",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="learn from a project's corrected and approved cases; may be given several times",
    )
    for name, metavar, words in (
        ("images", "DIR", "pictures or volumes"),
        ("masks", "DIR", "masks, with the images' stems"),
        ("train", "FILE", "stems to learn from, one a line"),
        ("val", "FILE", "stems to watch the run by"),
        ("test", "FILE", "stems that are only scored, at the end"),
        ("labels", "FILE", "names of the mask values (labels.json)"),
        ("groups", "FILE", "CSV (stem,patient): the patient of each case"),
    ):
        group.add_argument(f"--{name}", type=Path, metavar=metavar, help=words)


def _add_result(group: Any) -> None:
    group.add_argument("--name", help="of the model (the output folder's)")
    group.add_argument("--title", default="", help="what people read in lists (its name)")
    group.add_argument("--kind", default="", help='of picture, in words: "chest radiograph"')
    group.add_argument("--modality", default="picture", help="CR,DX,picture (picture)")
    for name, words in (
        ("data-name", "the data set"),
        ("licence", "of the weights"),
        ("notes", "limits that a user should know"),
        ("recipe", "name of the recipe"),
    ):
        group.add_argument(f"--{name}", default="", metavar="TEXT", help=f"{words}, for the card")
    group.add_argument(
        "--more-scores", type=Path, metavar="FILE", help="JSON of figures from elsewhere, likewise"
    )


def _add_pictures(group: Any) -> None:
    # None is "not typed": then the base model's value holds, or the one in brackets.
    group.add_argument("--size", type=int, metavar="PX", help="side of the picture (256)")
    _choose(group, "--channels", ["rgb", "grey", "neighbours"], "rgb, grey, neighbours (rgb)")
    _choose(group, "--fit", ["squeeze", "pad"], "to a square: squeeze, pad (squeeze)")
    _choose(
        group, "--intensity", ["full", "percentile", "window", "window_or_full"],
        "full, percentile, window, window_or_full (full)",
    )  # fmt: skip
    group.add_argument(
        "--window", type=values.window, metavar="LEVEL,WIDTH", help="of the intensity `window`"
    )
    group.add_argument(
        "--field-mm",
        type=number(0, above=True),
        metavar="MM",
        help="side of what fills the picture (the whole slice)",
    )
    _choose(
        group, "--plane", ["scan", "axial", "coronal", "sagittal"],
        "of the slices: scan, axial, coronal, sagittal (scan)",
    )  # fmt: skip
    _choose(group, "--roi", ["none", "box"], "box: a user should draw a region first (none)")


def _add_network(group: Any) -> None:
    group.add_argument(
        "--init",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="weights of other programs, see below; repeatable",
    )
    _choose(
        group, "--prediction", ["epsilon", "sample", "v_prediction"],
        "epsilon, sample, v_prediction (the preset's)",
    )  # fmt: skip
    group.add_argument(
        "--freeze-encoder",
        action="store_true",
        help="the vision encoder, or its trunk, does not learn",
    )
    _add(
        group, "--pretrain-prior", whole(0), 0,
        "first steps, on mask latents alone", dest="prior_steps",
    )  # fmt: skip
    _add(group, "--autoencoder-steps", whole(1), 2000, "of a fresh autoencoder")
    _add(group, "--autoencoder-lr", number(0, above=True), 2e-3, "its largest rate", "RATE")
    _add(
        group, "--autoencoder-coverage", number(0), 0.0,
        "weight of a latent channel for each class",
    )  # fmt: skip


def _add_learning(group: Any) -> None:
    rate = number(0)
    _add(group, "--steps", whole(1), 100_000, "updates of the weights")
    _add(group, "--batch", whole(1), 4, "pictures an update, over all processes")
    _add(group, "--base-lr", rate, 1e-5, "learning rate a picture of the batch", "RATE")
    group.add_argument("--no-scale-lr", action="store_true", help="learning rate is --base-lr")
    _add(group, "--warmup", whole(0), 10_000, "steps in which the rate grows")
    _choose(group, "--decay", ["constant", "cosine"], "of the rate: constant, cosine", "constant")
    _add(group, "--encoder-factor", rate, 1.0, "the vision encoder's rate, times this")
    _add(group, "--trunk-factor", rate, 0.3, "its trunk's rate, times this")
    _add(group, "--weight-decay", rate, 1e-2, "of AdamW")
    _add(group, "--clip", rate, 0.0, "largest norm of the gradient; 0: any")
    _add(group, "--ema-decay", share, 0.9999, "most of the averages' memory")
    group.add_argument("--ema-all", action="store_true", help="average the vision encoder too")
    _choose(
        group, "--precision", ["fp32", "bf16", "auto"],
        "fp32, bf16, or auto: bf16 if made for it", "fp32",
    )  # fmt: skip
    _add(
        group, "--latent-variants", whole(0), 0,
        "kept positions of each picture; 0: always new",
    )  # fmt: skip
    _add(group, "--seed", values.seed, 0, "of everything random")


def _add_course(group: Any) -> None:
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with OUTPUT.run and its options (not --init); more --steps are fine while the "
        "rate is constant",
    )
    _add(group, "--val-every", whole(1), 200, "steps between scores on val")
    _add(group, "--checkpoint-every", whole(1), 200, "steps between checkpoints")
    _add(group, "--threads", whole(0), 0, "of the processor; 0: torch's own choice")
    _choose(group, "--device", ["auto", "cpu", "cuda"], "auto, cpu, cuda", "auto")
    group.add_argument(
        "--tensorboard", action="store_true", help="curves in OUTPUT.run/tensorboard too"
    )


def _add_objective(group: Any) -> None:
    weight = number(0)
    _add(group, "--lambda", weight, 1.0, "of eq. 3", dest="latent_lambda")
    _add(group, "--sdseg-weight", weight, 1.0, "of eq. 3 as a whole")
    _add(group, "--mask-weight", weight, 0.0, "of the decoded mask")
    _add(
        group, "--sdseg-share", number(0, 1, above=True), 1.0,
        "of each batch with these two", "SHARE",
    )  # fmt: skip
    _add(group, "--pyramid-weight", weight, 0.0, "of a mask on the trunk's pyramid")
    _add(
        group, "--mask-crop", number(0, 1, above=True), 1.0,
        "side of the part whose mask is decoded", "SHARE",
    )  # fmt: skip
    _add(group, "--last-share", share, 0.0, "of the samples at T-1, the rest uniform", "SHARE")


def _add_augmentation(group: Any) -> None:
    _add(group, "--flips", values.flips, "hv", "h, v, hv or ''", "AXES")
    group.add_argument(
        "--scale", type=values.scale, default=(1.0, 1.0), metavar="FROM,TO", help="zoom (1,1)"
    )
    width = number(0)
    for name, kind, default, words in (
        ("rotate", number(0, 180), 0.0, "degrees, either way"),
        ("aspect", width, 0.0, "stretch of one side against the other"),
        ("shift", share, 0.0, "of the picture's side"),
        ("gamma", number(1), 1.0, "largest exponent, or its inverse"),
        ("contrast", width, 0.0, "relative change"),
        ("brightness", number(0, 2), 0.0, "added, of a range of 2"),
        ("colour", width, 0.0, "relative gain of a colour channel"),
        ("saturation", width, 0.0, "relative change of colour"),
        ("blur", number(0, 20), 0.0, "standard deviation in pixels"),
        ("noise", number(0, 2), 0.0, "standard deviation, of a range of 2"),
        ("floor", share, 0.0, "grey of fat that a CT window cut to black"),
        ("jpeg", number(1, 100), 100.0, "lowest quality, for half of the pictures"),
        ("empty-share", share, 0.0, "of views closer by, without the target"),
    ):
        _add(group, f"--{name}", kind, default, words)
    group.add_argument(
        "--levels",
        type=values.levels,
        default=(0.0, 1.0),
        metavar="LOW,HIGH",
        help="random window, at least LOW to HIGH (0,1)",
    )
    group.add_argument(
        "--effects",
        type=values.effects,
        default=(),
        metavar="NAME=CHANCE,...",
        help="of MONAI: " + ", ".join(values.EFFECT_NAMES) + " (none)",
    )
