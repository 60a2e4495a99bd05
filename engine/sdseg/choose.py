"""Which model fits a scan best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.domain.box import Box
from engine.domain.volume import Volume
from engine.models.store import ModelEntry
from engine.sdseg.fit_check import FitResult, check_fit
from engine.sdseg.segmenter import Segmenter


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
        load: gives the loaded model (and may keep it); only the chosen one is asked for.

    Returns:
        None for the model if none fits.
    """
    results: dict[str, FitResult] = {}
    best: tuple[float, ModelEntry] | None = None
    for entry in entries:
        result = check_fit(entry, scan, box=box)
        if result.fits and (result.distance is None or not result.threshold):
            result = FitResult(False, "its fit was never measured")
        results[entry.name] = result
        if result.fits and result.distance is not None and result.threshold:
            ratio = result.distance / result.threshold
            if best is None or ratio < best[0]:
                best = (ratio, entry)
    return (load(best[1]) if best else None), results
