"""The pixels of a DICOM series, read straight into their place in the array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.grid import Grid
from engine.domain.stored import StoredForm
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.dicom_child import CONTAINED
from engine.io.dicom_decode import Decoder
from engine.io.dicom_header import ImageHeader, short_hash
from engine.io.dicom_stack import Stack
from engine.io.orientation import array_affine, closest_form, to_stored

MAX_BYTES = 16 * 2**30
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR")
Progress = Callable[[int, int], None]


def check_pixels(image: ImageHeader) -> None:
    """Refuses what can't be read, before anything is allocated.

    Raises:
        UserError: an unknown kind of pixel, or a file that is too short.
    """
    name = image.path.name
    if image.photometric not in (*_GREY, *_COLOUR):
        kind = image.photometric or "nothing"
        raise UserError(f"{name} says {kind} about its colours, which can't be shown.")
    size = image.path.stat().st_size
    if not image.compressed and size < image.pixel_bytes * image.frames:
        raise UserError(f"{name} is cut short: pixels are missing.", hint="Copy the file again.")
    if image.pixel_bytes > MAX_BYTES:
        raise UserError(f"{name} says it is larger than any picture that opens: it is damaged.")


def read_stack(stack: Stack, progress: Progress | None = None) -> tuple[Volume, list[str]]:
    """Reads the pixels of a stack into one array in LPS+ order.

    Returns:
        The scan and what was odd. Missing slices hold the lowest value and are not `loaded`.
    """
    reader, first = PixelReader(), stack.images[0]
    _check_twins(stack, reader)
    pixels = reader.read(first)
    if pixels.nbytes * stack.depth > MAX_BYTES:
        raise UserError(f"The series has more than the {MAX_BYTES >> 30} GB that open.")
    form = replace(closest_form(stack.affine), format="dicom", series=short_hash(first.series))
    shape = (pixels.shape[1], pixels.shape[0], stack.depth)
    k, j, i = (shape[axis] for axis in form.axes)
    array = np.zeros((k, j, i, *pixels.shape[2:]), dtype=_common_type(stack, pixels))
    # A view in the stack's order: what is written here lands in its LPS+ place, without a copy.
    _fill(to_stored(array, form), stack, pixels, reader, progress)
    grid = Grid(
        (k, j, i),
        array_affine(stack.affine, shape, form),
        calibrated=first.spacing is not None and stack.calibrated,
        oriented=stack.oriented,
    )
    return _volume(array, grid, form, stack), _remarks(stack)


def _fill(
    target: NDArray[Any],
    stack: Stack,
    pixels: NDArray[Any],
    reader: PixelReader,
    progress: Progress | None,
) -> None:
    """Writes every image into ``[column, row, slice]``; `pixels` are those of the first."""
    for n, image in enumerate(stack.images):
        values = pixels if n == 0 else reader.read(image)
        if values.shape != pixels.shape:
            raise UserError(f"{image.path.name} does not have the size that its header says.")
        target[:, :, stack.places[n]] = _converted(image, values, target.dtype).swapaxes(0, 1)
        if progress:
            progress(n + 1, len(stack.images))
    missing = sorted(set(range(stack.depth)) - set(stack.places))
    if missing:
        target[:, :, missing] = _nothing(stack, target)


def _volume(array: NDArray[Any], grid: Grid, form: StoredForm, stack: Stack) -> Volume:
    first = stack.images[0]
    plane = form.axes.index(2)
    loaded = np.zeros(stack.depth, dtype=np.bool_)
    loaded[list(stack.places)] = True
    is_real = array.dtype.kind == "f"
    return Volume(
        array,
        grid,
        plane,
        slope=1.0 if is_real else first.slope,
        intercept=0.0 if is_real else first.intercept,
        modality=first.modality,
        unit=first.unit,
        window=stack.images[len(stack.images) // 2].window,
        padding=None if is_real else first.padding,
        loaded=loaded[::-1] if form.flipped[plane] else loaded,
        inverted=first.photometric == "MONOCHROME1",
        stored=form,
    )


class PixelReader:
    """Reads images: plain pixels here, compressed ones in a child process (promise 5)."""

    def __init__(self) -> None:
        self._plain = Decoder()

    def read(self, image: ImageHeader) -> NDArray[Any]:
        """Stored values ``[row, column]``, or RGB ``[row, column, 3]``.

        Raises:
            UserError: they can't be decoded.
        """
        if image.compressed:
            return CONTAINED.read(image.path, image.frame, image.pixel_bytes)
        return self._plain.read(image.path, image.frame)


def _check_twins(stack: Stack, reader: PixelReader) -> None:
    """Images at one place may be dropped only if their pixels are equal."""
    for kept, twin in stack.twins:
        if not np.array_equal(reader.read(kept), reader.read(twin)):
            raise UserError(
                f"{kept.path.name} and {twin.path.name} lie at the same place but differ: "
                "the series was taken more than once.",
                hint="Copy the images of one pass into a folder of their own.",
            )


def _common_type(stack: Stack, pixels: NDArray[Any]) -> np.dtype[Any]:
    """Stored integers where one slope and intercept serve all slices, else float32."""
    scales = {(image.slope, image.intercept) for image in stack.images}
    if pixels.dtype.kind not in "iu" or len(scales) > 1:
        return np.dtype(np.float32)
    return pixels.dtype.newbyteorder("=")


def _converted(image: ImageHeader, pixels: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    if kind.kind != "f":
        info = np.iinfo(kind)
        if pixels.dtype != kind and (pixels.min() < info.min or pixels.max() > info.max):
            raise UserError(f"{image.path.name} holds values of another type than the series.")
        return pixels
    real = pixels.astype(np.float32) * np.float32(image.slope) + np.float32(image.intercept)
    return np.nan_to_num(real, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _nothing(stack: Stack, target: NDArray[Any]) -> int | float:
    """What a missing slice is filled with: the padding, else the lowest value."""
    padding = stack.images[0].padding
    if padding is not None and target.dtype.kind in "iu":
        info = np.iinfo(target.dtype)
        if info.min <= padding <= info.max:
            return padding
    return target[:, :, list(stack.places)].min()


def _remarks(stack: Stack) -> list[str]:
    first = stack.images[0]
    remarks: list[str] = []
    if stack.twins:
        count = len(stack.twins)
        remarks.append(f"{count} image{'s' if count > 1 else ''} came twice; one of each is used.")
    if first.photometric == "MONOCHROME1":
        remarks.append("Low values are shown bright, as the file asks (MONOCHROME1).")
    if first.spacing is None:
        remarks.append("The size of a pixel is not known: uncalibrated.")
    elif first.spacing_at_detector:
        remarks.append("Lengths are those at the detector, not in the patient.")
    return remarks
