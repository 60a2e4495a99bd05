"""Everything a training run can be told; the defaults are the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.domain.targets import Target
from engine.models.schema import Preprocessing
from engine.training.split import Split


@dataclass(frozen=True)
class Augmentation:
    """Random changes of picture and mask; each range is drawn uniformly, anew for each picture.

    Attributes:
        flips: "h", "v", "hv" or "".
        rotate: largest angle in degrees, either way.
        scale: (smallest, largest) zoom.
        aspect: largest relative stretch of one axis against the other.
        shift: largest shift as a share of the picture.
        gamma: largest exponent or its inverse (1 = off).
        contrast: largest relative change.
        brightness: largest added value, of the range -1..1.
        colour: largest relative gain of a single colour channel.
        saturation: largest relative change of saturation (colour pictures only).
        blur: largest standard deviation of a Gaussian blur, in pixels.
        noise: largest standard deviation of added noise, of the range -1..1.
        levels: (largest lower end, smallest upper end) of a random window on the range 0..1;
            (0, 1) leaves it as it is.
        floor: of CT: largest grey, 0..1, that black tissue inside the body is raised to.
        jpeg: lowest quality of JPEG for half of the pictures; 100 = off.
        effects: (name in `engine.training.effects`, chance) of MONAI's transforms.
        empty_share: share of the pictures that are replaced by a closer view without the target,
            where there is one.
    """

    flips: str = "hv"
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    aspect: float = 0.0
    shift: float = 0.0
    gamma: float = 1.0
    contrast: float = 0.0
    brightness: float = 0.0
    colour: float = 0.0
    saturation: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    levels: tuple[float, float] = (0.0, 1.0)
    floor: float = 0.0
    jpeg: float = 100.0
    effects: tuple[tuple[str, float], ...] = ()
    empty_share: float = 0.0


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        latent_lambda: lambda of eq. 3, the weight of L1(z0) against L1(noise).
        sdseg_weight: weight of eq. 3 as a whole.
        mask_weight: weight of the mask term (cross-entropy + Dice of the decoded mask); 0 = paper.
        sdseg_share: share of the pictures of a batch that eq. 3 and the mask term are computed for;
            the others train the vision encoder through the pyramid's mask term alone, which
            costs less time.
        pyramid_weight: weight of a second mask term straight on the trunk's pyramid, dropped after
            training; 0 = paper.
        mask_crop: side of the part of each picture that the mask term decodes, as a share of the
            picture's; a part costs less time than the whole.
        last_share: share of the samples trained at T-1, the rest uniform; 0 = paper.
    """

    latent_lambda: float = 1.0
    sdseg_weight: float = 1.0
    mask_weight: float = 0.0
    sdseg_share: float = 1.0
    pyramid_weight: float = 0.0
    mask_crop: float = 1.0
    last_share: float = 0.0


@dataclass(frozen=True)
class Optimisation:
    """How it is minimised.

    Attributes:
        steps, batch: number of updates and pictures an update.
        minutes: ends after so many minutes of this process even if steps are left; 0 = never.
        base_lr: learning rate a picture of the batch (the authors' code scales by the batch).
        scale_lr: False to use `base_lr` as it is.
        warmup: steps of linear warm-up.
        decay: "constant" after the warm-up, or "cosine" to zero.
        encoder_factor: learning rate of the vision encoder, its trunk apart, against the U-Net's.
        trunk_factor: learning rate of a pre-trained trunk against the U-Net's.
        freeze_encoder: the vision encoder keeps its starting weights; of one with a trunk the trunk
            alone, since its pyramid has none to start from.
        latent_variants: geometric variants of each picture whose mask latents are kept (mean and
            log-variance, sampled anew at each step); 0 = a new variant and its latent each time.
        prior_steps: steps that the U-Net learns mask latents alone, without pictures, first.
        weight_decay: of AdamW.
        clip: largest norm of the gradient; 0 = not clipped.
        ema_decay: cap of the moving average's decay.
        ema_all: average the vision encoder too; the paper's code averages the U-Net alone.
        precision: "fp32" or "bf16" (autocast in the forward pass).
        autoencoder_steps, autoencoder_lr: of the compact autoencoder, trained first on the masks.
        autoencoder_coverage: weight of its term that gives each class a latent channel of its own.
    """

    steps: int = 100_000
    batch: int = 4
    minutes: float = 0.0
    base_lr: float = 1e-5
    scale_lr: bool = True
    warmup: int = 10_000
    decay: Literal["constant", "cosine"] = "constant"
    encoder_factor: float = 1.0
    trunk_factor: float = 0.3
    freeze_encoder: bool = False
    latent_variants: int = 0
    prior_steps: int = 0
    weight_decay: float = 1e-2
    clip: float = 0.0
    ema_decay: float = 0.9999
    ema_all: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    autoencoder_steps: int = 2000
    autoencoder_lr: float = 2e-3
    autoencoder_coverage: float = 0.0

    @property
    def learning_rate(self) -> float:
        """The rate after the warm-up."""
        return self.base_lr * self.batch if self.scale_lr else self.base_lr


