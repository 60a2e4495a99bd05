"""Which rows there are: a setting on a data set, and what each stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal

from engine.domain.targets import Target

CPU_PER_MINUTE = 2.0  # a minute stands for two minutes of processor time: both cores of a laptop
MINUTES = 10.0
BASE = "published"


@dataclass(frozen=True)
class DataSet:
    """One data set as the tables use it: a single target, as in the paper.

    Attributes:
        folder: of the data.
        target: what is found.
        recipe: in resources/recipes, of the built-in model.
        preparation: of pictures, beside the size.
        test: split files that are scored together. Nothing is chosen on val, so it may be scored.
    """

    folder: str
    target: Target
    recipe: str
    preparation: dict[str, Any] = field(default_factory=dict)
    test: tuple[str, ...] = ("test.txt",)


DATA_SETS = {
    "polyp": DataSet("polyp", Target("polyp", (1,)), "polyp"),
    "cup": DataSet("fundus_disc_cup", Target("cup", (2,)), "fundus-disc-cup"),
    "ct": DataSet(
        "ct_abdomen_2d",
        Target("organs", (1, 2, 3)),
        "ct-abdomen",
        {"channels": "grey"},
        ("val.txt", "test.txt"),  # test.txt alone is one patient
    ),
}


@dataclass(frozen=True)
class Setting:
    """How a row trains. What is not said here is the same for all.

    Attributes:
        title: what the tables call it.
        changes: one sentence for the document: how it differs from `BASE`.
        vision: kind of vision encoder.
        prediction: what the U-Net predicts.
        latent_lambda: of eq. 3.
        frozen: the vision encoder keeps its starting weights.
        conditioning: how the condition latent reaches the U-Net.
        objective: other fields of `engine.training.options.Objective`.
        recipe: the built-in recipe's objective, optimisation and augmentation; `objective` then
            changes the recipe's.
    """

    title: str
    changes: str
    vision: Literal["published", "trunk"] = "published"
    prediction: Literal["epsilon", "sample", "v_prediction"] = "epsilon"
    latent_lambda: float = 1.0
    frozen: bool = False
    conditioning: Literal["concatenated", "attention"] = "concatenated"
    objective: dict[str, float] = field(default_factory=dict)
    recipe: bool = False


NO_MASK_TERM = {"mask_weight": 0.0, "pyramid_weight": 0.0, "sdseg_weight": 1.0}
ALL: dict[str, Any] = {"vision": "trunk", "prediction": "sample", "recipe": True}
SETTINGS = {
    BASE: Setting("as published, compact", "noise prediction, t uniform, no mask term, lambda 1"),
    "clean": Setting(
        "+ clean-latent prediction", "the U-Net predicts the clean latent", prediction="sample"
    ),
    "velocity": Setting(
        "+ velocity prediction", "the U-Net predicts the velocity", prediction="v_prediction"
    ),
    "mask": Setting(
        "+ mask term",
        "cross-entropy and Dice of the decoded mask, weight 1",
        objective={"mask_weight": 1.0},
    ),
    "last": Setting(
        "+ share of T-1",
        "half of the samples at T-1, the rest uniform",
        objective={"last_share": 0.5},
    ),
    "trunk": Setting(
        "+ trunk",
        "vision encoder on EfficientNet-Lite0 (ImageNet); its condition latent has 16 channels",
        vision="trunk",
    ),
    "all": Setting("all departures", "the built-in recipe, its augmentation included", **ALL),
    "attention-frozen": Setting(
        "cross-attention, frozen encoder, lambda 0",
        "the condition latent as tokens of cross-attention; encoder frozen; no latent estimation",
        latent_lambda=0.0,
        frozen=True,
        conditioning="attention",
    ),
    "concat-frozen": Setting(
        "+ concatenation",
        "concatenated; encoder frozen; no latent estimation",
        latent_lambda=0.0,
        frozen=True,
    ),
    "concat-trained": Setting(
        "+ trainable encoder", "no latent estimation (lambda 0)", latent_lambda=0.0
    ),
    "all-noise": Setting(
        "all but clean-latent prediction",
        "the recipe with noise prediction",
        **{**ALL, "prediction": "epsilon"},
    ),
    "all-no-mask": Setting(
        "all but the mask terms", "the recipe with eq. 3 alone", objective=NO_MASK_TERM, **ALL
    ),
    "all-uniform": Setting(
        "all but the share of T-1", "the recipe, t uniform", objective={"last_share": 0.0}, **ALL
    ),
    "all-published": Setting(
        "all but the trunk",
        "the recipe with the published kind of vision encoder, hence no pyramid term",
        objective={"pyramid_weight": 0.0},
        **{**ALL, "vision": "published"},
    ),
}
DEPARTURES = (BASE, "clean", "velocity", "mask", "last", "trunk", "all")
LEAVE_ONE_OUT = ("all-noise", "all-no-mask", "all-uniform", "all-published")
ABLATION = ("attention-frozen", "concat-frozen", "concat-trained", BASE)  # table 6, in its order
# What is measured beside Dice over DDIM steps. Speed and stability: tables 4 and 5; watched: the
# condition latents of figure 6.
TIMED = (("published", "ct"),)
STABLE = tuple((s, d) for s in (BASE, "all") for d in DATA_SETS)
WATCHED = tuple((BASE, d) for d in DATA_SETS)
CONVERGENCE = tuple((s, d) for s in ("concat-trained", BASE) for d in ("cup", "ct"))  # figure 3
STEPS, MORE_STEPS = (1, 2, 5, 10), (1, 2, 3, 5, 10, 20, 50)


@dataclass(frozen=True)
class Row:
    """A training run and what is measured on it.

    Attributes:
        setting: of `SETTINGS`.
        data_set: of `DATA_SETS`.
        extra: only done where it is named.
    """

    setting: str
    data_set: str
    extra: bool = False

    @property
    def name(self) -> str:
        """Of its result's file."""
        return f"{self.setting}-{self.data_set}"

    @property
    def key(self) -> tuple[str, str]:
        """Setting and data set."""
        return self.setting, self.data_set

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of DDIM steps that are scored."""
        return MORE_STEPS if self.key in CONVERGENCE else STEPS


def planned() -> list[Row]:
    """All rows, the ones that most depends on first; extra rows last."""
    rows = [Row(BASE, d) for d in DATA_SETS] + [Row("all", d) for d in DATA_SETS]
    rows += [Row(s, d) for d in ("ct", "cup") for s in reversed(ABLATION) if s != BASE]
    rows += [Row(s, "polyp") for s in ("clean", "mask", "trunk")]
    rows += [Row(s, "polyp", extra=True) for s in ("last", "velocity", *LEAVE_ONE_OUT)]
    singles = [s for s in DEPARTURES if s not in (BASE, "all")]
    return rows + [Row(s, d, extra=True) for d in ("cup", "ct") for s in singles]


def chosen(words: list[str] | None) -> list[Row]:
    """Rows whose name matches a word (``*-polyp``, ``published-ct``); None: all but the extra.

    An extra row is only taken where its full name is given: hours depend on it.
    """
    if words is None:
        return [row for row in planned() if not row.extra]
    return [
        row for row in planned()
        if row.name in words or (not row.extra and any(fnmatch(row.name, w) for w in words))
    ]  # fmt: skip
