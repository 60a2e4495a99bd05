"""Leave-patients-out scores of a recipe: each case by a model that never saw its patient.

    python -m benchmarks.folds ct-abdomen --data ../shared/data/ct_abdomen_2d

trains the recipe once a fold on all other patients (one of them is val) and writes
`benchmarks/results/folds/NAME-foldN.json`; a fold that is there is not run again, and an
interrupted one goes on from its last checkpoint. One of an earlier recipe is named and stays until
its file is deleted, and does not count. Two commands may run side by side. `--table` prints what
is there. With all folds done, a model that was trained meanwhile gets the figures onto its card
with `--onto MODEL`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.claim import claim
from benchmarks.command import run_command
from engine.cli.values import target
from engine.domain.targets import Target
from engine.errors import UserError
from engine.evaluation.pairs import find_pairs, read_names
from engine.evaluation.scores import interval, mean_of
from engine.models.card import render_card
from engine.models.schema import CARD, MODEL_JSON
from engine.models.store import read_entry
from engine.system.atomic import atomic_write_text

RESULTS = Path("benchmarks/results/folds")
RECIPES = Path("resources/recipes")
SPLITS = ("train", "val", "test")
Split = dict[str, list[str]]  # the stems of each
FOR_THE_CARD = (
    "#", "--recipe", "--name", "--title", "--kind", "--data-name", "--licence", "--notes",
    "--more-scores",
)  # fmt: skip


def patient_of(stem: str) -> str:
    """`curvas_p10001_394` is a slice of the patient `curvas_p10001`."""
    return stem.rsplit("_", 1)[0]


def recipe_file(recipe: str) -> Path:
    """The file of a recipe; it need not be there."""
    return RECIPES / f"{recipe}.args"


def result_file(recipe: str, number: int) -> Path:
    """Where the result of a fold, counted from 1, is or will be."""
    return RESULTS / f"{recipe}-fold{number}.json"


def folds_of(stems: list[str], count: int) -> list[Split]:
    """Stems of train, val and test of each fold; patients are shared out in order, never split.

    The first patient of the next fold is val.
    """
    patients = sorted({patient_of(stem) for stem in stems})
    parts = [part.tolist() for part in np.array_split(patients, count)]
    found: list[Split] = []
    for number, test in enumerate(parts):
        val = [parts[(number + 1) % count][0]]
        rest = [p for p in patients if p not in test and p not in val]
        of = dict(zip(SPLITS, (rest, val, test), strict=True))
        found.append({k: sorted(s for s in stems if patient_of(s) in v) for k, v in of.items()})
    return found


def digest_of(recipe: Path, split: Split) -> str:
    """Changes when a fold's recipe or lists do; what the recipe tells for the card doesn't count.

    Args:
        recipe: its file, one such option a line.
        split: stems of train, val and test.
    """
    lines = recipe.read_text(encoding="utf-8").splitlines()
    words = [word for line in lines if not line.startswith(FOR_THE_CARD) for word in line.split()]
    return hashlib.sha256(json.dumps([words, split], sort_keys=True).encode()).hexdigest()[:12]


def run_fold(recipe: str, data: Path, number: int, split: Split, work: Path) -> None:
    """Trains and scores one fold in processes of their own; writes its result.

    Raises:
        UserError: training or scoring failed; they have said why.
    """
    mark = digest_of(recipe_file(recipe), split)
    folder = work / f"{recipe}-fold{number}-{mark}"  # what another recipe left is not gone on with
    with claim(folder) as mine:
        result = result_file(recipe, number)
        if result.exists():
            if json.loads(result.read_text()).get("decides") != mark:
                print(f"{result.name}: recipe or lists changed; delete it to run the fold anew")
        elif not mine:
            print(f"fold {number}: another is at it")
        else:
            _train_and_score(recipe, data, number, split, folder)


def _train_and_score(recipe: str, data: Path, number: int, split: Split, folder: Path) -> None:
    result, mark = result_file(recipe, number), digest_of(recipe_file(recipe), split)
    folder.mkdir(parents=True, exist_ok=True)
    for name, stems in split.items():
        (folder / f"{name}.txt").write_text("\n".join(stems) + "\n")
    files = ["--images", str(data / "images"), "--masks", str(data / "masks")]
    model, report = folder / "model", folder / "report.json"
    if not model.exists():
        _sdseg(
            "train", f"@{recipe_file(recipe)}", *files, "--output", str(model),
            "--labels", str(data / "labels.json"), "--resume",
            *(x for n in SPLITS for x in (f"--{n}", str(folder / f"{n}.txt"))),
        )  # fmt: skip
    cases = ["--cases", str(folder / "test.txt"), "--json", str(report)]
    _sdseg("evaluate", "--model", str(model), *files, *cases)
    found = json.loads(report.read_text())
    info = json.loads((model / "model.json").read_text())
    kept = {
        "fold": number,
        "decides": mark,
        "patients": sorted({patient_of(stem) for stem in split["test"]}),
        "cpu_minutes": info["lineage"]["cpu_minutes"],
        "cases": found["cases"],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    atomic_write_text(result, json.dumps(kept, indent=1))
    shutil.rmtree(folder)


def _sdseg(*words: str) -> None:
    done = subprocess.run([sys.executable, "main.py", *words], check=False)
    if done.returncode:
        raise UserError(f"{words[0]} failed.", hint="The same command goes on where it stopped.")


@dataclass
class TargetScores:
    """Dice of one target over all folds.

    Attributes:
        shown: of the cases whose truth holds the target.
        absent: of the others: 1 where nothing was found, else 0.
    """

    shown: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)


def targets_of(recipe: Path) -> dict[str, Target]:
    """A recipe's targets, by name."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    words = [word for line in lines if not line.startswith("#") for word in line.split()]
    told = [target(word) for option, word in pairwise(words) if option == "--target"]
    return {found.name: found for found in told}


