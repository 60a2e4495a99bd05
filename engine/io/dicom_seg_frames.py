"""Where the frames of a DICOM SEG lie: on the slices of a scan, or on a grid of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Affine, Grid
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.dicom_frames import Elements
from engine.io.mask_placing import SAME_SCAN

_OFF_GRID = 0.01  # of a voxel
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE_MM = 1e-3
_SAME_DIRECTION = 1e-3
_UNEVEN = 0.01  # of a slice distance
_SQUARE = 0.02  # how far rows and columns may be from square to each other
_COARSER = 1.5  # voxels of the grid between two of the segmentation
Way = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Frame:
    """One frame of a segmentation.

    Attributes:
        segment: its number; 0 where the pixels say it.
        affine: (column, row, 0, 1) to world mm in RAS+.
        distance: of the slices it was drawn on, in mm; 0 if nothing says it.
        thickness: of these slices in mm, 0 if unknown. They may overlap or leave gaps.
    """

    segment: int
    affine: Affine
    distance: float
    thickness: float


def frame_of(path: Path, elements: Elements) -> Frame:
    """The frame that its elements describe.

    Raises:
        UserError: they do not say where it lies.
    """
    affine = np.eye(4)
    affine[:3, 3] = _numbers(path, elements, "ImagePositionPatient", 3)
    orientation = _numbers(path, elements, "ImageOrientationPatient", 6)
    down, along = _numbers(path, elements, "PixelSpacing", 2)
    affine[:3, 0], affine[:3, 1] = orientation[:3] * along, orientation[3:] * down
    affine[:3, 2] = np.cross(orientation[:3], orientation[3:])
    if min(down, along) <= 0 or abs(np.linalg.norm(affine[:3, 2]) - 1) > _SQUARE:
        raise _nowhere(path)
    distance, thickness = (
        abs(float(elements.get(name) or 0)) for name in ("SpacingBetweenSlices", "SliceThickness")
    )
    segment = int(elements.get("ReferencedSegmentNumber") or 0)
    return Frame(segment, _TO_RAS @ affine, distance, thickness)


def _numbers(path: Path, elements: Elements, name: str, count: int) -> NDArray[np.float64]:
    """Exactly `count` finite numbers of an element."""
    numbers = np.array([float(v) for v in elements.get(name) or ()])
    if numbers.size != count or not np.isfinite(numbers).all():
        raise _nowhere(path)
    return numbers


def _nowhere(path: Path) -> UserError:
    return UserError(
        f"{path.name} does not say where its segments lie in the patient.",
        hint="Export it from its program as NIfTI.",
    )


def way_onto(frame: Frame, size: tuple[int, int], grid: Grid, scan: Volume | None) -> Way | None:
    """Voxel (i, j, k) of a frame's first pixel, and steps to it ``[3, 2]`` of column and row.

    Args:
        frame: any.
        size: its (rows, columns).
        grid: whose voxels its pixels must be.
        scan: of that grid, where its slices may lie unevenly: the frame must lie on one of them.

    Returns:
        None if the pixels lie between the voxels.
    """
    to_voxel = np.linalg.inv(grid.affine) @ frame.affine
    start, steps = to_voxel[:3, 3], to_voxel[:3, :2]
    if scan is not None and not scan.is_even:
        across = 2 - scan.plane
        if np.abs(steps[across]).max() > _OFF_GRID / max(size):
            return None
        start[across] = scan.index_at(start[across])
    if np.abs(steps - np.rint(steps)).max() > _OFF_GRID / max(size) or (
        np.abs(start - np.rint(start)).max() > _OFF_GRID
    ):
        return None
    return start, steps


def voxels_of(values: NDArray[Any], way: Way, grid: Grid) -> NDArray[np.intp] | None:
    """Voxels (i, j, k), ``[3, n]``, of what is not 0 in a frame; None if one is outside."""
    start, steps = way
    rows, columns = np.nonzero(values)
    place = np.rint(start[:, None] + steps @ np.stack([columns, rows])).astype(np.intp)
    if place.size and (place.min() < 0 or (place.max(axis=1) >= grid.shape[::-1]).any()):
        return None
    return place


def leaves_stripes(frames: Sequence[Frame], scan: Volume, is_drawn_on: bool | None) -> bool:
    """True if the segmentation is coarser than the scan and its voxels would lie apart on it.

    Frames on every second slice, say, may be all that somebody drew on the scan, or the slices of a
    coarser series. What they were drawn on tells which, and how far apart they say that they lie.

    Args:
        frames: at least one.
        scan: the scan.
        is_drawn_on: True if they name the scan or its images, False if others; None: neither.
    """
    first = frames[0]
    to_voxel = np.linalg.inv(scan.grid.affine)
    steps = to_voxel[:3, :3] @ first.affine[:3, :3]
    if np.abs(steps[:, :2]).max() > _COARSER:
        return True
    if not scan.is_even:  # `way_onto` looks for the slice of each frame
        return False
    axis = int(np.abs(steps[:, :2]).sum(axis=1).argmin())
    places = [round(float((to_voxel @ frame.affine[:, 3])[axis])) for frame in frames]
    apart = math.gcd(*(place - min(places) for place in places))
    distance = _believed(frames, is_drawn_on) * abs(float(steps[axis, 2]))
    return apart != 1 and distance > _COARSER


def own_grid(path: Path, frames: Sequence[Frame], size: tuple[int, int]) -> Grid:
    """The grid that the frames of a segmentation make by themselves: ``[position, row, column]``.

    Raises:
        UserError: they lie in several directions, or unevenly.
    """
    first = frames[0].affine
    normal = first[:3, 2]
    origins, heights = _heights(frames)
    start, end = origins[heights.argmin()], origins[heights.argmax()]
    reach = float(np.ptp(heights))
    gap = float(_gaps(frames).min(initial=reach))
    distance = _distance(frames)
    step = distance if 0 < distance < gap * (1 + _UNEVEN) else gap
    depth = round(reach / step) if step else 0
    along = (end - start) / depth if depth else normal * (distance or 1.0)
    index = np.rint((heights - heights.min()) / max(along @ normal, _SAME_PLACE_MM))
    off = np.sqrt(((origins - start - index[:, None] * along) ** 2).sum(axis=1))
    turned = [np.abs(frame.affine[:3, :3] - first[:3, :3]).max() for frame in frames]
    if max(turned) > _SAME_DIRECTION or off.max() > _UNEVEN * float(np.linalg.norm(along)):
        raise UserError(
            f"{path.name} lies on another grid, and its frames make no regular grid.",
            hint=SAME_SCAN,
        )
    affine = first.copy()
    affine[:3, 2], affine[:3, 3] = along, start
    return Grid((depth + 1, *size), affine)


def _heights(frames: Sequence[Frame]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First pixels of the frames in mm, ``[n, 3]``, and their heights along the first's normal."""
    origins = np.array([frame.affine[:3, 3] for frame in frames])
    return origins, (origins - origins[0]) @ frames[0].affine[:3, 2]


