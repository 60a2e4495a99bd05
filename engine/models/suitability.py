"""The part of "does this model fit?" that needs no network: modality and colour."""

from __future__ import annotations

import numpy as np

from engine.domain.box import Box, full_box
from engine.domain.volume import AXIS_PLANE, PLANE_AXIS, Volume
from engine.models.schema import ModelInfo

# Of full scale: a grey picture saved as colour JPEG differs by a few levels between channels.
GREY_TOLERANCE = 0.025
SHARE_OF_SAMPLES = 0.98
# A volume this many times larger than the training field wants a box first.
FIELD_TOLERANCE = 1.5


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
    axis = slicing_axis(info, scan)
    if axis != scan.plane and not scan.is_even:
        return f"it works on {AXIS_PLANE[axis]} slices, and those of the scan lie unevenly"
    if info.fit is None:
        return ""
    if scan.modality and scan.modality not in info.fit.modalities:
        made_for = " or ".join(sorted(info.fit.modalities))
        return f"it was made for {made_for}, and this is {scan.modality}"
    if info.fit.colour is not None and info.fit.colour == looks_grey(scan):
        return f"it was made for {'colour' if info.fit.colour else 'grey'} pictures"
    return ""


def slicing_axis(info: ModelInfo, scan: Volume) -> int:
    """The axis that a model wants to slice a scan along."""
    return scan.plane if info.plane == "scan" else PLANE_AXIS[info.plane]


def needs_box(info: ModelInfo, scan: Volume, box: Box | None) -> bool:
    """True if a scan (or box) is much larger than what a model was trained on."""
    field = info.preprocessing.field_mm
    if field is None or not scan.grid.calibrated:
        return False
    axis = slicing_axis(info, scan)
    shape = (box or full_box(scan.grid.shape)).shape
    lengths = [
        n * s for a, (n, s) in enumerate(zip(shape, scan.grid.spacing, strict=True)) if a != axis
    ]
    return max(lengths) > FIELD_TOLERANCE * field
