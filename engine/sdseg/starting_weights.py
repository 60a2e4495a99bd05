"""Filling a fresh network from other programs' weights, with an account of what did not fit.

The network's architecture stays. A tensor is copied where name and shape are the same. The
autoencoder must fit as a whole, since half of one is none. The U-Net takes what fits, and its first
convolution is widened with zeros for the channels of the condition latent, as the authors do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError
from engine.sdseg import ldm
from engine.sdseg.config import LATENT_CHANNELS, SDSegConfig, UNetConfig
from engine.sdseg.foreign import HINT, Kind, Source
from engine.sdseg.network import SDSegNetwork

CONV_IN = "conv_in.weight"
NAMES: dict[Kind, str] = {"autoencoder": "autoencoder", "unet": "U-Net"}
# Settings of diffusers that no tensor shows, and that change what the same tensors compute.
AUTOENCODER_SETTINGS = ("norm_num_groups", "act_fn")
UNET_SETTINGS = (
    "act_fn", "center_input_sample", "downsample_padding", "downsample_type", "flip_sin_to_cos",
    "freq_shift", "mid_block_scale_factor", "norm_eps", "norm_num_groups",
    "resnet_time_scale_shift", "time_embedding_type", "upsample_type",
)  # fmt: skip
WANTED_SIZES = "Train with the preset whose sizes these are, or leave --init out."


@dataclass(frozen=True)
class PartReport:
    """What became of one source.

    Attributes:
        source: its label.
        sha256: of the file as it was given.
        part: "autoencoder" or "U-Net".
        weights: "averaged weights", "last weights" or "".
        wanted: number of tensors that the part has here.
        fitted: names of those that were filled, the widened one included.
        widened: name -> channels before and after.
        misfits: name -> shape in the file and shape wanted; left fresh.
        missing: names that the file lacks; left fresh.
        left_over: names in the file that have no place here.
        settings: settings that differ from ours, each as a few words.
    """

    source: str
    sha256: str
    part: str
    weights: str
    wanted: int
    fitted: tuple[str, ...]
    widened: dict[str, tuple[int, int]] = field(default_factory=dict)
    misfits: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def fresh(self) -> tuple[str, ...]:
        """The tensors that keep their fresh weights."""
        return (*self.missing, *self.misfits)

    @property
    def sentence(self) -> str:
        """One sentence for the lineage."""
        head = f"{self.source} (sha256 {self.sha256}): {self.part}"
        head += f", {self.weights}" if self.weights else ""
        if len(self.fitted) == self.wanted and not self.widened:
            words = [f"{self.wanted} tensors, all fitted"]
        else:
            words = [f"{len(self.fitted)} of {self.wanted} tensors fitted"]
        for name, (before, after) in self.widened.items():
            words.append(f"{name.removesuffix('.weight')} widened {before} -> {after} with zeros")
        if self.part == NAMES["unet"]:
            words.append(f"{len(self.fresh)} left fresh")
        if self.left_over:
            words.append(f"{len(self.left_over)} of the file left over")
        if self.settings:
            words.append(f"other settings: {'; '.join(self.settings)}")
        return f"{head}, {', '.join(words)}"


def check_distinct(sources: Sequence[Source]) -> None:
    """Refuses two sources of one part.

    Raises:
        UserError: naming both.
    """
    seen: dict[Kind, str] = {}
    for source in sources:
        if source.kind in seen:
            raise UserError(
                f"{seen[source.kind]} and {source.label} both hold the {NAMES[source.kind]}.",
                hint="Name one of them; of a pipeline or checkpoint with both parts, one part "
                "can be given as its own folder or file.",
            )
        seen[source.kind] = source.label


def fill_part(network: SDSegNetwork, config: SDSegConfig, source: Source) -> PartReport:
    """Copies a source's tensors into the network.

    Args:
        network: with fresh weights; its autoencoder or U-Net is changed in place.
        config: what the network was built from.
        source: one part.

    Raises:
        UserError: the part does not fit, naming the sizes found and wanted; nothing was copied.
    """
    if source.kind == "autoencoder":
        return _fill_autoencoder(network, config, source)
    return _fill_unet(network, config, source)


def _fill_autoencoder(network: SDSegNetwork, config: SDSegConfig, source: Source) -> PartReport:
    module: nn.Module = network.autoencoder
    tensors = source.read()
    if source.dialect == "ldm":
        state = _autoencoder_of_ldm(source, tensors)
    else:
        state = _modern(module, tensors)
        differing = _differing(source, network.autoencoder.config, AUTOENCODER_SETTINGS)
        if differing:
            raise UserError(f"The autoencoder of {source.label} has {differing[0]}.", hint=HINT)
    report = _compared(module, source, state)
    if report.fresh or len(state) != report.wanted:
        raise _wrong_sizes(source, state, config.autoencoder.block_out_channels, report)
    _copy(module, state)
    return report


def _autoencoder_of_ldm(source: Source, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        state = ldm.autoencoder_state(tensors, ldm.autoencoder_config(tensors))
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise UserError(f"{source.label} holds no autoencoder.", hint=HINT) from error
    if len(state) != len(tensors):
        raise UserError(
            f"The autoencoder of {source.label} has tensors that are not understood.", hint=HINT
        )
    return state


def _fill_unet(network: SDSegNetwork, config: SDSegConfig, source: Source) -> PartReport:
    module: nn.Module = network.unet
    tensors = source.read()
    settings: tuple[str, ...] = ()
    if source.dialect == "ldm":
        state, unknown = ldm.known_unet_state(tensors, _layout(tensors, config.unet))
    else:
        state, unknown = _modern(module, tensors), ()
        settings = _differing(source, network.unet.config, UNET_SETTINGS)
        settings += _other_heads(source, config.unet)
    before = _widen(module, state)
    report = _compared(module, source, state, before, unknown, settings)
    # A bias as long as the latent has channels fits into any U-Net: only a matrix or kernel counts.
    if not any(state[name].ndim > 1 for name in report.fitted):
        raise _wrong_sizes(source, state, config.unet.block_out_channels, report)
    _copy(module, {name: state[name] for name in report.fitted})
    return report


def _layout(tensors: dict[str, Tensor], wanted: UNetConfig) -> UNetConfig:
    """The blocks of a U-Net by latent diffusion's names; ours where they can't be told."""
    try:
        return ldm.unet_config(tensors, wanted.heads)
    except UserError:
        return wanted


def _modern(module: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Today's names of diffusers; older files say query, key, value and proj_attn."""
    rename: Any = module
    state = dict(tensors)
    rename._fix_state_dict_keys_on_load(state)
    return state


