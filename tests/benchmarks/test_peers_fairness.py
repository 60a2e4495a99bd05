"""What could make the comparison with peers unfair, or let hours be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.budget import Budget
from benchmarks.peers import clock, sides
from benchmarks.peers.__main__ import main
from benchmarks.peers.clock import StepCost, recipe_seconds, step_cost
from benchmarks.peers.networks import make_network
from benchmarks.peers.plan import Run
from benchmarks.peers.recipes import read_recipe
from benchmarks.peers.runner import do_run, fingerprint
from benchmarks.peers.setting import Setting, options_for, shipped_model
from benchmarks.peers.sides import Peer, begin
from engine.errors import UserError
from engine.models.schema import Preprocessing
from engine.sdseg import devices
from engine.training.run import read_data
from tests.benchmarks.peer_data import setting_of

RUN = Run("a", "polyp", "unet")


def small_peer(setting: Setting) -> Peer:
    options = replace(options_for(RUN, setting), preprocessing=Preprocessing(size=64))
    data = read_data(options, lambda _: None)
    side = begin("unet", 1e-3, options, data, Budget(100.0), lambda _: None)
    assert isinstance(side, Peer)
    return side


def test_dynunet_learns_scale_and_shift_after_each_norm() -> None:
    norms = [m for m in make_network("dynunet", 1).modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) > 20 and all(norm.affine for norm in norms)


def test_batch_statistics_are_those_of_the_averaged_weights(tmp_path: Path) -> None:
    side = small_peer(setting_of(tmp_path))
    side.update()
    next(a for a in side.ema.averages.values() if a.ndim == 4).mul_(50.0)  # the first convolution
    side.finish()
    norm = next(m for m in side.network.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda _, __, output: seen.append(output))
    pictures = side.data.batch(torch.arange(len(side.data)))[0]
    with torch.inference_mode():
        side.network(pictures)
    assert 0.3 < float(seen[0].std()) < 3.0  # far more with the last weights' statistics


def test_a_gradient_that_is_no_number_ends_one_run_and_not_all(tmp_path: Path) -> None:
    side = small_peer(setting_of(tmp_path))
    with torch.no_grad():
        next(side.network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="not a number at step 0"):
        side.update()
    assert side.step == 0


def test_a_gpu_does_not_choose_the_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every side computes on the CPU, whatever else the computer has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_has_bf16", lambda device: device.type == "cuda")
    assert options_for(RUN, setting_of(tmp_path)).optimisation.precision == "fp32"


def test_a_tuning_run_s_training_is_not_repeated_and_stale_results_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "STATISTICS_BATCHES", 1)  # seconds less
    setting = setting_of(tmp_path, seconds=0.1)
    tuning = Run("t", "polyp", "unet", rate=2e-3)
    assert do_run(tuning, setting) and do_run(RUN, setting)
    with pytest.raises(UserError, match=r"a-polyp-unet-0 waits for t-polyp-unet-0\.000125\."):
        do_run(RUN, replace(setting, seconds=None))
    first, second = setting.results.read(tuning), setting.results.read(RUN)
    assert first is not None and second is not None
    assert second["trained_in"] == tuning.name and "test" in second and "test" not in first
    for same in ("fingerprint", "rate", "steps", "cpu_seconds", "val"):
        assert first[same] == second[same], same

    folders = ["--work", str(setting.work), "--results", str(setting.results.folder)]
    words = ["--data", str(setting.data), "--only", RUN.name, "--trial-seconds", "0.1", *folders]
    kept = setting.results.file(RUN).read_bytes()
    assert main(words) == 0 and "stale" not in capsys.readouterr().out
    (setting.data / "polyp" / "train.txt").write_text("p0\np1")
    assert main(words) == 0 and f"{RUN.name}  stale" in capsys.readouterr().out
    assert setting.results.file(RUN).read_bytes() == kept


def test_the_peers_get_the_time_that_the_shipped_recipe_takes_on_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    setting = setting_of(tmp_path, seconds=None, say=told.append)
    run = Run("b", "polyp", "fpn")
    steps = shipped_model(run).info.lineage.steps
    assert steps
    costs: list[StepCost] = []

    def timed(*words: Any) -> StepCost:
        costs.append(step_cost(*words))
        return costs[-1]

    monkeypatch.setattr(clock, "step_cost", timed)
    seconds = recipe_seconds(run, setting, steps=1)
    own = options_for(run, setting).optimisation.autoencoder_steps
    full = read_recipe(run, setting.data, setting.work).optimisation.autoencoder_steps
    assert full > own  # what five minutes allow for is not what the model had
    (cost,) = costs
    assert cost.step > 0.01 and cost.autoencoder_step > 0.01  # at 256 px
    wanted = cost.step * steps + cost.autoencoder_step * full
    assert seconds == pytest.approx(wanted, abs=0.06)
    assert len(told) == 1 and not list(setting.work.glob("*-timed"))

    assert recipe_seconds(replace(run, side="unet"), setting, steps=1) == seconds
    assert len(told) == 1  # timed once
    (note,) = (setting.results.folder / "clock").glob("polyp-*.json")
    mark = fingerprint(run, setting)
    note.write_text('{"seconds": 7.0}')
    assert recipe_seconds(run, setting, steps=1) == 7.0
    assert fingerprint(run, setting) == mark  # another computer makes no result stale
