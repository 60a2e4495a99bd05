"""The same numbers as the published network, through our import and our public classes.

Two sets of one layout: a small one of our own (tests/data/sdseg_small), and tensors made with the
authors' modules, in the folder that SDSEG_FIXTURES names; skipped where it is missing. Every array
of a set is either given to the network or compared with what it makes of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.models.schema import ModelInfo, Preprocessing, Schedule
from engine.sdseg.diffusion import NoiseSchedule
from engine.sdseg.folder import load_model
from engine.sdseg.import_checkpoint import ImportOptions, import_checkpoint
from engine.sdseg.network import SDSegNetwork
from engine.training.losses import noise_and_latent_loss

ROOT = Path(__file__).resolve().parents[3]
SMALL = ROOT / "tests" / "data" / "sdseg_small"
OFFICIAL = Path(
    os.environ.get("SDSEG_FIXTURES", ROOT.parent / "shared" / "fixtures" / "sdseg_official")
)

GIVEN = {
    "image", "noise", "t", "train_image", "train_mask", "train_t", "train_class_id",
    "train_posterior_noise", "train_noise",
}  # fmt: skip
COMPARED = {
    "cond_latent", "eps", "eps_raw", "z0", "z0_raw", "decoded", "prob", "mask", "class_logits",
    "labels", "train_posterior_mean", "train_posterior_logvar", "train_z", "train_x_noisy",
    "train_cond_latent", "train_model_out", "loss_noise", "loss_latent", "loss_total",
    "grad_unet_conv_in", "grad_unet_out_bias", "grad_cond_out_weight", "grad_cond_conv_in",
    "gradnorm_unet", "gradnorm_cond",
}  # fmt: skip


def checkpoints() -> Iterator[Path]:
    yield from sorted(SMALL.glob("*.ckpt"))
    yield from sorted(OFFICIAL.glob("*.ckpt")) or [OFFICIAL / "missing.ckpt"]


@dataclass
class Reference:
    """An imported checkpoint and the numbers it should give."""

    info: ModelInfo
    network: SDSegNetwork
    raw: SDSegNetwork
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def picture(self, name: str) -> Tensor:
        # Contiguous: torch's CPU GroupNorm is less exact in channels last.
        return self[name].permute(0, 3, 1, 2).contiguous()

    @property
    def classes(self) -> int | None:
        return self.network.class_count


@pytest.fixture(scope="module", params=checkpoints(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def reference(request: pytest.FixtureRequest, tmp_path_factory) -> Reference:
    file: Path = request.param
    if not file.exists():
        pytest.skip(f"there are no reference tensors in {file.parent}")
    arrays = dict(np.load(file.with_suffix(".npz")))
    rules = Preprocessing(size=arrays["image"].shape[1])
    folder = tmp_path_factory.mktemp("imported")
    facts = json.loads(file.with_suffix(".json").read_text())
    # The one size that no tensor shows; a person names it in the file given with --config.
    heads = facts.get("unet", {}).get("num_heads", 8)
    for raw in (False, True):
        options = ImportOptions("reference", "Reference", rules, raw=raw, heads=heads)
        import_checkpoint(file, folder / str(raw), options)
    network, info = load_model(folder / "False")
    return Reference(info, network, load_model(folder / "True")[0], arrays, facts)


def assert_close(found: Tensor, expected: Tensor, measured: float) -> None:
    """Within ten times the difference that an independent implementation was measured to have."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 10.0 * measured


def one_step(reference: Reference, network: SDSegNetwork) -> tuple[Tensor, Tensor]:
    """The U-Net's output and the latent estimate, a row a class."""
    condition = network.condition(reference.picture("image"))
    start, conditions, classes = network.for_each_class(reference["noise"], condition)
    t = torch.full((len(start),), int(reference["t"]))
    output = network.predict(start, t, conditions, classes)
    return output, network.estimate_z0(start, conditions, classes)


def test_parity_of_what_the_tensors_tell(reference: Reference) -> None:
    info, facts = reference.info, reference.facts
    assert info.scale_factor == reference.raw.scale_factor == facts["scale_factor"]
    assert len(info.classes) + 1 == facts["num_classes"]
    if "unet" in facts:
        sizes, config = facts["unet"], reference.network.unet.config
        widths = [sizes["model_channels"] * n for n in sizes["channel_mult"]]
        attends = [2**n in sizes["attention_resolutions"] for n in range(len(widths))]
        assert list(config["block_out_channels"]) == widths
        assert [name.startswith("Attn") for name in config["down_block_types"]] == attends
        assert config["layers_per_block"] == sizes["num_res_blocks"]
        assert config["dropout"] == sizes["dropout"]