def _widen(module: nn.Module, state: dict[str, Tensor]) -> int | None:
    """Gives the first convolution zeros for the channels of the condition latent.

    The noisy mask latent comes first, so its weights stay where they are, and at the first step the
    output does not depend on the condition.

    Returns:
        The number of channels it had, or None if nothing was widened.
    """
    wanted = module.state_dict()[CONV_IN].shape
    found = state.get(CONV_IN)
    if found is None or found.ndim != 4 or found.shape[1] != LATENT_CHANNELS:
        return None
    if wanted[1] == LATENT_CHANNELS or (found.shape[0], *found.shape[2:]) != (
        wanted[0],
        *wanted[2:],
    ):
        return None
    wide = found.new_zeros(wanted)
    wide[:, :LATENT_CHANNELS] = found
    state[CONV_IN] = wide
    return LATENT_CHANNELS


def _compared(
    module: nn.Module,
    source: Source,
    state: Mapping[str, Tensor],
    channels_before: int | None = None,
    unknown: tuple[str, ...] = (),
    settings: tuple[str, ...] = (),
) -> PartReport:
    wanted = {n: tuple(t.shape) for n, t in module.state_dict().items()}
    there = {n: tuple(t.shape) for n, t in state.items() if t.is_floating_point()}
    widened = {}
    if channels_before is not None:
        widened[CONV_IN] = (channels_before, wanted[CONV_IN][1])
    return PartReport(
        source=source.label,
        sha256=source.sha256,
        part=NAMES[source.kind],
        weights=source.weights,
        wanted=len(wanted),
        fitted=tuple(n for n, shape in wanted.items() if there.get(n) == shape),
        widened=widened,
        misfits={n: (there[n], s) for n, s in wanted.items() if there.get(n, s) != s},
        missing=tuple(n for n in wanted if n not in there),
        left_over=(*(n for n in state if n not in wanted), *unknown, *source.left_over),
        settings=settings,
    )


@torch.no_grad()
def _copy(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    own = module.state_dict()
    for name, tensor in state.items():
        own[name].copy_(tensor)


def _differing(source: Source, ours: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    theirs = source.settings
    return tuple(
        f"{name} {theirs[name]} instead of {ours[name]}"
        for name in names
        if name in theirs and name in ours and theirs[name] != ours[name]
    )


def _other_heads(source: Source, ours: UNetConfig) -> tuple[str, ...]:
    """Says so where a UNet2DModel's levels would not all have our number of heads."""
    width = source.settings.get("attention_head_dim")
    if source.settings.get("_class_name") != "UNet2DModel" or not isinstance(width, int):
        return ()
    levels = zip(ours.block_out_channels, ours.attention, strict=True)
    if width < 1 or any(attends and w // width != ours.heads for w, attends in levels):
        return (f"attention heads of {width} channels instead of {ours.heads} heads everywhere",)
    return ()


def _wrong_sizes(
    source: Source, state: Mapping[str, Tensor], wanted: tuple[int, ...], report: PartReport
) -> UserError:
    found = _widths(source.kind, state)
    part = NAMES[source.kind]
    if found and found != wanted:
        sizes = f"is {_joined(found)} channels wide; {_joined(wanted)} are wanted"
    elif report.misfits:
        name, (there, here) = next(iter(report.misfits.items()))
        sizes = f"has another shape at {name}: {list(there)}; {list(here)} is wanted"
    elif report.missing:
        sizes = f"lacks {report.missing[0]} and {len(report.missing) - 1} more tensors"
    else:
        sizes = f"has a tensor too many: {report.left_over[0]}"
    return UserError(f"The {part} of {source.label} {sizes}.", hint=WANTED_SIZES)


def _widths(kind: Kind, state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels a level, read off the first convolution of each."""
    prefix = "encoder." if kind == "autoencoder" else ""
    found: list[int] = []
    while True:
        first = state.get(f"{prefix}down_blocks.{len(found)}.resnets.0.conv1.weight")
        if first is None or first.ndim == 0:
            return tuple(found)
        found.append(first.shape[0])


def _joined(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))
