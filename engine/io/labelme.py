"""labelme's JSON out and in: a polygon a part of a label, in pixels of the upright picture."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.domain.case import Case
from engine.errors import UserError
from engine.imaging.contours import Points, fill, outlines
from engine.io.kinds import reading
from engine.io.mask_overlaps import Placing
from engine.io.mask_placing import SAME_SCAN, Tell
from engine.io.replacing import GENERATOR
from engine.system.atomic import atomic_write_text

_VERSION = "5.0.0"  # of the file's layout
_CENTRE = 0.5  # labelme counts from the corner of the first pixel, we from its centre
_MAX_BYTES = 256 * 2**20
_MOST = 255
_LINES = ("point", "line", "linestrip", "points")  # they mark no area
_AREAS = ("polygon", "rectangle", "oriented_rectangle", "rotation", "quadrilateral")  # by corners
_CORNERS = 720  # of a circle: within a twentieth of a pixel up to a radius of 5,000


def check_picture(path: Path, case: Case) -> None:
    """Raises UserError unless the case is a picture."""
    if not case.scan.is_picture:
        raise UserError(
            f"{path.name} can't be written: labelme knows pictures, and {case.name} is a scan.",
            hint="Name a .nii.gz file, or export the slices as PNG.",
        )


def write_labelme(path: Path, array: NDArray[np.uint8], case: Case) -> None:
    """Writes the labels of a picture as polygons, all of it or nothing.

    A hole is joined to its outline by a cut without width, since labelme knows no holes. The
    picture itself is not put into the file, only its name.

    Args:
        path: ends in .json.
        array: uint8 ``[1, j, i]``.
        case: a picture.

    Raises:
        UserError: the case is no picture.
    """
    check_picture(path, case)
    plane = array[0]  # upright, as labelme shows a picture too
    names = {label.id: label.name for label in case.labels}
    shapes = [
        _shape(names.get(int(value), str(value)), points)
        for value in np.unique(plane)
        if value
        for points in outlines(plane == value)
    ]
    content = {
        "version": _VERSION,
        "generator": GENERATOR,
        "flags": {},
        "shapes": shapes,
        "imagePath": case.source.name,
        "imageData": None,
        "imageHeight": plane.shape[0],
        "imageWidth": plane.shape[1],
    }
    atomic_write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _shape(name: str, points: Points) -> dict[str, Any]:
    return {
        "label": name,
        "points": (points + _CENTRE).tolist(),
        "group_id": None,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
    }


def read_labelme(
    path: Path, case: Case, overlap: str = "", tell: Tell = lambda _: None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Polygons, rectangles, circles and masks as labels, numbered as their names first stand there.

    Args:
        path: of the file.
        case: the picture it was drawn on.
        overlap: as `Placing` wants it.
        tell: called with a sentence about shapes that mark no pixel: points, lines, and what lies
            outside of the picture.

    Returns:
        uint8 ``[1, j, i]``, and the labels' names.

    Raises:
        ChoiceNeeded: shapes of two labels overlap, and nothing was chosen.
        UserError: it is damaged, of another picture, or holds shapes that are no areas.
    """
    with reading(path):
        shapes = _shapes(path, case)
        shape = case.scan.slice_shape
        placing = Placing(path, (1, *shape), overlap)
        numbers: dict[str, int] = {}
        empty = 0
        for entry in shapes:
            number = numbers.setdefault(str(entry["label"]), len(numbers) + 1)
            if number > _MOST:
                raise UserError(f"{path.name} holds more than {_MOST} labels.")
            rows, columns = np.nonzero(_pixels(path, entry, shape))
            empty += not rows.size
            place = np.stack([columns, rows, np.zeros_like(rows)])
            placing.put(place, np.full(rows.size, number, dtype=np.uint8))
        if empty:
            tell(f"{empty} of the {len(shapes)} shapes in {path.name} mark no pixel.")
        names = {n: name for name, n in numbers.items()}
        return placing.finish(names).astype(np.uint8, copy=False), names


def _shapes(path: Path, case: Case) -> list[dict[str, Any]]:
    """What the file holds, if it belongs to the case."""
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path.name} has more than the {_MAX_BYTES >> 20} MB that open.")
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict) or "shapes" not in content:
        raise UserError(f"{path.name} is no file of labelme.", hint="Open a .json of labelme.")
    if not case.scan.is_picture:
        raise UserError(f"{path.name} was drawn on a picture, and {case.name} is a scan.")
    rows, columns = size = content.get("imageHeight"), content.get("imageWidth")
    if size != case.scan.slice_shape:
        own = " x ".join(str(n) for n in case.scan.slice_shape[::-1])
        raise UserError(
            f"{path.name} belongs to a picture of {columns} x {rows} pixels; "
            f"{case.name} has {own}.",
            hint=SAME_SCAN,
        )
    return list(content["shapes"])


def _pixels(path: Path, entry: dict[str, Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What one shape marks, ``[rows, columns]``."""
    kind = entry.get("shape_type") or "polygon"
    points = np.array(entry["points"], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise UserError(f"{path.name} is damaged: it holds a point without coordinates.")
    if kind in _LINES:
        return np.zeros(shape, dtype=np.bool_)
    if kind == "mask":
        return _stamped(entry["mask"], points[0], shape)
    if kind == "circle" and len(points) == 2:  # its centre and a point of it
        return fill([_circle(*(points - _CENTRE))], shape)
    if kind not in _AREAS:
        raise UserError(
            f"{path.name} holds a shape of kind {kind}, which can't be opened.",
            hint="Polygons, rectangles, circles and masks can be opened.",
        )
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return fill([points - _CENTRE], shape)


def _circle(centre: Points, rim: Points) -> Points:
    angles = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
    radius = np.linalg.norm(rim - centre)
    return centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _stamped(text: str, corner: Points, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask as labelme keeps it: a PNG of a part of the picture, and its upper left pixel."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        if image.width > shape[1] or image.height > shape[0]:
            raise ValueError("a part is not larger than the whole")
        part = np.asarray(image.convert("L")) > 0
    marked = np.zeros(shape, dtype=np.bool_)
    left, top = corner.astype(int).tolist()
    rows, columns = np.nonzero(part)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    marked[rows[inside], columns[inside]] = True
    return marked
