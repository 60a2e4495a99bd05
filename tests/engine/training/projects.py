"""Small project files on real scans, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from engine.domain.box import full_box
from engine.domain.case import Case
from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.domain.review import ReviewState
from engine.io import open_case
from engine.io.project import ProjectFile, entry_of, write_project

APPROVED, CORRECTED = ReviewState.APPROVED, ReviewState.CORRECTED


def write_picture(path: Path, seed: int = 0, side: int = 64) -> Path:
    """A dark picture with a bright disc at its centre."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0:side, 0:side]
    bright = np.where(np.hypot(rows - side / 2, columns - side / 2) < side / 5, 200, 40)
    noise = np.random.default_rng(seed).normal(0, 8, (side, side))
    Image.fromarray((bright + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_volume(path: Path, depth: int = 4, spacing: float = 3.0, shift: float = 0.0) -> Path:
    """An axial volume of 32 x 40 voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(depth).integers(0, 900, (40, 32, depth)).astype(np.int16)
    affine = np.diag([-1.0, -1.0, spacing, 1.0])
    affine[0, 3] = shift
    nib.Nifti1Image(values, affine).to_filename(path)  # type: ignore[attr-defined]
    return path


def worked_on(
    path: Path,
    labels: Sequence[str] = ("disc",),
    review: ReviewState = APPROVED,
    slices: dict[int, ReviewState] | None = None,
    empty: Sequence[str] = (),
) -> Case:
    """An opened case with a small square of each label on each slice, one beside the other."""
    case = open_case(path)
    case.labels = LabelList()
    for name in labels:
        case.labels = case.labels.added(name)
    whole = full_box(case.scan.grid.shape)
    for place, label in enumerate(case.labels):
        if label.name in empty:
            continue
        mask = np.zeros(whole.shape, bool)
        mask[:, 20:40, 4 + 8 * place : 12 + 8 * place] = True
        edit = case.label_map.make_edit(whole, mask, label.id, Origin.HAND)
        assert edit is not None
        case.label_map.apply(edit)
    case.review = review
    case.slice_review = dict(slices or {})
    return case


def write_cases(path: Path, cases: Sequence[Case]) -> Path:
    """Their project file."""
    write_project(path, ProjectFile(cases=[entry_of(case) for case in cases]))
    return path


def picture_project(folder: Path, names: Sequence[str], **how) -> Path:
    """A project of approved pictures."""
    cases = [
        worked_on(write_picture(folder / "scans" / f"{name}.png", seed), **how)
        for seed, name in enumerate(names)
    ]
    return write_cases(folder / "p.sdseg.json", cases)
