"""Does a row that is not done yet: trains, measures, writes its JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from benchmarks.claim import claim
from benchmarks.paper.autoencoder import make_autoencoder, picture_psnr
from benchmarks.paper.measure import (
    describe,
    dice_along,
    dice_over_steps,
    measure_speed,
    stability,
)
from benchmarks.paper.options import COMPACT, Place, Scale, autoencoder_folder, options_for
from benchmarks.paper.plan import (
    CPU_PER_MINUTE,
    DATA_SETS,
    STABLE,
    TIMED,
    WATCHED,
    Row,
)
from benchmarks.paper.training import Trained, deciding, train_row
from benchmarks.paper.watching import REVERSE_STEPS, Watcher, keep_reverse, keep_shapes
from engine.errors import UserError
from engine.evaluation.lpips import Lpips
from engine.evaluation.pairs import Pair, find_pairs, read_names
from engine.sdseg.config import PRESETS
from engine.system.atomic import atomic_write_text
from engine.training.autoencoder import ceiling
from engine.training.dataset import SliceDataset, read_dataset
from engine.training.options import TrainOptions
from engine.training.sources import PairSource

Result = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What all rows of a command share.

    Attributes:
        place: where things lie.
        minutes: of a row; each is two minutes of processor time.
        scale: sizes.
        lpips: for table 5, where its weights were given.
        say: told what happens.
        is_cancelled: asked at each step.
    """

    place: Place
    minutes: float
    scale: Scale = COMPACT
    lpips: Lpips | None = None
    say: Callable[[str], None] = print
    is_cancelled: Callable[[], bool] = lambda: False


def result_file(folder: Path, name: str) -> Path:
    """Where a row's result is, or will be."""
    return folder / f"{name}.json"


def read_result(folder: Path, name: str) -> Result | None:
    """A row's result, or None if it is not done.

    Raises:
        UserError: the file is damaged.
    """
    file = result_file(folder, name)
    if not file.is_file():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file.name} is damaged.", "Remove it; its row is done again.") from error


