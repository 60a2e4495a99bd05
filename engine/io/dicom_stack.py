"""Where the images of a series lie, and what stack they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Affine
from engine.errors import UserError
from engine.io.dicom_header import ImageHeader, Vector

_SAME_PLACE_MM = 1e-3
_SAME_DIRECTION = 1e-3
_UNEVEN = 0.01  # of a slice distance
_ROUNDING_MM = 0.01
_DRIFT_MM = 0.1
_TILT_DEGREES = 0.2
_CROSS_SECTIONS = ("CT", "MR", "PT")
_MOVING = ("XA", "RF", "US", "IVUS", "ES", "XC", "OP", "GM")  # of which films are taken
_SPLIT = "Copy the images that belong together into a folder of their own."
_EXPORT = "Export the frames that belong together as series of their own."


@dataclass(frozen=True, eq=False)
class Stack:
    """Images one behind the other.

    Attributes:
        images: one a position, along the normal of the slices (row x column direction).
        places: index of each image in the stack; a number that is left out is a missing slice.
        affine: voxel (column, row, slice) to world mm in RAS+; sheared for a tilted gantry. Of
            slices that lie unevenly it has the mean distance.
        twins: pairs of images at one place; the pixels tell whether they may be dropped.
        remarks: what was odd.
        oriented: False where nothing says how the patient lies.
        calibrated: False where the distance of the slices is no length.
        exact: where the images really lie if that is unevenly, counted as `places`; else None.
    """

    images: tuple[ImageHeader, ...]
    places: tuple[int, ...]
    affine: Affine
    twins: tuple[tuple[ImageHeader, ImageHeader], ...]
    remarks: tuple[str, ...]
    oriented: bool = True
    calibrated: bool = True
    exact: Vector | None = None

    @property
    def depth(self) -> int:
        """Number of slices, missing ones included."""
        return self.places[-1] + 1

    def exact_from(self, end: bool) -> Vector | None:
        """`exact`, counted from the last slice if `end` is True."""
        return self.exact if self.exact is None or not end else self.exact[-1] - self.exact[::-1]


def make_stack(images: Sequence[ImageHeader], name: str) -> Stack:
    """Sorts the images of one series by position along the slice normal.

    Args:
        images: at least one.
        name: of the folder, for the sentences.

    Raises:
        UserError: they make no stack (no position, several directions or sizes, shifted against
            each other).
    """
    first = images[0]
    if _is_film(images):
        return _film(images)
    _check_alike(images, name)
    if len(images) == 1 or first.along_row is None:
        return _single(first)
    normal = np.cross(first.along_row, _known(first.down_column))
    ordered = sorted(images, key=lambda x: (float(normal @ _known(x.position)), x.path.name))
    kept, twins = _without_twins(ordered, normal)
    if len(kept) == 1:
        single = _single(kept[0])
        return Stack(single.images, single.places, single.affine, twins, single.remarks)
    positions = np.array([_known(image.position) for image in kept])
    places, exact = _places(positions @ normal)
    step = (positions[-1] - positions[0]) / places[-1]
    _check_line(positions, np.array(places) if exact is None else exact, step, normal, name)
    odd = _missing_remarks if exact is None else _uneven_remarks
    remarks = (
        *_origin_remarks(images), *odd(places, positions @ normal), *_tilt_remarks(step, normal)
    )  # fmt: skip
    if first.spacing is None:  # pixels have no millimetres: the slices lie one pixel apart
        step = step / (step @ normal)
    affine = _affine(first, positions[0], step)
    return Stack(tuple(kept), tuple(places), affine, twins, remarks, exact=exact)


def split_hint(image: ImageHeader) -> str:
    """What to do with images that make no stack; parts of a file can't be copied."""
    return _SPLIT if image.frame is None else _EXPORT


def split_passes(images: Sequence[ImageHeader]) -> list[list[ImageHeader]]:
    """The time points of a series that was taken several times; one list if it was taken once.

    What the scanner says of time points tells them apart, else its own count where each place has
    as many images; where neither does, there is one list, since images of two time points would be
    mixed. The last time point of a series that was stopped has fewer images. Each list is in the
    order of the places.
    """
    if (
        len(images) < 2
        or _is_film(images)
        or any(i.position is None or i.along_row is None for i in images)
    ):
        return [list(images)]
    normal = np.cross(_known(images[0].along_row), _known(images[0].down_column))
    ordered = sorted(images, key=lambda x: float(normal @ _known(x.position)))
    groups: list[list[ImageHeader]] = []
    for image in ordered:
        if groups and normal @ (_known(image.position) - _known(groups[-1][0].position)) < (
            _SAME_PLACE_MM
        ):
            groups[-1].append(image)
        else:
            groups.append([image])
    if all(len(group) == 1 for group in groups):
        return [list(images)]
    key = _pass_key(groups)
    if key is not None:
        times = sorted({key(image) for image in ordered})
        return [[image for image in ordered if key(image) == time] for time in times]
    count = len(groups[0])
    if any(len({x.order for x in g}) < len(g) or len(g) != count for g in groups):
        return [list(images)]
    ranked = [sorted(group, key=lambda x: x.order) for group in groups]
    return [[group[n] for group in ranked] for n in range(count)]