@dataclass(frozen=True)
class Identity:
    """What the card and model.json say about the result."""

    name: str
    title: str = ""
    kind: str = ""
    modalities: tuple[str, ...] = ("picture",)
    data: str = ""
    licence: str = ""
    notes: str = ""


@dataclass(frozen=True)
class TrainOptions:
    """One training run.

    Attributes:
        images, masks: folders whose files pair up by stem.
        train, val, test: text files with one stem a line; `test` is only scored at the end.
        dealt: cases of projects to use instead of those files. `images`, `masks` and `test` are
            then not looked at; `train` and `val` are written.
        patients: file that tells which cases are of one patient, or None (`patients.check_sides`).
        named_values: mask values that labels.json names; others must belong to a target.
        output: the model folder to write; the run's own files lie in `OUTPUT.run` beside it.
        targets: what the model finds. Of a single one all mask values become one class, 1; of
            several the mask values stay the class ids (`class_ids`).
        class_names: of the class ids; an id without one is called after its target or number.
        preset: name of an `SDSegConfig`; None is the base model's, or `paper` without one.
        prediction_type: what the U-Net predicts; None is the preset's or the base model's.
        start: model folder to start from (the base model), or None.
        init: files and folders of other programs' weights to start from.
        command: the command line, for the lineage.
        recipe: name of the recipe, for the lineage.
        more_scores: JSON file of figures for the card that this run does not measure, or None.
        tensorboard: write the curves for TensorBoard too.
    """

    images: Path
    masks: Path
    train: Path
    val: Path
    output: Path
    targets: tuple[Target, ...]
    preprocessing: Preprocessing
    identity: Identity
    test: Path | None = None
    dealt: Split | None = None
    patients: Path | None = None
    named_values: frozenset[int] = frozenset()
    class_names: Mapping[int, str] = field(default_factory=dict)
    preset: str | None = None
    prediction_type: Literal["epsilon", "sample", "v_prediction"] | None = None
    plane: Literal["scan", "axial", "coronal", "sagittal"] = "scan"
    roi: Literal["none", "box"] = "none"
    start: Path | None = None
    init: tuple[Path, ...] = ()
    objective: Objective = field(default_factory=Objective)
    optimisation: Optimisation = field(default_factory=Optimisation)
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    val_every: int = 200
    checkpoint_every: int = 200
    resume: bool = False
    threads: int = 0
    command: str = ""
    recipe: str = ""
    more_scores: Path | None = None
    tensorboard: bool = False

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The mask values of each class that the network tells apart, in order."""
        if len(self.targets) == 1:
            return (self.targets[0].class_ids,)
        return tuple((n,) for n in sorted({n for t in self.targets for n in t.class_ids}))

    @property
    def classes(self) -> dict[int, str]:
        """Class id of the model -> name."""
        if len(self.targets) == 1:
            return {1: self.targets[0].name}
        alone = {t.class_ids[0]: t.name for t in self.targets if len(t.class_ids) == 1}
        names = {n: f"class {n}" for (n,) in self.groups} | alone | dict(self.class_names)
        return {n: names[n] for (n,) in self.groups}

    @property
    def run_folder(self) -> Path:
        """Checkpoints and curves of the run."""
        return self.output.with_name(self.output.name + ".run")
