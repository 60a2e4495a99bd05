"""Asks a model's fit statistic about a scan; the model itself need not be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.domain.box import Box, full_box
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.models.store import BROKEN, ModelEntry, file_sha256
from engine.models.suitability import mismatch, slicing_axis
from engine.sdseg.fit import FitCloud, cloud_of, fit_features, trunk_sha256
from engine.sdseg.folder import FIT_FILE, load_fit
from engine.sdseg.preprocess import intensity_range, prepare

FIT_SLICES = 5


@dataclass(frozen=True)
class FitResult:
    """Whether a model fits a scan.

    Attributes:
        fits: False means that the user should be warned.
        reason: why not, as half a sentence; "" if it fits.
        distance, threshold: of the pictures' features; None if they were not needed.
    """

    fits: bool
    reason: str = ""
    distance: float | None = None
    threshold: float | None = None


def check_fit(
    entry: ModelEntry, scan: Volume, slices: Sequence[int] | None = None, box: Box | None = None
) -> FitResult:
    """Whether a model fits a scan: modality and colour first, then measured.

    Args:
        entry: the model.
        scan: the scan.
        slices: which ones to look at; None picks a few, spread over the box. The middle of their
            distances counts.
        box: region of interest.

    Raises:
        UserError: the model's statistic is damaged.
    """
    reason = mismatch(entry.info, scan)
    if reason:
        return FitResult(False, reason)
    cloud = _cloud(entry)
    if cloud is None or entry.info.fit is None:
        return FitResult(True)
    pictures = _pictures(entry, scan, slices, box)
    if not pictures:
        return FitResult(True)
    features = fit_features(torch.from_numpy(np.stack(pictures)))
    distance = float(cloud.distance(features).quantile(0.5))
    limit = entry.info.fit.threshold
    if distance <= limit:
        return FitResult(True, "", distance, limit)
    learnt = f" ({entry.info.kind})" if entry.info.kind else ""
    reason = f"the picture is unlike the ones it has learnt from{learnt}"
    return FitResult(False, reason, distance, limit)


def _cloud(entry: ModelEntry) -> FitCloud | None:
    """The statistic, or None if there is none that was measured with the present trunk."""
    if entry.info.fit is None or entry.info.fit.trunk_sha256 != trunk_sha256():
        return None
    file = entry.folder / FIT_FILE
    if not file.is_file() or file_sha256(file) != entry.info.hashes.get(FIT_FILE):
        raise UserError(f"{entry.name}/{FIT_FILE} is not the file it was saved as.", hint=BROKEN)
    tensors = load_fit(entry.folder)
    return cloud_of(tensors) if tensors else None


def _pictures(
    entry: ModelEntry, scan: Volume, slices: Sequence[int] | None, box: Box | None
) -> list[np.ndarray]:
    """The network's pictures of the slices to look at; none if none of them is loaded."""
    axis = slicing_axis(entry.info, scan)
    region = box or full_box(scan.grid.shape)
    wanted = slices if slices is not None else region.range_along(axis)
    ready = [n for n in wanted if axis != scan.plane or scan.loaded[n]]
    rules = entry.info.preprocessing
    values = intensity_range(scan, rules, box)
    part = region.in_slice(axis)
    return [prepare(scan, n, part, rules, values, axis)[0] for n in spread(ready, FIT_SLICES)]


def spread(indices: Sequence[int], count: int) -> list[int]:
    """A few of many, evenly, the ends left out where there are more than a few."""
    if len(indices) <= count:
        return list(indices)
    places = np.linspace(0, len(indices) - 1, count + 2)[1:-1]
    return [indices[round(place)] for place in places]