@torch.inference_mode()
def test_parity_of_the_condition_latent(reference: Reference) -> None:
    found = reference.network.condition(reference.picture("image"))
    assert_close(found, reference["cond_latent"], 1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("ending", ["", "_raw"], ids=["averaged", "raw"])
def test_parity_of_noise_and_latent_estimate(reference: Reference, ending: str) -> None:
    network = reference.raw if ending else reference.network
    eps, z0 = one_step(reference, network)
    assert_close(eps, reference[f"eps{ending}"], 5e-5)
    assert_close(z0, reference[f"z0{ending}"], 2e-3)
    other = reference["eps" if ending else "eps_raw"]
    assert float((eps - other).abs().max()) > 0.05, "the other weights were taken"


@torch.inference_mode()
def test_parity_of_the_decoded_mask(reference: Reference) -> None:
    network = reference.network
    _, z0 = one_step(reference, network)
    if reference.classes is None:
        assert reference.info.class_coding == "binary"
        assert_close(network.decode_picture(z0), reference["decoded"], 5e-5)
        probability = network.probabilities(z0)[0, 0]
        assert_close(probability, reference["prob"], 1e-5)
        assert torch.equal(probability > 0.5, reference["mask"].bool())
    else:
        assert reference.info.class_coding == "embed"
        assert_close(network.class_scores(z0)[0], reference["class_logits"], 5e-5)
        labels = network.probabilities(z0)[0].argmax(dim=0)
        assert int((labels != reference["labels"]).sum()) <= 20


@torch.inference_mode()
def test_parity_of_the_autoencoder(reference: Reference) -> None:
    network = reference.network
    mask = reference["train_mask"].float()[:, None].repeat(1, 3, 1, 1)
    posterior = network.autoencoder.encode(mask).latent_dist
    assert_close(posterior.mean, reference["train_posterior_mean"], 1e-5)
    assert_close(posterior.logvar, reference["train_posterior_logvar"], 1e-5)
    drawn = posterior.mean + posterior.std * reference["train_posterior_noise"]
    assert_close(drawn * network.scale_factor, reference["train_z"], 1e-5)


def test_parity_of_the_losses(reference: Reference) -> None:
    network = reference.raw
    z0, noise, t = (reference[name] for name in ("train_z", "train_noise", "train_t"))
    z_t = network.schedule.add_noise(z0, noise, t)
    assert_close(z_t, reference["train_x_noisy"], 1e-6)
    classes = reference["train_class_id"] if reference.classes else None
    with torch.inference_mode():
        condition = network.condition(reference.picture("train_image"))
        assert_close(condition, reference["train_cond_latent"], 1e-5)
        output = network.predict(z_t, t, condition, classes)
        assert_close(output, reference["train_model_out"], 3e-4)
        losses = noise_and_latent_loss(network, output, z0, z_t, noise, t)
    for found, name in zip(losses, ("loss_noise", "loss_latent"), strict=True):
        assert float(found) == pytest.approx(float(reference[name]), rel=5e-5)
    assert float(sum(losses)) == pytest.approx(float(reference["loss_total"]), rel=5e-5)


def test_parity_of_the_gradients(reference: Reference) -> None:
    if "gradnorm_unet" not in reference.arrays:
        pytest.skip("this set holds no gradients")
    network = reference.raw
    parts = {"unet": network.unet, "cond": network.vision_encoder}
    for module in parts.values():
        module.requires_grad_(True)
    z0, noise, t, z_t = (reference[f"train_{n}"] for n in ("z", "noise", "t", "x_noisy"))
    classes = reference["train_class_id"] if reference.classes else None
    output = network.predict(z_t, t, network.condition(reference.picture("train_image")), classes)
    sum(noise_and_latent_loss(network, output, z0, z_t, noise, t)).backward()
    for name, module in parts.items():
        squares = sum(float(p.grad.double().square().sum()) for p in module.parameters())
        expected = float(reference[f"gradnorm_{name}"])
        assert squares**0.5 == pytest.approx(expected, rel=1e-3)
    unet, vision = network.unet, network.vision_encoder
    for name, parameter in (
        ("unet_conv_in", unet.conv_in.weight),
        ("unet_out_bias", unet.conv_out.bias),
        ("cond_out_weight", vision.out.weight),
        ("cond_conv_in", vision.encoder.conv_in.weight),
    ):
        expected = reference[f"grad_{name}"]
        assert parameter.grad.shape == expected.shape
        error = (parameter.grad - expected).norm() / expected.norm()
        assert float(error) <= 1e-3, name
    for module in parts.values():
        module.zero_grad()
        module.requires_grad_(False)


def test_parity_leaves_no_array_out(reference: Reference) -> None:
    assert set(reference.arrays) <= GIVEN | COMPARED


@pytest.mark.skipif(not (OFFICIAL / "schedule.npz").is_file(), reason="no reference schedule here")
def test_parity_of_the_schedule() -> None:
    theirs = dict(np.load(OFFICIAL / "schedule.npz"))
    abar = NoiseSchedule(Schedule()).alphas_cumprod
    ours = {
        "betas": 1.0 - abar / torch.cat([torch.ones(1, dtype=abar.dtype), abar[:-1]]),
        "alphas_cumprod": abar,
        "sqrt_alphas_cumprod": abar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1.0 - abar).sqrt(),
        "sqrt_recip_alphas_cumprod": abar**-0.5,
        "sqrt_recipm1_alphas_cumprod": (1.0 / abar - 1.0).sqrt(),
    }
    assert set(theirs) == set(ours)
    for name, values in ours.items():
        np.testing.assert_allclose(values.numpy(), theirs[name], rtol=2e-6, err_msg=name)
