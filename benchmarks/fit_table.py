"""How often each model warns about each kind of picture.

    python -m benchmarks.fit_table --data DIR [--models NAME_OR_FOLDER ...] [--json FILE]

DIR holds one folder a data set with images/ and test.txt. Each cell is the share of a set's test
cases that the model warns about: first as the program decides (modality, colour, then measured),
in brackets by the measured distance alone, with its median as a multiple of the threshold.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median

from engine.domain.volume import Volume
from engine.evaluation.pairs import read_names
from engine.io import open_case
from engine.io.kinds import stem_of
from engine.models.store import ModelEntry, find_model, list_models
from engine.sdseg.fit_check import check_fit

VOLUME_MODALITIES = {"mri": "MR", "ct": "CT"}  # NIfTI does not say; the folder's name does


def test_scans(folder: Path) -> list[Volume]:
    files = {stem_of(p): p for p in (folder / "images").iterdir()}
    prefix = folder.name.split("_")[0]
    scans = [open_case(files[name]).scan for name in read_names(folder / "test.txt")]
    return [
        s if s.is_picture else replace(s, modality=VOLUME_MODALITIES.get(prefix, s.modality))
        for s in scans
    ]


def measured_only(entry: ModelEntry, scan: Volume) -> ModelEntry:
    """The same model, open to this scan's modality and to any colour."""
    assert entry.info.fit is not None
    fit = entry.info.fit.model_copy(update={"modalities": (scan.modality,), "colour": None})
    return replace(entry, info=entry.info.model_copy(update={"fit": fit}))


def cell(entry: ModelEntry, scans: list[Volume]) -> dict[str, float]:
    decided = [check_fit(entry, scan) for scan in scans]
    measured = [check_fit(measured_only(entry, scan), scan) for scan in scans]
    ratios = [(m.distance or 0.0) / (m.threshold or 1.0) for m in measured]
    return {
        "cases": len(scans),
        "warned": sum(not d.fits for d in decided) / len(scans),
        "warned_by_distance": sum(not m.fits for m in measured) / len(scans),
        "median_of_threshold": median(ratios),
        "smallest": min(ratios),
        "largest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--models", nargs="+", metavar="NAME_OR_FOLDER")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    entries = [find_model(m) for m in args.models] if args.models else list_models()[0]
    table: dict[str, dict[str, dict[str, float]]] = {entry.name: {} for entry in entries}
    print("| data set | cases | " + " | ".join(e.name for e in entries) + " |")
    print("|---" * (len(entries) + 2) + "|")
    for folder in sorted(args.data.iterdir()):
        if not (folder / "test.txt").is_file() or not (folder / "test.txt").read_text().strip():
            continue
        scans = test_scans(folder)
        row = {entry.name: cell(entry, scans) for entry in entries}
        for name, values in row.items():
            table[name][folder.name] = values
        texts = [
            f"{v['warned']:.0%} ({v['warned_by_distance']:.0%}, {v['median_of_threshold']:.2f})"
            for v in row.values()
        ]
        print(f"| {folder.name} | {len(scans)} | " + " | ".join(texts) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
