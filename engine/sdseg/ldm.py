"""The authors' checkpoints in terms of our network: sizes read off the tensors, names translated.

The authors build on latent diffusion (Rombach et al., CVPR 2022); so do files called LDM or kl-f8.
A U-Net there is a row of input blocks, a middle and a row of output blocks: with r residual blocks
a level, input block n > 0 is layer (n - 1) % (r + 1) of level (n - 1) // (r + 1), whose last layer
goes down, and output block n is layer n % (r + 1) of level n // (r + 1), counted from the deepest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from engine.errors import UserError
from engine.sdseg.config import AutoencoderConfig, UNetConfig

Tensors = Mapping[str, Tensor]
HEADS = 8  # neither can be seen in the tensors
DROPOUT = 0.2

_OUTER = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "proj_out": "to_out.0"}
_QKV = ("to_q", "to_k", "to_v")


def unet_config(tensors: Tensors, heads: int = HEADS, dropout: float = DROPOUT) -> UNetConfig:
    """The sizes of a U-Net.

    Args:
        tensors: by their names in latent diffusion, without a prefix.
        heads, dropout: as trained; the tensors do not tell.

    Raises:
        UserError: it is not such a U-Net, or not one with the sizes we can build.
    """
    try:
        count = _count(tensors, "output_blocks")
        layers = _layers_per_level(tensors, count)
        levels = count // (layers + 1)
        # The first residual block of each level tells its width and whether its level attends.
        firsts = [1 + level * (layers + 1) for level in range(levels)]
        widths = tuple(tensors[f"input_blocks.{n}.0.out_layers.3.weight"].shape[0] for n in firsts)
        attention = tuple(f"input_blocks.{n}.1.qkv.weight" in tensors for n in firsts)
        width = tensors["time_embed.0.weight"].shape[1]
        embedded = tensors["input_blocks.1.0.emb_layers.1.weight"].shape[0]
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise _unknown("U-Net") from error
    if levels * (layers + 1) != count or embedded != 2 * widths[0] or widths[0] != width:
        raise _unknown("U-Net")
    if any(w < 1 or w % heads or w % 32 for w in widths):
        raise UserError(
            f"The U-Net is {', '.join(map(str, widths))} channels wide, which {heads} heads and "
            "groups of 32 do not divide.",
            hint="Name the number of heads in the file given with --config.",
        )
    classes = tensors["label_emb.weight"].shape[0] if "label_emb.weight" in tensors else None
    return UNetConfig(widths, attention, layers, heads, dropout, 32, True, classes)


def _layers_per_level(tensors: Tensors, count: int) -> int:
    """Residual blocks a level: the first output block that goes up is the last of its level."""
    for n in range(count):
        if any(f"output_blocks.{n}.{k}.in_layers.2.weight" in tensors for k in (1, 2)):
            return n
    return count - 1  # a single level


def _count(tensors: Tensors, prefix: str) -> int:
    """How many numbered blocks there are: 0 to n - 1."""
    numbers = {int(name.split(".")[1]) for name in tensors if name.startswith(f"{prefix}.")}
    if not numbers or numbers != set(range(len(numbers))):
        raise KeyError(prefix)
    return len(numbers)


def unet_state(tensors: Tensors, config: UNetConfig) -> dict[str, Tensor]:
    """The tensors of a U-Net by our names.

    Raises:
        UserError: a tensor has no place in a U-Net of this configuration.
    """
    state, unknown = known_unet_state(tensors, config)
    if unknown:
        raise UserError(f"The U-Net has a tensor that is not understood: {unknown[0]}.")
    return state


def known_unet_state(
    tensors: Tensors, config: UNetConfig
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a U-Net by our names, and the names of those that have no place in ours."""
    places = dict(_places(config))
    state: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        place = places.get(module)
        if place is None:
            unknown.append(name)
        elif module.endswith(".qkv"):
            if tensor.ndim == 0 or tensor.shape[0] % (3 * config.heads):
                unknown.append(name)
                continue
            for part, values in zip(_QKV, _split_qkv(tensor, config.heads), strict=True):
                state[f"{place}.{part}.{kind}"] = values
        elif module.endswith(".proj_out") and tensor.ndim > 1:
            state[f"{place}.{kind}"] = tensor.flatten(1)
        else:
            state[f"{place}.{kind}"] = tensor
    return state, tuple(unknown)


