"""The fields of `model.json`; see docs/adr/0005-model-folder.md.

A model folder holds one sub-folder a part (`autoencoder/`, `unet/`, `vision_encoder/`, each with
config.json and diffusion_pytorch_model.safetensors), `model.json` and `CARD.md`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

PARTS = ("autoencoder", "unet", "vision_encoder")
WEIGHTS = "diffusion_pytorch_model.safetensors"
MODEL_JSON = "model.json"
CARD = "CARD.md"
# Without these there is no network; their hashes must be known.
NEEDED = tuple(f"{part}/{name}" for part in PARTS for name in ("config.json", WEIGHTS))
MAX_SIZE = 2048
CHANNELS = 3  # of a mask picture
ClassId = Annotated[int, Field(ge=1, le=255)]
Finite = Field(gt=0, allow_inf_nan=False)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetEntry(_Frozen):
    """A target: a name and the class ids that make it up."""

    name: str
    class_ids: tuple[ClassId, ...] = Field(min_length=1)


class Preprocessing(_Frozen):
    """From a slice to what the network sees: 3 channels, `size` x `size`, [-1, 1].

    Attributes:
        size: side of the network's picture in pixels; a multiple of 32.
        channels: "rgb" (grey is repeated), "grey" (colour is turned grey, then repeated), or
            "neighbours" (the slices before, at and behind, as the three channels).
        fit: "squeeze" to the square, or "pad" to a square in the picture's own proportions.
        intensity: how real values become [-1, 1]: "full" (8-bit values as they are, else as
            "percentile"), "percentile" (1 % to 99 % of the region's values), "window" (level,
            width), "window_extremes" (clipped to the window, then the smallest and the largest
            value of the whole scan), or "window_or_full" (8-bit values as they are, since somebody
            has windowed them already; others by the window).
        window: (level, width) for the last three.
        resample: "area" (linear, antialiased), "corners" (linear, corner voxels on corner pixels),
            "pillow_bilinear" or "pillow_bicubic" (Pillow's own on 8-bit pictures).
        layout: "shown", or "file": rows along the file's first axis, columns along its second, as
            nibabel gives a slice.
        field_mm: side of the square, in mm, that fills the network's picture; None for pictures
            without calibration. Larger regions are covered by their whole extent instead.
    """

    size: int = Field(ge=32, le=MAX_SIZE, multiple_of=32)
    channels: Literal["rgb", "grey", "neighbours"] = "rgb"
    fit: Literal["squeeze", "pad"] = "squeeze"
    intensity: Literal["full", "percentile", "window", "window_extremes", "window_or_full"] = "full"
    window: tuple[float, float] | None = None
    field_mm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    resample: Literal["area", "corners", "pillow_bilinear", "pillow_bicubic"] = "area"
    layout: Literal["shown", "file"] = "shown"

    @model_validator(mode="after")
    def _window_is_known(self) -> Preprocessing:
        if self.intensity.startswith("window") and (self.window is None or not self.window[1] > 0):
            raise ValueError("a window needs a level and a positive width")
        return self


class Schedule(_Frozen):
    """The noise schedule, `scaled_linear` of Stable Diffusion."""

    train_timesteps: int = Field(default=1000, ge=1, le=100_000)
    beta_start: float = Field(default=0.0015, gt=0, lt=1)
    beta_end: float = Field(default=0.0155, gt=0, lt=1)


class FitStatistic(_Frozen):
    """Tells pictures like the training ones from others, by pooled deep features of a fixed trunk.

    The distance of a feature vector x, standardised as ``s = (x - mean) / spread``, is the root
    mean square of two parts: the mean over directions of ``((s @ basis) / scale)**2``, and
    ``(|s - s @ basis @ basis.T| / rest)**2``. The arrays are in `fit.safetensors`.

    Attributes:
        threshold: a larger distance means that the model does not fit.
        modalities: `Volume.modality` values the model was made for ("picture" for plain ones).
        colour: True for colour pictures, False for grey ones, None for both.
        trunk_sha256: hash of the trunk's file that the statistic was measured with.
    """

    threshold: float = Finite
    modalities: tuple[str, ...]
    colour: bool | None = None
    trunk_sha256: str = ""


class Lineage(_Frozen):
    """Where the weights come from."""

    parent_sha256: str | None = None
    initial_weights: tuple[str, ...] = ()
    data: str = ""
    train_cases: int = 0
    command: str = ""
    steps: int = 0
    cpu_minutes: float = 0.0
    recipe: str = ""


class ModelInfo(_Frozen):
    """All of `model.json`.

    Attributes:
        format_version: of this file.
        name: identifier, also the folder's usual name.
        title: what a person reads in the list of models.
        preset: "paper" or "compact".
        kind: kind of picture in words ("chest radiograph").
        classes: class id -> name, without background.
        targets: what can be asked for.
        class_coding: "binary" (the mask picture's channels are equal), "embed" (a pass a class) or
            "channels" (each channel holds a class, in the order of the ids; two or three classes).
        preprocessing: from a slice to the network's picture.
        plane: "scan" (the scan's own), "axial", "coronal" or "sagittal".
        roi: "none", or "box" where a region of interest is expected on volumes much larger than
            the training field.
        schedule: the noise schedule.
        trained_timesteps: "last" (T-1 only), "mixed" (half of the steps T-1, the rest uniform)
            or "uniform".
        prediction_type: of the U-Net; "sample" is the clean latent.
        vision_encoder: "published" or "trunk".
        decoder: "full", or "mask" where a distilled mask decoder is the default.
        scale_factor: latents are multiplied by it.
        precision: of the stored weights.
        default_batch: slices a batch, part of what equal bytes depend on.
        softmax_temperature: for class maps of several classes.
        fit: how to tell whether a picture suits the model; None if it was not measured.
        hashes: relative file name -> SHA-256 of every other file that decides the answer.
        lineage: where the weights come from.
        scores: figures of the card, name -> value.
        departures: how the model differs from the paper, one sentence each.
        licence: of the weights.
    """

    format_version: Literal[1] = 1
    name: str
    title: str
    preset: Literal["paper", "compact"]
    kind: str = ""
    classes: dict[ClassId, str] = Field(min_length=1)
    targets: tuple[TargetEntry, ...] = Field(min_length=1)
    class_coding: Literal["binary", "embed", "channels"] = "binary"
    preprocessing: Preprocessing
    plane: Literal["scan", "axial", "coronal", "sagittal"] = "scan"
    roi: Literal["none", "box"] = "none"
    schedule: Schedule = Schedule()
    trained_timesteps: Literal["last", "mixed", "uniform"] = "uniform"
    prediction_type: Literal["epsilon", "sample", "v_prediction"] = "epsilon"
    vision_encoder: Literal["published", "trunk"] = "published"
    decoder: Literal["full", "mask"] = "full"
    scale_factor: float = Finite
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    default_batch: int = Field(default=1, ge=1, le=1024)
    softmax_temperature: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    fit: FitStatistic | None = None
    hashes: dict[str, str] = {}
    lineage: Lineage = Lineage()
    scores: dict[str, Any] = {}
    departures: tuple[str, ...] = ()
    licence: str = ""

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Ids of the classes, ascending: the order of a network's maps behind the background's."""
        return tuple(sorted(self.classes))

    @model_validator(mode="after")
    def _channels_hold_the_classes(self) -> ModelInfo:
        if self.class_coding == "channels" and not 2 <= len(self.classes) <= CHANNELS:
            raise ValueError("the channels of a mask picture hold two or three classes")
        return self

    @field_validator("hashes")
    @classmethod
    def _names_stay_inside(cls, hashes: dict[str, str]) -> dict[str, str]:
        """A hash must not lead a reader to a file outside the folder."""
        for name in hashes:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
                raise ValueError(f"{name} leaves the model's folder")
        return hashes
