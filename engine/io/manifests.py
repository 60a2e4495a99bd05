"""The manifest beside a mask: where it comes from, and who set how many voxels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import __version__
from engine.domain.case import Case
from engine.domain.label_map import LabelMap, Origin
from engine.domain.labels import PALETTE, Label, LabelList
from engine.domain.manifest import Manifest, ModelUse
from engine.domain.review import ReviewState
from engine.domain.volume import Volume
from engine.system.atomic import atomic_write_text

APPLICATION = f"SDSeg Studio {__version__}"
_VALUES = 256


def build_manifest(case: Case, model: ModelUse | None = None) -> Manifest:
    """The manifest of a case as it stands.

    Args:
        case: its label map and origin map are counted.
        model: the model that proposed, or None for a mask drawn by hand.
    """
    counts = count_voxels(case.label_map)
    names = {label.id: label.name for label in case.labels}
    used = [value for value in range(1, _VALUES) if counts[value].sum()]
    return Manifest(
        application=APPLICATION,
        source=source_name(case.scan, case.source, case.name),
        source_sha256=scan_sha256(case.scan),
        labels={value: names.get(value, str(value)) for value in sorted({*names, *used})},
        voxels={
            value: {
                "total": int(counts[value].sum()),
                "hand": int(counts[value, Origin.HAND]),
                "model": int(counts[value, Origin.MODEL]),
            }
            for value in used
        },
        removed_by_hand=int(counts[0, Origin.HAND]),
        model=model,
        review=case.review.value,
        warnings=case.warnings,
    )


def carried_over(new: Manifest, before: Manifest | None) -> Manifest:
    """A manifest that keeps what an older one knows of the same mask: who drew it, by which model.

    Args:
        new: of the mask as it was read from its file, which does not say who drew it.
        before: the manifest that lay beside that file, or None. It counts if it is of this scan and
            every label has as many voxels as it says.
    """
    if before is None or before.source_sha256 != new.source_sha256:
        return new
    totals, known = ({v: c["total"] for v, c in m.voxels.items()} for m in (new, before))
    if totals != known:
        return new
    return replace(
        new,
        voxels=before.voxels,
        removed_by_hand=before.removed_by_hand,
        model=before.model,
        review=before.review,
    )


def count_voxels(label_map: LabelMap) -> NDArray[np.int64]:
    """Voxels by value and origin, int64 [256, 3]; NONE holds what no origin is known for."""
    counts = np.zeros((_VALUES, len(Origin)), dtype=np.int64)
    touched = set(label_map.origins.touched)
    for index in range(label_map.shape[label_map.plane]):
        values = label_map.slice(index)
        if index not in touched:
            counts[:, Origin.NONE] += np.bincount(values.reshape(-1), minlength=_VALUES)
            continue
        joined = values.astype(np.intp) * len(Origin) + label_map.origins.read(index)
        flat = np.bincount(joined.reshape(-1), minlength=_VALUES * len(Origin))
        counts += flat.reshape(_VALUES, len(Origin))
    return counts


def source_name(scan: Volume, source: Path, name: str) -> str:
    """What a manifest calls the source: a DICOM folder is often named after the patient."""
    return name if scan.stored.format == "dicom" else source.name


def scan_sha256(scan: Volume) -> str:
    """SHA-256 of the stored values in the array's order."""
    return hashlib.sha256(scan.array.data).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes a manifest, and its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)
    atomic_write_text(path, text + "\n")


def read_manifest(path: Path) -> Manifest | None:
    """A manifest as it was written, or None if it is not there or can't be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model = content["model"]
        return Manifest(
            application=str(content["application"]),
            source=str(content["source"]),
            source_sha256=str(content["source_sha256"]),
            labels={int(value): str(name) for value, name in content["labels"].items()},
            voxels={
                int(value): {part: int(counts[part]) for part in ("total", "hand", "model")}
                for value, counts in content["voxels"].items()
            },
            removed_by_hand=int(content["removed_by_hand"]),
            model=None if model is None else ModelUse(**model),
            review=ReviewState(content["review"]).value,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_source_sha256(path: Path) -> str:
    """The hash of the scan that a manifest belongs to, or "" if it does not say."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["source_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_labels(path: Path) -> LabelList | None:
    """The labels that a manifest names, or None if it is not there or can't be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = {int(value): str(name) for value, name in content["labels"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return labels_named(entries)


def labels_named(names: Mapping[int, str]) -> LabelList:
    """Labels of these values and names in the palette's colours; impossible values are left out."""
    known = sorted((v, n) for v, n in names.items() if 1 <= v < _VALUES)
    return LabelList(tuple(Label(v, n, PALETTE[(v - 1) % len(PALETTE)]) for v, n in known))