def _write(folder: Path, name: str, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(result_file(folder, name), json.dumps(_rounded(result), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Five digits are enough, and keep the files readable."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(x) for name, x in value.items()}
    return [_rounded(x) for x in value] if isinstance(value, list | tuple) else value


def do_row(row: Row, work: Work) -> bool:
    """Trains and measures a row; False if its result is there already, or another is at it.

    A result is never replaced: one that was made with other settings is only spoken of.

    Raises:
        Cancelled: interrupted; the next call goes on.
        UserError: the data are not there, or the row can't be trained.
    """
    options = options_for(row, work.place, work.scale)
    decides = deciding(row, options, work.minutes)
    with claim(options.run_folder.parent) as mine:
        done = read_result(work.place.results, row.name)
        if done is not None:
            work.say(f"{row.name}: done{_differing(done['decides'], decides)}")
        elif not mine:
            work.say(f"{row.name}: another is at it")
        else:
            _do(row, options, decides, work)
            return True
    return False


def _do(row: Row, options: TrainOptions, decides: Result, work: Work) -> None:
    work.say(f"{row.name}: {work.minutes * CPU_PER_MINUTE:g} minutes of processor time")
    pairs = test_pairs(row, options)
    train, val = (_pairs(options, [split.name]) for split in (options.train, options.val))
    _check_apart(train, pairs)
    data, test = (_dataset(train, options), _dataset(val, options)), _dataset(pairs, options)
    _autoencoder(row, options, data[0], test, work)
    watcher = Watcher(options.run_folder, _spread(test, work.scale.watched), options.preprocessing)
    trained = train_row(
        row, options, data, work.scale, decides, work.minutes * CPU_PER_MINUTE * 60.0,
        watcher if row.key in WATCHED else lambda _: None, work.say, work.is_cancelled,
    )  # fmt: skip
    started = time.process_time()
    result = {
        **_head(row, decides, trained),
        **_measured(row, trained, options, pairs, work),
        **(_looked_at(trained, watcher) if row.key in WATCHED else {}),
    }
    result["measuring_cpu_minutes"] = (time.process_time() - started) / 60.0
    _write(work.place.results, row.name, result)
    first = result["by_steps"]["1"]
    work.say(f"  {trained.steps} steps; Dice {first['dice']:.3f}, IoU {first['iou']:.3f}")


def _differing(old: Result, new: Result) -> str:
    names = [name for name in new if old.get(name) != new[name]]
    if not names:
        return ""
    told = ", ".join(f"{n} {old.get(n)} (now {new[n]})" for n in names[:3])
    return f", with other settings: {told}; remove its JSON to do it again"


def _head(row: Row, decides: Result, trained: Trained) -> Result:
    network = trained.network
    return {
        "row": row.name,
        "setting": row.setting,
        "data_set": row.data_set,
        "minutes": decides["minutes"],
        "cpu_minutes": trained.cpu_minutes,
        "steps": trained.steps,
        "parameters": {
            name: sum(p.numel() for p in part.parameters())
            for name, part in network.named_children()
        },
        "scale_factor": network.scale_factor,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "decides": decides,
    }


def _measured(
    row: Row, trained: Trained, options: TrainOptions, pairs: list[Pair], work: Work
) -> Result:
    network, stop = trained.network, work.is_cancelled
    info, target = describe(network, options), DATA_SETS[row.data_set].target
    found: Result = {
        "cases": len(pairs),
        "by_steps": dice_over_steps(network, info, pairs, target, row.steps, stop),
    }
    if row.key in STABLE:
        found["stability"] = stability(network, info, pairs, work.scale.runs, work.lpips, stop)
    if row.key in TIMED:
        some = [pairs[n] for n in _evenly(len(pairs), work.scale.timed)]
        found["speed"] = measure_speed(network, info, some, target, work.scale.many, stop)
    return found


def _looked_at(trained: Trained, watcher: Watcher) -> Result:
    """Figures 5 and 6, as numbers; what can be drawn is kept beside the checkpoint."""
    keep_reverse(watcher.folder, trained.network, watcher.rules)
    return {
        "latents": watcher.seen(),
        "along": dice_along(trained.network, watcher.data, REVERSE_STEPS),
        "watched": len(watcher.data),
    }


def _autoencoder(
    row: Row, options: TrainOptions, train: SliceDataset, test: SliceDataset, work: Work
) -> None:
    """Makes the data set's autoencoder where it is missing, and measures it once."""
    folder = autoencoder_folder(row.data_set, work.place, work.scale)
    config = PRESETS[options.preset or "paper"].autoencoder
    steps = work.scale.autoencoder_steps
    with claim(folder, wait=True):  # rows of a data set share it
        minutes = make_autoencoder(folder, config, train, steps, work.say, work.is_cancelled)
    name = f"autoencoder-{row.data_set}"
    autoencoder = AutoencoderKL.from_pretrained(folder).eval()
    keep_shapes(folder, autoencoder, work.scale.pixels)
    if read_result(work.place.results, name) is not None:
        return
    result = {
        "data_set": row.data_set,
        "steps": steps,
        "cpu_minutes": minutes,
        "ceiling": ceiling(autoencoder, test, torch.device("cpu")),
        "picture_psnr": picture_psnr(autoencoder, test),
        "cases": len(test),
    }
    _write(work.place.results, name, result)
    work.say(f"  autoencoder: encode -> decode Dice {result['ceiling']:.4f} on unseen masks")


def test_pairs(row: Row, options: TrainOptions) -> list[Pair]:
    """Pictures and masks that the row is scored on."""
    return _pairs(options, DATA_SETS[row.data_set].test)


def _pairs(options: TrainOptions, splits: Sequence[str]) -> list[Pair]:
    folder = options.images.parent
    names = [name for split in splits for name in read_names(folder / split)]
    return find_pairs(options.images, options.masks, names, splits[-1])


def _check_apart(train: list[Pair], test: list[Pair]) -> None:
    both = sorted({pair.name for pair in train} & {pair.name for pair in test})
    if both:
        raise UserError(
            f"{both[0]} is trained on and scored.", "Leave it in one of the split files."
        )


def _dataset(pairs: list[Pair], options: TrainOptions) -> SliceDataset:
    sources = [PairSource(pair) for pair in pairs]
    return read_dataset(sources, options.preprocessing, options.groups, options.plane)


def _evenly(count: int, wanted: int) -> list[int]:
    """Places of at most `wanted` of `count` things, evenly spread."""
    some = min(count, wanted)
    return [n * count // some for n in range(some)]


def _spread(data: SliceDataset, wanted: int) -> SliceDataset:
    chosen = torch.tensor(_evenly(len(data), wanted))
    names = tuple(data.names[n] for n in data.cases[chosen].tolist())
    return SliceDataset(data.pictures[chosen], data.masks[chosen], torch.arange(len(chosen)), names)