def _gaps(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Distances in mm from each position of frames to the next."""
    gaps: NDArray[np.float64] = np.diff(np.sort(_heights(frames)[1]))
    return gaps[gaps > _SAME_PLACE_MM]


def _distance(frames: Sequence[Frame]) -> float:
    """Of the slices that the frames were drawn on, in mm; 0 if unknown.

    Their thickness is taken for it where the frames lie apart by that much, or by multiples of it.
    """
    first = frames[0]
    return first.distance or (first.thickness if _lie_apart_by(first.thickness, frames) else 0.0)


def _believed(frames: Sequence[Frame], is_drawn_on: bool | None) -> float:
    """The distance in mm by which frames may be those of a coarser series; 0 if none is.

    Frames that were drawn on the scan repeat what its headers say, which may be wrong, so that
    their places must agree. A thickness without any agreement counts if they name another series.
    """
    first, agree = frames[0], bool(_gaps(frames).size)
    if is_drawn_on:
        return first.distance if agree and _lie_apart_by(first.distance, frames) else 0.0
    return _distance(frames) if first.distance or agree or is_drawn_on is False else 0.0


def _lie_apart_by(distance: float, frames: Sequence[Frame]) -> bool:
    """True if all positions lie apart by multiples of a distance in mm; also if there is one."""
    gaps = _gaps(frames)
    off = np.abs(gaps - np.rint(gaps / distance) * distance) if distance else gaps
    return bool(off.max(initial=0) <= _UNEVEN * distance)