def _pass_key(groups: Sequence[Sequence[ImageHeader]]) -> Callable[[ImageHeader], Any] | None:
    """What the scanner says that tells the images of every place apart; None if nothing does.

    Nor may there be more time points than images at one place: a trigger's time that differs from
    slice to slice tells none.
    """
    keys: list[Callable[[ImageHeader], Any]] = [
        *(lambda x, n=n: x.passes[n] for n in range(len(groups[0][0].passes))),
        lambda x: x.passes[:-1],  # echoes of several time points, say; without the number of each
    ]
    most = max(len(group) for group in groups)
    for key in keys:
        told = {key(image) for group in groups for image in group}
        if len(told) == most and all(len({key(x) for x in g}) == len(g) for g in groups):
            return key
    return None


def _is_film(images: Sequence[ImageHeader]) -> bool:
    """True for the frames of one file that have no place, or all the same: a film (XA, US)."""
    first = images[0]
    return len(images) > 1 and all(
        image.path == first.path and _same_place(image, first) for image in images
    )


def _same_place(image: ImageHeader, other: ImageHeader) -> bool:
    if image.position is None or other.position is None:
        return image.position is other.position
    return bool(np.abs(image.position - other.position).max() < _SAME_PLACE_MM)


def _film(images: Sequence[ImageHeader]) -> Stack:
    """Frames one after the other, as slices; their distance is time, not millimetres."""
    row, column, normal = np.eye(3)
    flat = _from_vectors(row, column, normal, np.zeros(3), replace(images[0], spacing=None))
    first, count = images[0], len(images)
    if first.position is None and first.modality not in _MOVING:
        remark = f"{count} frames that do not say where they lie: they are shown in their order"
    else:
        remark = f"{count} frames of one place: they follow in time"
    remark += ", and lengths are counted in pixels."
    places = tuple(range(len(images)))
    return Stack(tuple(images), places, flat, (), (remark,), oriented=False, calibrated=False)


def _known(vector: Vector | None) -> Vector:
    if vector is None:
        raise ValueError("checked before")
    return vector


def _check_alike(images: Sequence[ImageHeader], name: str) -> None:
    """Same size, kind of pixel, direction and spacing, or a sentence that says what differs."""
    if len({image.shape for image in images}) > 1:
        sizes = sorted({f"{i.shape[1]} x {i.shape[0]}" for i in images})
        raise UserError(
            f"The series in {name} mixes images of {' and '.join(sizes)} pixels.", hint=_SPLIT
        )
    if len({i.samples for i in images}) > 1:
        raise UserError(f"The series in {name} mixes grey and colour images.", hint=_SPLIT)
    for what in ("photometric", "modality"):
        found = sorted({getattr(i, what) or "nothing" for i in images})
        if len(found) > 1:
            raise UserError(
                f"The series in {name} mixes images of {' and '.join(found)}.", hint=_SPLIT
            )
    if len(images) > 1:
        _check_one_lattice(images, name)


def _check_one_lattice(images: Sequence[ImageHeader], name: str) -> None:
    """Places are known, directions and spacing (or that it is unknown) the same."""
    first = images[0]
    if any(image.position is None or image.along_row is None for image in images):
        raise UserError(
            f"The images in {name} do not say where they lie, so they can't be stacked.",
            hint="Open one of the files by itself.",
        )
    for image in images:
        turned = max(
            np.abs(_known(image.along_row) - _known(first.along_row)).max(),
            np.abs(_known(image.down_column) - _known(first.down_column)).max(),
        )
        if turned > _SAME_DIRECTION:
            raise UserError(
                f"The series in {name} mixes images of several directions ({first.title} and "
                f"{image.title}).",
                hint=split_hint(image),
            )
        # Of a whole series the pixel size may be unknown: it is uncalibrated, and says so.
        if not np.allclose(image.spacing or 0, first.spacing or 0, rtol=1e-3):
            raise UserError(
                f"The series in {name} mixes images of several pixel spacings "
                f"({first.title} and {image.title}).",
                hint=split_hint(image),
            )