def _split_qkv(tensor: Tensor, heads: int) -> tuple[Tensor, ...]:
    """[3C, ...] with query, key and value of each head together, to three times [C, ...]."""
    flat = tensor.flatten(1) if tensor.ndim > 1 else tensor
    grouped = flat.reshape(heads, 3, -1, *flat.shape[1:])
    return tuple(grouped[:, n].reshape(-1, *flat.shape[1:]) for n in range(3))


def _places(config: UNetConfig) -> Iterator[tuple[str, str]]:
    """Every module that holds tensors: its name there, its name here."""
    yield from _OUTER.items()
    levels, layers = len(config.block_out_channels), config.layers_per_block
    for level in range(levels):
        for layer in range(layers + 1):
            block = f"input_blocks.{1 + level * (layers + 1) + layer}"
            here = f"down_blocks.{level}"
            if layer < layers:
                yield from _residual(f"{block}.0", f"{here}.resnets.{layer}")
                yield from _attention(f"{block}.1", f"{here}.attentions.{layer}")
            else:
                yield from _residual(f"{block}.0", f"{here}.downsamplers.0")
    yield from _residual("middle_block.0", "mid_block.resnets.0")
    yield from _attention("middle_block.1", "mid_block.attentions.0")
    yield from _residual("middle_block.2", "mid_block.resnets.1")
    for level, attends in enumerate(reversed(config.attention)):
        for layer in range(layers + 1):
            block, here = f"output_blocks.{level * (layers + 1) + layer}", f"up_blocks.{level}"
            yield from _residual(f"{block}.0", f"{here}.resnets.{layer}")
            if attends:
                yield from _attention(f"{block}.1", f"{here}.attentions.{layer}")
            if layer == layers:
                yield from _residual(f"{block}.{2 if attends else 1}", f"{here}.upsamplers.0")


def _residual(there: str, here: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{there}.{a}", f"{here}.{b}") for a, b in _RESIDUAL.items())


def _attention(there: str, here: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{there}.{a}", f"{here}.{b}") for a, b in _ATTENTION.items())
    yield f"{there}.qkv", here


def autoencoder_config(tensors: Tensors) -> AutoencoderConfig:
    """The sizes of a kl autoencoder, or of its encoder alone.

    Args:
        tensors: by their names in latent diffusion, without a prefix.

    Raises:
        UserError: it is not such an autoencoder with f = 8 and four latent channels.
    """
    try:
        levels = {int(n.split(".")[2]) for n in tensors if n.startswith("encoder.down.")}
        first = [n for n in tensors if n.startswith("encoder.down.0.block.")]
        layers = len({n.split(".")[4] for n in first})
        widths = tuple(
            tensors[f"encoder.down.{n}.block.0.conv1.weight"].shape[0] for n in sorted(levels)
        )
        latent = tensors["encoder.conv_out.weight"].shape[0]
    except (KeyError, IndexError, ValueError) as error:
        raise _unknown("autoencoder") from error
    if levels != {0, 1, 2, 3} or latent != 8 or not layers:
        raise UserError(
            f"The autoencoder shrinks a picture {2 ** max(len(levels) - 1, 0)} times and has "
            f"{latent // 2} latent channels; 8 times and 4 channels are needed.",
            hint="Use a kl-f8 autoencoder.",
        )
    if any(".attn." in name for name in tensors if name.startswith("encoder.down.")):
        raise UserError("The autoencoder has attention outside its middle, which is not supported.")
    return AutoencoderConfig(widths, layers, 32)


def autoencoder_state(tensors: Tensors, config: AutoencoderConfig) -> dict[str, Tensor]:
    """The tensors of an autoencoder, or of its encoder alone, by our names."""
    levels = [None] * len(config.block_out_channels)
    return convert_ldm_vae_checkpoint(
        dict(tensors), {"down_block_types": levels, "up_block_types": levels}
    )


def ema_name(name: str) -> str:
    """Where the averaged copy of a U-Net tensor lies: all dots are left out, so there is no way
    back from such a name.
    """
    return "model_ema." + ("diffusion_model." + name).replace(".", "")


def _unknown(what: str) -> UserError:
    return UserError(
        f"The {what} is not one of SDSeg or latent diffusion.",
        hint="Only checkpoints of the authors' code and of latent diffusion can be imported.",
    )
