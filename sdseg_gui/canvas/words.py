"""Puts together what is written over a slice."""

from __future__ import annotations

from engine.domain.box import Box
from engine.domain.case import Case
from engine.domain.volume import Volume
from engine.imaging.orientation import edge_letters
from sdseg_gui.canvas import texts
from sdseg_gui.canvas.annotations import Words
from sdseg_gui.canvas.camera import Camera

_BAR_PART = 0.18  # of the screen area's width, at most
_BAR_LONGEST = 200.0  # screen pixels


def words_for(case: Case, index: int, window: tuple[float, float], camera: Camera) -> Words:
    """The words for slice `index` of a case."""
    scan = case.scan
    return Words(
        title=tuple(texts.title(case)),
        place=tuple(texts.place(scan, index)),
        window=tuple(texts.window(scan, window)),
        zoom=texts.zoom(camera.magnification),
        letters=None if scan.is_picture else edge_letters(scan.grid, scan.plane),
        bar=_bar(camera) if scan.grid.calibrated else None,
    )


def box_caption(scan: Volume, box: Box) -> str:
    """How large a box is: width and height, and its slices if the scan has several."""
    rows, columns = box.in_slice(scan.plane)
    height, width = scan.slice_spacing if scan.grid.calibrated else (1.0, 1.0)
    unit = "mm" if scan.grid.calibrated else "px"
    sides = ((columns, width), (rows, height))
    size = " × ".join(f"{(side.stop - side.start) * step:.0f}" for side, step in sides)
    covered = box.range_along(scan.plane)
    slices = f" · slices {covered.start + 1}–{covered.stop}" if scan.slice_count > 1 else ""
    return f"{size} {unit}{slices}"


def _bar(camera: Camera) -> tuple[float, str]:
    longest = min(camera.size[0] * _BAR_PART, _BAR_LONGEST) / camera.scale
    length, caption = texts.scale_bar(longest)
    return length * camera.scale, caption
