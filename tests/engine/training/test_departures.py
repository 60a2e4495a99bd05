"""The sentences on the card: none for the paper's own training, one for each real difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.domain.targets import Target
from engine.models.schema import Preprocessing, Schedule
from engine.sdseg.config import PAPER, SDSegConfig
from engine.sdseg.network import SDSegNetwork
from engine.training.departures import departures
from engine.training.options import (
    Augmentation,
    Identity,
    Objective,
    Optimisation,
    TrainOptions,
)
from engine.training.start import PAPER_PARTS, Start
from tests.tiny_model import tiny_info

HERE = Path()
OPTIONS = TrainOptions(
    HERE, HERE, HERE, HERE, HERE, (Target("disc", (1,)),), Preprocessing(size=256), Identity("x")
)


def start(config: SDSegConfig = PAPER, **changes: Any) -> Start:
    with torch.device("meta"):
        network = SDSegNetwork.build(config)
    return Start(network, **{"preset": "paper", "schedule": Schedule(), **changes})


def test_the_paper_s_own_training_departs_in_nothing() -> None:
    assert departures(OPTIONS, start()) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objective": Objective(latent_lambda=0.5)}, "Lambda of eq. 3 is 0.5"),
        ({"objective": Objective(mask_weight=1.0)}, "decoded mask is a term"),
        ({"objective": Objective(last_share=0.5)}, "50% of the samples"),
        ({"objective": Objective(sdseg_share=0.5)}, "for 50% of the pictures of each batch"),
        ({"objective": Objective(sdseg_weight=0.3)}, "the weight 0.3"),
        ({"objective": Objective(mask_weight=1.0, mask_crop=0.5)}, "of a random part"),
        ({"objective": Objective(pyramid_weight=1.0)}, "on the pyramid"),
        ({"optimisation": Optimisation(freeze_encoder=True)}, "was frozen"),
        ({"optimisation": Optimisation(prior_steps=50)}, "alone for 50 steps"),
        ({"optimisation": Optimisation(latent_variants=8)}, "8 fixed positions"),
        ({"optimisation": Optimisation(encoder_factor=0.5)}, "rate times 0.5 (paper: 1)"),
        (
            {"augmentation": Augmentation(empty_share=0.25)},
            "25% of the pictures a view without",
        ),
        ({"augmentation": Augmentation(effects=(("bias_field", 0.2),))}, "flips: bias field"),
        ({"augmentation": Augmentation(jpeg=40, levels=(0.1, 0.9))}, "levels, jpeg"),
        ({"optimisation": Optimisation(ema_all=True)}, "averaged too"),
        ({"optimisation": Optimisation(autoencoder_coverage=5.0)}, "covers of a cell"),
        ({"optimisation": Optimisation(steps=500)}, "steps 500 (paper: 100000)"),
        ({"optimisation": Optimisation(scale_lr=False)}, "rate 1e-05 (paper: 4e-05)"),
        ({"optimisation": Optimisation(precision="bf16")}, "bf16"),
        ({"augmentation": Augmentation(flips="")}, "Flips: none"),
        ({"augmentation": Augmentation(rotate=5.0)}, "beyond flips: rotate"),
        ({"preprocessing": Preprocessing(size=128)}, "128 x 128"),
    ],
)
def test_each_option_that_differs_has_its_sentence(change: dict[str, Any], words: str) -> None:
    (sentence,) = departures(replace(OPTIONS, **change), start())
    assert words in sentence


def test_fresh_weights_and_other_predictions_are_departures_of_the_paper_s_preset() -> None:
    found = departures(OPTIONS, start(fresh=PAPER_PARTS))
    assert len(found) == 2 and all("fresh weights" in x for x in found)
    (few,) = departures(OPTIONS, start(fresh=("2 tensors of the U-Net",)))
    assert "2 tensors of the U-Net" in few
    for kind, words in (("sample", "clean latent"), ("v_prediction", "velocity")):
        (sentence,) = departures(OPTIONS, start(replace(PAPER, prediction_type=kind)))
        assert words in sentence


def test_several_classes_and_a_changed_rate_are_told() -> None:
    (sentence,) = departures(OPTIONS, start(replace(PAPER, channel_classes=2)))
    assert "Several classes" in sentence
    assert departures(OPTIONS, start(changes=("From step 5 on.",))) == ("From step 5 on.",)


def test_a_child_inherits_its_parent_s_departures_once() -> None:
    base = tiny_info(departures=("50% of the samples were trained at T-1.", "Old."))
    options = replace(OPTIONS, objective=Objective(last_share=0.5))
    found = departures(options, start(base=base))
    assert found == (*base.departures, "The training started from the model tiny.")
