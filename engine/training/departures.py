"""How a model departs from the paper's training, as sentences for its card (docs/adr/0006)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from engine.models.schema import Preprocessing
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.options import Augmentation, Objective, Optimisation, TrainOptions
from engine.training.start import Start

PAPER_SIZE = 256
# Field of `Optimisation` -> words; what is left out concerns parts that the paper does not have.
OPTIMISATION = {
    "steps": "steps", "batch": "batch", "learning_rate": "learning rate", "warmup": "warm-up steps",
    "decay": "decay of the rate", "encoder_factor": "the vision encoder's rate times",
    "weight_decay": "weight decay", "clip": "clipping of the "
    "gradient", "ema_decay": "decay of the averages", "precision": "precision",
}  # fmt: skip


def departures(options: TrainOptions, start: Start) -> tuple[str, ...]:
    """Every difference from the paper, one sentence each; () for the paper's own training.

    Where the paper is silent its code counts. A model that another one was made from hands its
    departures on.
    """
    found = [
        *(start.base.departures if start.base else ()),
        *_of_weights(start),
        *_of_network(start),
        *_of_objective(options.objective),
        *_of_optimisation(options.optimisation),
        *start.changes,
        *_of_pictures(options.preprocessing, options.augmentation),
    ]
    return tuple(dict.fromkeys(found))


def _of_weights(start: Start) -> Iterator[str]:
    if start.base is not None:
        yield f"The training started from the model {start.base.name}."
    for what in start.fresh:
        if what == "autoencoder":
            yield "The autoencoder started from fresh weights and was trained on masks alone."
        elif what == "U-Net":
            yield "The U-Net started from fresh weights, not from a latent diffusion model's."
        else:
            yield f"Fresh weights at the start: {what}."


def _of_network(start: Start) -> Iterator[str]:
    network = start.network
    if network.channel_classes > 1:
        yield "Several classes are coded in the mask picture's channels; the paper has one target."
    if start.preset != "paper" and start.base is None:
        yield "The network is narrower."
    if isinstance(network.vision_encoder, TrunkVisionEncoder):
        channels = network.vision_encoder.config["condition_channels"]
        yield (
            "The vision encoder is a pre-trained EfficientNet-Lite0 with a feature pyramid; its "
            f"condition latent has {channels} channels."
        )
    if network.prediction_type == "sample":
        yield "The U-Net predicts the clean latent; the noise follows from it by eq. 1."
    elif network.prediction_type != "epsilon":
        yield "The U-Net predicts the velocity; noise and clean latent follow from it by eq. 1."


def _of_objective(objective: Objective) -> Iterator[str]:
    if objective.latent_lambda != 1:
        yield f"Lambda of eq. 3 is {objective.latent_lambda:g} (paper: 1)."
    if objective.sdseg_weight != 1 and (objective.mask_weight or objective.pyramid_weight):
        yield f"Eq. 3 as a whole has the weight {objective.sdseg_weight:g} beside other terms."
    elif objective.sdseg_weight != 1:
        yield f"Eq. 3 as a whole has the weight {objective.sdseg_weight:g}."
    if objective.mask_weight:
        part = "" if objective.mask_crop >= 1 else ", of a random part of each picture"
        yield f"The decoded mask is a term of the loss (cross-entropy and Dice{part})."
    if objective.sdseg_share < 1:
        yield f"Eq. 3 was computed for {objective.sdseg_share:.0%} of the pictures of each batch."
    if objective.pyramid_weight:
        yield "A second mask term on the pyramid was used while training, then dropped."
    if objective.last_share:
        yield f"{objective.last_share:.0%} of the samples were trained at T-1."


def _of_optimisation(rules: Optimisation) -> Iterator[str]:
    if rules.freeze_encoder:
        yield "The vision encoder's pre-trained part was frozen."
    if rules.prior_steps:
        yield f"The U-Net learnt mask latents alone for {rules.prior_steps} steps first."
    if rules.autoencoder_coverage:
        yield "The autoencoder learnt to keep in a latent channel what each class covers of a cell."
    if rules.latent_variants:
        yield f"Each picture was seen in {rules.latent_variants} fixed positions."
    if rules.ema_all:
        yield "The vision encoder's weights are averaged too."
    paper = Optimisation()
    differing = [
        f"{words} {_told(getattr(rules, name))} (paper: {_told(getattr(paper, name))})"
        for name, words in OPTIMISATION.items()
        if getattr(rules, name) != getattr(paper, name)
    ]
    if differing:
        yield f"Optimisation: {', '.join(differing)}."


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_pictures(rules: Preprocessing, augmentation: Augmentation) -> Iterator[str]:
    if rules.size != PAPER_SIZE:
        yield f"Pictures have {rules.size} x {rules.size} pixels (paper: 256 x 256)."
    if rules.fit == "pad":
        yield "Pictures are padded to a square, not squeezed."
    if rules.channels == "neighbours":
        yield "The network sees the neighbouring slices in its colour channels."
    paper = Augmentation()
    if augmentation.flips != paper.flips:
        yield f"Flips: {augmentation.flips or 'none'} (paper: {paper.flips})."
    names = [f.name for f in fields(Augmentation) if f.name != "flips"]
    more = [
        n.replace("_", " ") for n in names
        if n not in ("effects", "empty_share") and getattr(augmentation, n) != getattr(paper, n)
    ]  # fmt: skip
    more += [name.replace("_", " ") for name, _ in augmentation.effects]
    if augmentation.empty_share:
        share = f"{augmentation.empty_share:.0%}"
        yield f"In {share} of the pictures a view without the target is sought."
    if more:
        yield f"Augmentation beyond flips: {', '.join(more)}."
