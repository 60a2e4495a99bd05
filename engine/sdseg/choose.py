"""Which model fits a scan best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.domain.box import Box
from engine.domain.volume import Volume
from engine.models.store import ModelEntry
from engine.models.suitability import mismatch
from engine.sdseg.segmenter import FitResult, Segmenter


def choose_model(
    scan: Volume,
    box: Box | None,
    entries: Sequence[ModelEntry],
    load: Callable[[ModelEntry], Segmenter],
) -> tuple[Segmenter | None, dict[str, FitResult]]:
    """The model whose training pictures the scan is nearest to, and what was found for each.

    Args:
        scan: the scan.
        box: region of interest, or None.
        entries: the models to choose from; one without a fit statistic is never chosen by itself.
        load: gives the loaded model (and may keep it).

    Returns:
        None for the model if none fits.
    """
    results: dict[str, FitResult] = {}
    best: tuple[float, Segmenter] | None = None
    for entry in entries:
        reason = mismatch(entry.info, scan)
        if reason or entry.info.fit is None:
            results[entry.name] = FitResult(False, reason or "its fit was never measured")
            continue
        segmenter = load(entry)
        result = segmenter.fit_distance(scan, box=box)
        results[entry.name] = result
        if result.fits and result.distance is not None and result.threshold:
            ratio = result.distance / result.threshold
            if best is None or ratio < best[0]:
                best = (ratio, segmenter)
    return (best[1] if best else None), results