def dice_by_target(
    recipe: str, data: Path, splits: list[Split], targets: dict[str, Target]
) -> tuple[int, dict[str, TargetScores]]:
    """How many folds of this recipe are done, and the Dice of all their cases, by target.

    Args:
        recipe: its name.
        data: holds images and masks, which tell where a target is shown.
        splits: of all folds; a result of other lists or of an earlier recipe does not count.
        targets: of the recipe.
    """
    scores = {name: TargetScores() for name in targets}
    files = {n: result_file(recipe, n) for n in range(1, len(splits) + 1)}
    results = {n: json.loads(file.read_text()) for n, file in files.items() if file.exists()}
    done = [
        result for n, result in results.items()
        if result.get("decides") == digest_of(recipe_file(recipe), splits[n - 1])
    ]  # fmt: skip
    cases = [case for result in done for case in result["cases"]]
    names = [case["case"] for case in cases]
    for case, pair in zip(cases, find_pairs(data / "images", data / "masks", names), strict=True):
        truth = pair.read()[1]
        for name, found in scores.items():
            side = found.shown if targets[name].of(truth).any() else found.absent
            side.append(case["targets"][name]["dice"])
    return len(done), scores


def table(count: int, scores: dict[str, TargetScores]) -> list[str]:
    """Mean Dice over the cases of all folds that show a target, with its bootstrap interval."""
    head = [
        "| target | cases that show it | Dice | 95 % interval | cases without it | nothing found |",
        "|---|---|---|---|---|---|",
    ]
    lines = [f"{count} folds", *head]
    for name, found in scores.items():
        mean, ends = mean_of(found.shown), interval(found.shown)
        dice = "-" if mean is None else f"{mean:.4f}"
        between = "-" if ends is None else f"{ends[0]:.3f}-{ends[1]:.3f}"
        lines.append(
            f"| {name} | {len(found.shown)} | {dice} | {between} "
            f"| {len(found.absent)} | {sum(found.absent):.0f} |"
        )
    return lines


def figures(count: int, scores: dict[str, TargetScores]) -> dict[str, float]:
    """For `train --more-scores`."""
    what = f"leave-patients-out in {count} folds"
    told: dict[str, float] = {}
    for name, found in scores.items():
        if found.shown:
            mean = mean_of(found.shown) or 0.0
            told[f"Dice of {name}, {what}, {len(found.shown)} slices that show it"] = mean
        if found.absent:
            share = 1.0 - sum(found.absent) / len(found.absent)
            told[f"finds of {name} in {len(found.absent)} slices without it, the same folds"] = (
                share
            )
    return told


def put_onto(model: Path, told: dict[str, float]) -> None:
    """Writes figures into a finished model's `model.json` and card, in place of older ones.

    The weights stay; the model's hash is another afterwards, so do it before the model is in use.

    Args:
        model: folder.
        told: from `figures`.
    """
    info = read_entry(model).info
    kept = {name: value for name, value in info.scores.items() if " folds" not in name}
    info = info.model_copy(update={"scores": {**kept, **told}})
    card = (model / CARD).read_text(encoding="utf-8")
    notes = card.partition("## Limits\n\n")[2].strip()
    atomic_write_text(model / CARD, render_card(info, notes))
    atomic_write_text(model / MODEL_JSON, info.model_dump_json(indent=1))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="name of a file in resources/recipes")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="one fold, from 1")
    parser.add_argument("--work", type=Path, default=Path("build/folds"))
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--onto", type=Path, metavar="MODEL", help="put them on its card as well")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_command(lambda: _main(args))


def _main(args: argparse.Namespace) -> int:
    if not recipe_file(args.recipe).is_file():
        raise UserError(f"There is no recipe {args.recipe}.", hint=f"{RECIPES} holds them.")
    stems = [w for n in SPLITS for w in read_names(args.data / f"{n}.txt")]
    splits = folds_of(stems, args.folds)
    if not args.table:
        for number, split in enumerate(splits, 1):
            if args.only in (None, number):
                run_fold(args.recipe, args.data.resolve(), number, split, args.work)
    targets = targets_of(recipe_file(args.recipe))
    count, scores = dice_by_target(args.recipe, args.data.resolve(), splits, targets)
    if count:
        print("\n".join(table(count, scores)))
        told = figures(count, scores)
        atomic_write_text(RESULTS / f"{args.recipe}.json", json.dumps(told, indent=1))
    if args.onto:
        if count < args.folds:
            raise UserError(f"{count} of {args.folds} folds are done.", hint="Run the others.")
        put_onto(args.onto, told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
