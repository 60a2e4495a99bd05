"""The part of "does this model fit?" that needs no network: modality and colour."""

from __future__ import annotations

import numpy as np

from engine.domain.volume import Volume
from engine.models.schema import ModelInfo

# Of full scale: a grey picture saved as colour JPEG differs by a few levels between channels.
GREY_TOLERANCE = 0.025
SHARE_OF_SAMPLES = 0.98


def looks_grey(scan: Volume) -> bool:
    """True if a scan has no colour, also where it is stored with three equal channels."""
    if not scan.is_colour:
        return True
    values = scan.array[:, ::4, ::4].reshape(-1, 3).astype(np.float32)
    full = float(np.iinfo(scan.array.dtype).max) if scan.array.dtype.kind in "ui" else 1.0
    spread = (values.max(axis=1) - values.min(axis=1)) / full
    return float(np.mean(spread <= GREY_TOLERANCE)) >= SHARE_OF_SAMPLES


def mismatch(info: ModelInfo, scan: Volume) -> str:
    """Why a model can't be meant for this scan, as half a sentence; "" if it can."""
    if info.fit is None:
        return ""
    if scan.modality and scan.modality not in info.fit.modalities:
        made_for = " or ".join(sorted(info.fit.modalities))
        return f"it was made for {made_for}, and this is {scan.modality}"
    if info.fit.colour is not None and info.fit.colour == looks_grey(scan):
        return f"it was made for {'colour' if info.fit.colour else 'grey'} pictures"
    return ""
