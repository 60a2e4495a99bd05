"""How large the pixels of a DICOM image are, and where that was measured."""

from __future__ import annotations

from engine.io.dicom_frames import Elements
from engine.io.dicom_values import floats_of, number_of, text_of

# Pictures of a shadow, which is larger than what throws it (PS3.3 10.7).
_PROJECTIONS = ("CR", "DX", "MG", "RF", "XA", "IO", "PX")
_CENTIMETRES, _NOT_SPATIAL, _IN_TWO_DIRECTIONS = 3, 0, 1  # of ultrasound (PS3.3 C.8.5.5)


def spacing_of(ds: Elements) -> tuple[tuple[float, float] | None, str]:
    """(row, column) distance in mm, and where it was measured (PS3.3 10.7.1.3)."""
    pixel, detector, film = (
        _distances(floats_of(ds, name, 2))
        for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    )
    if pixel is None:
        if detector or film:
            return detector or film, "detector" if detector else "film"
        return _of_regions(ds), ""
    if text_of(ds, "PixelSpacingCalibrationType"):
        return pixel, ""
    if pixel in (detector, film):
        return pixel, "detector" if pixel == detector else "film"
    is_shadow = text_of(ds, "Modality") in _PROJECTIONS and "ImagePositionPatient" not in ds
    return pixel, "unknown" if is_shadow and detector is None else ""


def _distances(values: list[float] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values is not None and min(values) > 0 else None


def _of_regions(ds: Elements) -> tuple[float, float] | None:
    """What the regions of an ultrasound picture agree on; None if one of them is no such picture.

    Beside it may lie a Doppler curve, whose directions are time and speed.
    """
    found: set[tuple[float, float] | None] = set()
    for region in ds.get("SequenceOfUltrasoundRegions") or []:
        each = Elements([region])
        kind = number_of(each, "RegionSpatialFormat", -1)
        units = [number_of(each, f"PhysicalUnits{way}Direction", -1) for way in "XY"]
        if kind == _IN_TWO_DIRECTIONS and units == [_CENTIMETRES] * 2:
            down, along = (abs(number_of(each, f"PhysicalDelta{way}", 0)) * 10 for way in "YX")
            found.add(_distances([round(down, 6), round(along, 6)]))
        elif kind != _NOT_SPATIAL:
            found.add(None)
    return found.pop() if len(found) == 1 else None
