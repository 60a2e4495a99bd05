"""What each process of `test_processes` does; the first writes down what happened."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.sdseg.config import TINY, VisionEncoderConfig
from engine.training.options import Augmentation, Objective
from engine.training.run import train_model
from engine.training.team import Team
from tests.engine.training.discs import options, trainer_for

# A trunk, whose normalisation never changes; TINY has no dropout.
CONFIG = replace(TINY, vision_encoder=VisionEncoderConfig("trunk", condition_channels=4))
STEPS = 50
HALF = (0.5, 20)  # share of each batch, steps: with fewer pictures rounding grows faster


def losses_of(folder: Path, output: Path, share: float = 1.0, steps: int = STEPS) -> list[float]:
    """The losses of some steps, with every term and every kind of augmentation.

    Args:
        folder: of the data.
        output: of the run.
        share: of each batch that eq. 3 is computed for.
        steps: how many.
    """
    # A high rate would blow up the last bits that sums in another order differ by.
    chosen = options(folder, output, steps=steps, latent_variants=3, ema_all=True, base_lr=2e-5)
    chosen = replace(
        chosen,
        objective=Objective(
            mask_weight=1.0,
            pyramid_weight=0.5,
            last_share=0.5,
            mask_crop=0.5,
            sdseg_weight=0.3,
            sdseg_share=share,
        ),
        augmentation=Augmentation(
            rotate=90.0, scale=(0.8, 1.2), gamma=1.3, blur=1.0, noise=0.05, empty_share=0.2
        ),
    )
    found: list[float] = []
    trainer_for(folder, chosen, CONFIG).run(lambda p: found.append(p.losses["loss"]))
    return found


def _error_of(work: Any) -> str:
    try:
        work()
    except UserError as error:
        return error.message
    return "none"


def _nan_in_the_second(folder: Path, output: Path) -> str:
    trainer = trainer_for(folder, options(folder, output, steps=9))

    def spoil(step: int) -> None:
        if step == 3 and not trainer.team.is_first:
            trainer.network.scale_factor = float("nan")

    return _error_of(lambda: trainer.run(lambda p: spoil(p.step)))


def _bad_picture_in_the_second(folder: Path, output: Path, first: bool) -> str:
    chosen = options(folder, output)
    chosen = chosen if first else replace(chosen, images=folder / "cut")
    return _error_of(lambda: train_model(chosen, "cpu", print))


def main(folder: Path) -> None:
    team = Team("cpu")
    told = {
        "size": team.size,
        "losses": losses_of(folder, folder / "two"),
        "half": losses_of(folder, folder / "half", *HALF),
        "nan": _nan_in_the_second(folder, folder / "nan"),
        "picture": _bad_picture_in_the_second(folder, folder / "bad", team.is_first),
    }
    (folder / f"told{team.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