def _without_twins(
    ordered: Sequence[ImageHeader], normal: Vector
) -> tuple[list[ImageHeader], tuple[tuple[ImageHeader, ImageHeader], ...]]:
    kept = [ordered[0]]
    twins: list[tuple[ImageHeader, ImageHeader]] = []
    for image in ordered[1:]:
        moved = normal @ (_known(image.position) - _known(kept[-1].position))
        if moved < _SAME_PLACE_MM:
            twins.append((kept[-1], image))
        else:
            kept.append(image)
    return kept, tuple(twins)


def _places(heights: Vector) -> tuple[list[int], Vector | None]:
    """Index of each slice in a regular stack with gaps; or, without gaps, where they really lie.

    Args:
        heights: rising positions along the normal in mm.
    """
    gaps = np.diff(heights)
    counts = np.rint(gaps / gaps.min()).astype(int)
    places = [0, *np.cumsum(counts).tolist()]
    reach = heights[-1] - heights[0]
    step = reach / places[-1]
    off = np.abs(heights - heights[0] - np.array(places) * step).max()
    off = max(float(off), float(np.abs(gaps - counts * step).max()))
    most_are_missing = places[-1] + 1 > 2 * len(places)  # it was hardly meant as a regular stack
    if most_are_missing or off > max(_UNEVEN * step, _ROUNDING_MM):
        return list(range(len(heights))), (heights - heights[0]) / reach * len(gaps)
    return places, None


def _check_line(
    positions: Vector, places: NDArray[Any], step: Vector, normal: Vector, name: str
) -> None:
    """The first pixels of all slices lie on one straight line."""
    off = positions - positions[0] - places[:, None] * step
    sideways = off - np.outer(off @ normal, normal)
    if np.linalg.norm(sideways, axis=1).max() > _DRIFT_MM:
        raise UserError(f"The slices in {name} are shifted against each other.", hint=_SPLIT)


def _uneven_remarks(_places: list[int], heights: Vector) -> list[str]:
    gaps = np.diff(heights)
    return [
        f"The slices lie unevenly, {gaps.min():.3f} to {gaps.max():.3f} mm apart: the series is "
        "worked on slice by slice only, and its mask is exported as DICOM or PNG."
    ]


def _missing_remarks(places: list[int], heights: Vector) -> list[str]:
    remarks: list[str] = []
    for n in np.flatnonzero(np.diff(places) > 1):
        count = places[n + 1] - places[n] - 1
        remarks.append(
            f"{count} slice{'s are' if count > 1 else ' is'} missing between "
            f"{heights[n]:.1f} and {heights[n + 1]:.1f} mm; left empty."
        )
    return remarks


def _origin_remarks(images: Sequence[ImageHeader]) -> list[str]:
    """Images of one series belong to one study and have their places in one frame of reference."""
    return [
        f"The images are of {count} {what}: check that they belong together."
        for what, count in (
            ("studies", len({image.study for image in images})),
            ("frames of reference", len({image.space for image in images})),
        )
        if count > 1
    ]


def _tilt_remarks(step: Vector, normal: Vector) -> list[str]:
    cosine = float(step @ normal / np.linalg.norm(step))
    degrees = float(np.degrees(np.arccos(min(1.0, cosine))))
    if degrees <= _TILT_DEGREES:
        return []
    return [f"The gantry was tilted by {degrees:.1f} degrees; the grid keeps the shear."]


def _single(image: ImageHeader) -> Stack:
    """One image; without position or spacing it is placed as a plain picture would be."""
    if image.along_row is None or image.down_column is None or image.position is None:
        row, column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
        flat = _from_vectors(row, column, np.array([0, 0, 1.0]), np.zeros(3), image)
        cut = image.modality in _CROSS_SECTIONS
        remarks = ("The image does not say where it lies in the patient.",) if cut else ()
        return Stack((image,), (0,), flat, (), remarks, oriented=False)
    normal = np.cross(image.along_row, image.down_column)
    affine = _affine(image, image.position, normal * image.distance)
    return Stack((image,), (0,), affine, (), ())


def _affine(image: ImageHeader, origin: Vector, step: Vector) -> Affine:
    return _from_vectors(_known(image.along_row), _known(image.down_column), step, origin, image)


def _from_vectors(
    row: Vector, column: Vector, step: Vector, origin: Vector, image: ImageHeader
) -> Affine:
    """(column, row, slice) to RAS+ mm from vectors in DICOM's LPS+ mm."""
    down, along = image.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = row * along
    affine[:3, 1] = column * down
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
