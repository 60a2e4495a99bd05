"""Drawn discs to train on, and options for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from engine.domain.targets import Target
from engine.evaluation.pairs import find_pairs, read_names
from engine.models.schema import Preprocessing
from engine.sdseg.config import TINY, SDSegConfig
from engine.sdseg.network import SDSegNetwork
from engine.training.dataset import Groups, SliceDataset, read_dataset
from engine.training.options import Identity, Objective, Optimisation, TrainOptions
from engine.training.randomness import place_generators
from engine.training.sources import PairSource
from engine.training.team import Team
from engine.training.trainer import Trainer

CPU = torch.device("cpu")
DISC, CUP = Target("disc", (1, 2)), Target("cup", (2,))
RULES = Preprocessing(size=64)


def draw_discs(folder: Path) -> Path:
    """Ten bright discs on a dark ground, and where they are (value 2, with a ring of 1)."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[0:64, 0:64]
    stems = [f"case{n:02d}" for n in range(10)]
    for stem in stems:
        centre, radius = generator.uniform(20, 44, 2), generator.uniform(8, 16)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        picture = np.where(distance < radius, 200, 40) + generator.normal(0, 8, (64, 64))
        mask = np.where(distance < radius / 2, 2, np.where(distance < radius, 1, 0))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"images/{stem}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"masks/{stem}.png")
    (folder / "train.txt").write_text("\n".join(stems[:8]))
    (folder / "val.txt").write_text("\n".join(stems[8:]))
    return folder


def load(folder: Path, split: str, groups: Groups = ((1, 2),)) -> SliceDataset:
    pairs = find_pairs(folder / "images", folder / "masks", read_names(folder / split), split)
    return read_dataset([PairSource(pair) for pair in pairs], RULES, groups)


def options(folder: Path, output: Path, **optimisation: Any) -> TrainOptions:
    return TrainOptions(
        images=folder / "images",
        masks=folder / "masks",
        train=folder / "train.txt",
        val=folder / "val.txt",
        output=output,
        targets=(DISC,),
        preprocessing=RULES,
        identity=Identity("tiny"),
        preset="tiny",
        objective=Objective(mask_weight=1.0, last_share=0.5),
        optimisation=Optimisation(
            **{"steps": 6, "batch": 4, "base_lr": 5e-4, "warmup": 2, **optimisation}
        ),
        val_every=100,
        checkpoint_every=100,
    )


def trainer_for(folder: Path, chosen: TrainOptions, config: SDSegConfig = TINY) -> Trainer:
    torch.manual_seed(0)
    groups = chosen.groups
    network = SDSegNetwork.build(replace(config, channel_classes=len(groups)))
    train, val = (load(folder, f"{split}.txt", groups) for split in ("train", "val"))
    return Trainer(network, train, val, chosen, Team("cpu"))


def draws(count: int, step: int) -> list[torch.Generator]:
    return place_generators(0, "test", step, range(count))


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
