"""What is looked at while a row trains and when it is done, for the figures.

Pictures of the data are measured and never kept. What is kept to be drawn comes from the built-in
photograph or from shapes drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.measure import latent_content
from benchmarks.timed import TimedTrainer
from engine.domain.box import full_box
from engine.io import open_case
from engine.models.schema import Preprocessing
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.preprocess import intensity_range, prepare
from engine.system.atomic import atomic_write
from engine.system.resources import resource_path
from engine.training.dataset import SliceDataset
from engine.training.losses import mask_picture

SHARES = (0.0, 0.05, 0.2, 0.5, 1.0)  # of a row's time, when its condition latents are looked at
RETINA = "retina"
SHAPES = "shapes"
REVERSE = "reverse"
REVERSE_STEPS = 10


def photograph(rules: Preprocessing) -> Tensor:
    """The built-in fundus photograph as a network sees it, [1, 3, S, S] in [-1, 1]."""
    scan = open_case(resource_path("cases", "retina.jpg")).scan
    region = full_box(scan.grid.shape).in_slice(scan.plane)
    picture, _ = prepare(scan, 0, region, rules, intensity_range(scan, rules, None))
    return torch.from_numpy(picture)[None]


def drawn_masks(size: int) -> Tensor:
    """Four masks of shapes, [4, 1, size, size] in {0, 1}: disc, two ellipses, ring, wedge."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1.0) * 2.0 - 1.0

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.bool_]:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1.0

    shapes = [
        ellipse(0.1, -0.05, 0.35, 0.32),
        ellipse(-0.45, 0.1, 0.3, 0.5) | ellipse(0.5, -0.2, 0.16, 0.28),
        ellipse(0.0, 0.0, 0.7, 0.6) & ~ellipse(0.1, 0.0, 0.45, 0.38),
        (y > x - 0.3) & (y < 0.6) & (x > -0.6) & ellipse(0.0, 0.3, 0.8, 0.7),
    ]
    return torch.from_numpy(np.stack(shapes)[:, None].astype(np.float32))


def save_arrays(file: Path, **arrays: NDArray[np.floating]) -> None:
    """Writes arrays as a whole."""
    with atomic_write(file) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


@torch.inference_mode()
def keep_shapes(folder: Path, autoencoder: AutoencoderKL, size: int) -> None:
    """Figure 2's material: drawn masks, what decoding leaves of them, and their latents."""
    masks = drawn_masks(size)
    latents = autoencoder.encode(mask_picture(masks)).latent_dist.mode()  # type: ignore[union-attr]
    decoded = autoencoder.decode(latents).sample.mean(dim=1)  # type: ignore[union-attr]
    save_arrays(
        folder / f"{SHAPES}.npz",
        masks=masks[:, 0].numpy(),
        decoded=decoded.numpy(),
        latents=latents.numpy(),
    )


@torch.inference_mode()
def keep_reverse(folder: Path, network: SDSegNetwork, rules: Preprocessing) -> None:
    """Figure 5's material: the photograph's probability map after each step."""
    picture = photograph(rules)
    side = rules.size // 8
    noise = torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(0))
    steps = network.estimates(noise, network.condition(picture), steps=REVERSE_STEPS)
    maps = [network.probabilities(z0)[0, 0].numpy() for z0 in steps]
    save_arrays(folder / f"{REVERSE}.npz", maps=np.stack(maps), picture=picture[0].numpy())


@dataclass(frozen=True)
class Watcher:
    """Looks at a row's condition latents at some shares of its time.

    Attributes:
        folder: of the row's run; what was seen is kept there.
        data: some pictures of the test list, measured only.
        rules: how the photograph is prepared.
    """

    folder: Path
    data: SliceDataset
    rules: Preprocessing

    def __call__(self, trainer: TimedTrainer) -> None:
        for share in SHARES:
            file = self.folder / f"{RETINA}-{share:g}.npz"
            if trainer.budget.share >= share and not file.exists():
                self._look(trainer, file)

    @torch.inference_mode()
    def _look(self, trainer: TimedTrainer, file: Path) -> None:
        network = trainer.network
        content = latent_content(network, *self.data.batch(torch.arange(len(self.data))))
        latent = network.condition(photograph(self.rules))[0].numpy()
        self.folder.mkdir(parents=True, exist_ok=True)
        save_arrays(
            file,
            latent=latent,
            step=np.array(float(trainer.step)),
            **{name: np.array(value) for name, value in content.items()},
        )

    def seen(self) -> list[dict[str, float]]:
        """What was measured, by share of the time."""
        found: list[dict[str, float]] = []
        for share in SHARES:
            file = self.folder / f"{RETINA}-{share:g}.npz"
            if file.exists():
                with np.load(file) as kept:
                    values = {name: float(kept[name]) for name in ("step", "picture", "mask")}
                found.append({"share": share, **values})
        return found
