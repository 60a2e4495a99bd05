"""The options of `train`, grouped so that the few that matter come first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.domain.targets import Target
from engine.errors import UserError

EPILOG = """Nobody who is learned from may stand in val or test. Patients are told by --groups FILE,
or by patients.csv or groups.csv beside the lists (first line: stem,patient; then every case), or
else by the stems: cases whose stems agree up to the end of a part such as p10001, patient7, sub-03,
case0005, volume-12, seq12 or video3 are of one patient (curvas_p10001_394 and curvas_p10001_458).

A project's labels are told apart by their names: --target polyp=1 learns the label polyp, whatever
its number there. Slices count that somebody has corrected, and all slices of approved cases. If
the project has no frozen validation split, about a fifth of the cases, whole patients, is chosen
and kept in OUTPUT.run; the project is not written.

--init fills the network of the preset from weights made by other programs: a diffusers
AutoencoderKL, UNet2DModel or pipeline folder, a kl-f8 file of latent diffusion, a U-Net file of
it, or a whole checkpoint. An autoencoder must fit as a whole and is then not trained; of a U-Net
what fits is taken, and its first convolution is widened with zeros. What did and did not fit is
printed, listed in OUTPUT.run/initial_weights.json, and told in the model's lineage. The paper's
training is --preset paper with kl-f8 and the U-Net of LSUN-churches. Several processes share each
batch when they are started by torchrun or accelerate launch. Options can be kept in a file, one or
more a line, and named with @FILE; the built-in models' recipes are such files:
resources/recipes/*.args."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds `train` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a model on pictures and masks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Trains SDSeg. The defaults are the paper's; its starting weights need --init.",
        epilog=EPILOG,
        fromfile_prefix_chars="@",
    )
    parser.set_defaults(usage_error=parser.error)
    parser.convert_arg_line_to_args = _words_of_line  # type: ignore[method-assign]
    _add_first(parser.add_argument_group("the ones that matter"))
    _add_data(parser.add_argument_group("data, where it does not lie in one folder"))
    _add_result(parser.add_argument_group("result"))
    _add_pictures(parser.add_argument_group("how pictures are prepared"))
    _add_network(parser.add_argument_group("network and what it starts from"))
    _add_learning(parser.add_argument_group("learning (defaults: the paper's)"))
    _add_objective(parser.add_argument_group("objective (defaults: the paper's)"))
    _add_augmentation(parser.add_argument_group("augmentation (default: flips)"))
    return parser


def _words_of_line(line: str) -> list[str]:
    import shlex

    return shlex.split(line, comments=True)


def _add_first(group: Any) -> None:
    group.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with images/, masks/, train.txt, val.txt and perhaps test.txt, labels.json, "
        "patients.csv",
    )
    group.add_argument("--output", type=Path, required=True, metavar="DIR", help="the new model")
    group.add_argument(
        "--preset",
        choices=["paper", "compact", "compact-published", "tiny"],
        help="compact: for a laptop; paper: as published, for a GPU (paper)",
    )
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
        type=_target,
        action="append",
        default=[],
        metavar="NAME=ID[,ID]",
        help="mask values that become foreground: disc=1,2. Given once, they are one class; given "
        "several times (at most three values in all), each value is a class of its own. Without "
        "it: the classes of labels.json, or target=1",
    )


def _add_data(group: Any) -> None:
    group.add_argument(
        "--project",
        dest="projects",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="learn from the corrected and approved cases of a project instead of --data; may be "
        "given several times (see below)",
    )
    group.add_argument("--images", type=Path, metavar="DIR")
    group.add_argument("--masks", type=Path, metavar="DIR", help="same stems as the images")
    group.add_argument("--train", type=Path, metavar="FILE", help="stems, one a line")
    group.add_argument("--val", type=Path, metavar="FILE")
    group.add_argument("--test", type=Path, metavar="FILE", help="only scored, at the end")
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="names of the mask values (labels.json)"
    )
    group.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="CSV file (first line: stem,patient) that tells the patient of each case (see below)",
    )


def _add_result(group: Any) -> None:
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in OUTPUT.run, with the options it was started with; --init "
        "may be left out; --steps may change while the rate is constant (--decay), to no fewer "
        "than are done",
    )
    group.add_argument("--name", help="of the model; default: the output folder's")
    group.add_argument("--title", default="")
    group.add_argument("--kind", default="", help='of picture, in words: "chest radiograph"')
    group.add_argument("--modality", default="picture", help="comma-separated: CR,DX,picture")
    group.add_argument("--data-name", default="", help="the data set, for the card")
    group.add_argument("--licence", default="", help="of the weights, for the card")
    group.add_argument("--notes", default="", help="limits a user should know, for the card")
    group.add_argument("--recipe", default="", help="name of the recipe, for the card")


def _add_pictures(group: Any) -> None:
    # None is "not typed": then the base model's value holds, or the one in brackets.
    group.add_argument("--size", type=int, metavar="PX", help="(256)")
    group.add_argument("--channels", choices=["rgb", "grey", "neighbours"], help="(rgb)")
    group.add_argument("--fit", choices=["squeeze", "pad"], help="(squeeze)")
    group.add_argument(
        "--intensity",
        choices=["full", "percentile", "window", "window_or_full"],
        help="(full)",
    )
    group.add_argument("--window", type=_pair, metavar="LEVEL,WIDTH")
    group.add_argument("--field-mm", type=float, metavar="MM", help="side of the training field")
    group.add_argument("--plane", choices=["scan", "axial", "coronal", "sagittal"], help="(scan)")
    group.add_argument("--roi", choices=["none", "box"], help="(none)")


def _add_network(group: Any) -> None:
    group.add_argument(
        "--init",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="weights of other programs to start from (see below); may be given several times",
    )
    group.add_argument(
        "--prediction", choices=["epsilon", "sample", "v_prediction"], help="(the preset's)"
    )
    group.add_argument(
        "--freeze-encoder",
        action="store_true",
        help="the vision encoder keeps its starting weights (of one with a trunk: the trunk)",
    )
    group.add_argument(
        "--pretrain-prior",
        dest="prior_steps",
        type=int,
        default=0,
        metavar="STEPS",
        help="first let the U-Net learn mask latents alone; then it is widened with zeros",
    )
    group.add_argument("--autoencoder-steps", type=int, default=2000)
    group.add_argument("--autoencoder-lr", type=float, default=2e-3)


def _add_learning(group: Any) -> None:
    group.add_argument("--steps", type=int, default=100_000)
    group.add_argument("--batch", type=int, default=4, help="over all processes")
    group.add_argument("--base-lr", type=float, default=1e-5)
    group.add_argument("--no-scale-lr", action="store_true", help="base rate as it is")
    group.add_argument("--warmup", type=int, default=10_000, metavar="STEPS")
    group.add_argument("--decay", choices=["constant", "cosine"], default="constant")
    group.add_argument("--encoder-factor", type=float, default=1.0, help="vision encoder's rate")
    group.add_argument("--trunk-factor", type=float, default=0.3, help="its trunk's rate")
    group.add_argument("--weight-decay", type=float, default=1e-2)
    group.add_argument("--clip", type=float, default=0.0)
    group.add_argument("--ema-decay", type=float, default=0.9999)
    group.add_argument("--ema-all", action="store_true", help="average the vision encoder too")
    group.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    group.add_argument(
        "--latent-variants",
        type=int,
        default=0,
        metavar="N",
        help="positions of each picture whose mask latents are kept; 0: always new ones",
    )
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--val-every", type=int, default=200, metavar="STEPS")
    group.add_argument("--checkpoint-every", type=int, default=200, metavar="STEPS")
    group.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def _add_objective(group: Any) -> None:
    group.add_argument("--lambda", dest="latent_lambda", type=float, default=1.0)
    group.add_argument("--sdseg-weight", type=float, default=1.0)
    group.add_argument("--mask-weight", type=float, default=0.0)
    group.add_argument("--pyramid-weight", type=float, default=0.0)
    group.add_argument(
        "--mask-crop",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="side of the part of each picture that the mask term looks at",
    )
    group.add_argument(
        "--last-share",
        type=float,
        default=0.0,
        help="share of the samples at T-1, the rest uniform",
    )


def _add_augmentation(group: Any) -> None:
    group.add_argument("--flips", choices=["", "h", "v", "hv"], default="hv")
    group.add_argument("--scale", type=_pair, default=(1.0, 1.0), metavar="FROM,TO")
    for name, default in (
        ("rotate", 0.0), ("aspect", 0.0), ("shift", 0.0), ("gamma", 1.0), ("contrast", 0.0),
        ("brightness", 0.0), ("colour", 0.0), ("saturation", 0.0), ("blur", 0.0), ("noise", 0.0),
    ):  # fmt: skip
        group.add_argument(f"--{name}", type=float, default=default)
    group.add_argument(
        "--levels", type=_pair, default=(0.0, 1.0), metavar="LOW,HIGH", help="random window"
    )
    group.add_argument("--jpeg", type=float, default=100.0, metavar="QUALITY", help="lowest")
    group.add_argument(
        "--effects",
        type=_effects,
        default=(),
        metavar="NAME=CHANCE,...",
        help="MONAI's transforms: bias_field, low_resolution, gibbs, histogram, sharpen, rician, "
        "dropout",
    )
    group.add_argument(
        "--empty-share",
        type=float,
        default=0.0,
        help="share of the pictures shown without their target, from closer by",
    )


def _pair(text: str) -> tuple[float, float]:
    first, second = (float(x) for x in text.split(","))
    return first, second


EFFECT_NAMES = (
    "bias_field", "low_resolution", "gibbs", "histogram", "sharpen", "rician", "dropout",
)  # fmt: skip


def _effects(text: str) -> tuple[tuple[str, float], ...]:
    """``gibbs=0.2,dropout=0.1`` as pairs."""
    found: list[tuple[str, float]] = []
    for word in text.split(","):
        name, _, chance = word.partition("=")
        if name not in EFFECT_NAMES:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(EFFECT_NAMES)}")
        try:
            share = float(chance)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{word}': write NAME=CHANCE") from error
        if not 0.0 <= share <= 1.0:
            raise argparse.ArgumentTypeError(f"'{word}': a chance lies between 0 and 1")
        found.append((name, share))
    return tuple(found)


def parse_target(text: str) -> Target:
    """``disc=1,2`` as a target.

    Raises:
        UserError: it does not look like that.
    """
    name, _, ids = text.partition("=")
    if not name or not all(x.strip().isdigit() for x in ids.split(",")):
        raise UserError(f"The target '{text}' is not understood.", hint="Write NAME=1 or NAME=1,2.")
    return Target(name.strip(), tuple(int(x) for x in ids.split(",")))


def _target(text: str) -> Target:
    """A target for argparse: what is not understood is wrong usage."""
    try:
        target = parse_target(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.hint}") from error
    if not all(1 <= n <= 255 for n in target.class_ids):
        raise argparse.ArgumentTypeError(f"'{text}': class ids are 1 to 255")
    return target
