"""LPIPS with random weights against torch's own modules, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import UserError
from engine.evaluation.lpips import Lpips, expected_shapes


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for name, shape in expected_shapes().items():
        values = torch.randn(shape, generator=random) * 0.05
        weights[name] = values.abs() if name.startswith("lin") else values
    return weights


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "alex.safetensors"
    extra = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "lins.0.model.1.weight": torch.ones(1)}
    save_file(weights | extra, path)
    return path


def alexnet(weights: dict[str, Tensor]) -> nn.Sequential:
    """AlexNet's features, numbered as in the names of the weights."""
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), relu, pool,
        nn.Conv2d(64, 192, 5, padding=2), relu, pool,
        nn.Conv2d(192, 384, 3, padding=1), relu,
        nn.Conv2d(384, 256, 3, padding=1), relu,
        nn.Conv2d(256, 256, 3, padding=1), relu,
    )  # fmt: skip
    state = {".".join(n.split(".")[2:]): t for n, t in weights.items() if n.startswith("net.")}
    layers.load_state_dict(state, strict=True)
    return layers


def by_modules(weights: dict[str, Tensor], first: Tensor, second: Tensor) -> float:
    """The distance of two maps [H, W] in 0..1, pixel by pixel."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    seen = []
    for one in (first, second):
        grey = torch.stack([2 * one - 1] * 3)
        x = ((grey - shift[:, None, None]) / scale[:, None, None])[None]
        seen.append([])
        for number, layer in enumerate(alexnet(weights)):
            x = layer(x)
            if number in (1, 4, 7, 9, 11):
                seen[-1].append(x[0] / x[0].norm(dim=0).clamp(min=1e-10))
    total = 0.0
    for layer, (a, b) in enumerate(zip(*seen, strict=True)):
        weight = weights[f"lin{layer}.model.1.weight"].flatten()
        total += float(torch.einsum("c,chw->hw", weight, (a - b) ** 2).mean())
    return total


@torch.no_grad()
def test_the_distance_is_that_of_torch_s_own_modules(
    file: Path, weights: dict[str, Tensor]
) -> None:
    lpips = Lpips.load(file)
    maps = torch.rand((3, 96, 96), generator=torch.Generator().manual_seed(1))
    maps[1] = (maps[1] > 0.5).float()
    features = lpips.features(maps)
    assert [tuple(f.shape[:2]) for f in features] == [
        (3, channels) for channels in (64, 192, 384, 256, 256)
    ]
    turned = [f[[1, 2, 0]] for f in features]
    found = lpips.distance(features, turned)
    for n in range(3):
        expected = by_modules(weights, maps[n], maps[(n + 1) % 3])
        assert float(found[n]) == pytest.approx(expected, rel=1e-4) and expected > 1e-3
    assert lpips.distance(turned, features).tolist() == pytest.approx(found.tolist())
    assert lpips.distance(features, features).tolist() == [0.0, 0.0, 0.0]


def test_a_map_without_anything_on_it_has_a_distance_too(file: Path) -> None:
    lpips = Lpips.load(file)
    empty = lpips.features(torch.zeros((1, 64, 64)))
    assert torch.isfinite(lpips.distance(empty, lpips.features(torch.ones((1, 64, 64))))).all()
    assert lpips.distance(empty, empty).tolist() == [0.0]


def test_a_pickled_state_dict_is_read_in_a_child(
    file: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "alex.pth")
    maps = torch.rand((2, 64, 64))
    found = [
        lpips.distance(*([f[[n]] for f in lpips.features(maps)] for n in (0, 1)))
        for lpips in (Lpips.load(file), Lpips.load(tmp_path / "alex.pth"))
    ]
    assert torch.equal(*found)


def spoilt(weights: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    name = "net.slice3.6.weight"
    if how == "missing":
        return {n: t for n, t in weights.items() if n != name}
    if how == "shape":
        return weights | {name: torch.zeros(384, 192, 5, 5)}
    if how == "nan":
        return weights | {name: torch.full((384, 192, 3, 3), torch.nan)}
    if how == "whole numbers":
        return weights | {name: torch.zeros((384, 192, 3, 3), dtype=torch.int64)}
    return weights | {"lin2.model.1.weight": -weights["lin2.model.1.weight"]}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "net.slice3.6.weight is missing"),
        ("shape", r"net.slice3.6.weight has shape \[384, 192, 5, 5\]"),
        ("nan", "net.slice3.6.weight"),
        ("whole numbers", "net.slice3.6.weight"),
        ("negative", "lin2.model.1.weight has negative"),
    ],
)
def test_wrong_weights_are_refused_by_name(
    weights: dict[str, Tensor], tmp_path: Path, how: str, reason: str
) -> None:
    save_file(spoilt(weights, how), tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=r"bad\.safetensors.*" + reason) as refused:
        Lpips.load(tmp_path / "bad.safetensors")
    assert "LPIPS AlexNet" in refused.value.hint


@pytest.mark.parametrize("name", ["bad.safetensors", "bad.pth", "missing.pth"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"this is no weights file")
    (tmp_path / "bad.pth").write_bytes(b"this is no weights file")
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Lpips.load(tmp_path / name)


def test_a_pickle_without_the_tensors_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    torch.save({"lin0.model.1.weight": torch.ones(1, 64, 1, 1)}, tmp_path / "lin.pth")
    with pytest.raises(UserError, match=r"lin\.pth: net\.slice1\.0\.weight is missing"):
        Lpips.load(tmp_path / "lin.pth")
