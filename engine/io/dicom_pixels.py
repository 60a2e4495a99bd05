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
from engine.io.dicom_stack import Stack, split_hint
from engine.io.kinds import reading
from engine.io.orientation import array_affine, closest_form, to_stored

MAX_BYTES = 16 * 2**30
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR")
_MEASURED = {  # where the size of a pixel was
    "detector": "Lengths are those at the detector, not in the patient.",
    "film": "Lengths are those on the scanned film, not in the patient.",
    "unknown": "The file does not say whether lengths are those at the detector or in the patient.",
}
_WHERE = {"": "", "detector": " at the detector", "film": " on the scanned film"}
_WHERE["unknown"] = " at the detector or in the patient"
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
    if not image.compressed and size < image.file_bytes:
        raise UserError(f"{name} is cut short: pixels are missing.", hint="Copy the file again.")
    if image.pixel_bytes > MAX_BYTES:
        raise UserError(f"{name} says it is larger than any picture that opens: it is damaged.")


class StackLoader:
    """Owns the array of a scan while its slices are read into it.

    The first image of the stack is read at once: it tells the type of all. Whether they become
    real values is known from the headers.

    Attributes:
        scan: in LPS+ order, its array and its flags read-only. A slice is flagged as loaded when it
            is all there. Missing slices get the padding, else the lowest value.
        remarks: what is odd.

    Raises:
        UserError: images at one place differ, or they are too large.
    """

    def __init__(self, stack: Stack, check: Callable[[], None] | None = None) -> None:
        """`check` is called before images at one place are compared; it may raise `Cancelled`."""
        self._stack, self._reader, first = stack, PixelReader(), stack.images[0]
        _check_twins(stack, self._reader, check)
        pixels = self._reader.read(first)
        if pixels.nbytes * stack.depth > MAX_BYTES:
            raise UserError(f"The series has more than the {MAX_BYTES >> 30} GB that open.")
        self._shape = pixels.shape
        form = replace(closest_form(stack.affine), format="dicom", series=short_hash(first.series))
        shape = (pixels.shape[1], pixels.shape[0], stack.depth)
        k, j, i = (shape[axis] for axis in form.axes)
        self._array = np.zeros((k, j, i, *pixels.shape[2:]), dtype=_common_type(stack, pixels))
        # A view in the stack's order: what is written here lands in its LPS+ place, uncopied.
        self._target = to_stored(self._array, form)
        self._loaded = np.zeros(stack.depth, dtype=np.bool_)
        grid = Grid(
            (k, j, i),
            array_affine(stack.affine, shape, form),
            calibrated=first.spacing is not None and stack.calibrated,
            oriented=stack.oriented,
        )
        self.scan = _volume(self._array, self._loaded, grid, form, stack)
        self.remarks = _remarks(stack)
        self._lowest: int | float | None = None
        # The slice in the middle of the array is the one that is shown first.
        shown = stack.depth // 2
        middle = stack.depth - 1 - shown if form.flipped[form.axes.index(2)] else shown
        self._waiting = sorted(
            range(len(stack.images)), key=lambda n: (n > 0, abs(stack.places[n] - middle))
        )
        self._put(self._waiting[0], pixels)

    def read(self, progress: Progress | None = None, most: int | None = None) -> None:
        """Reads the images that are left, from the middle outwards.

        What is read stays read: after an error, or a `Cancelled` of `progress`, a call goes on.

        Args:
            progress: called with (images read, images in all) before each image and at the end.
            most: so many images, not all.

        Raises:
            UserError: an image can't be decoded, or is not what its header says.
        """
        count = len(self._stack.images)
        last = 0 if most is None else max(0, len(self._waiting) - most)
        while True:
            if progress:
                progress(count - len(self._waiting), count)
            if len(self._waiting) <= last:
                return
            n = self._waiting[0]
            self._put(n, self._reader.read(self._stack.images[n]))

    def _put(self, n: int, pixels: NDArray[Any]) -> None:
        """Writes image `n` of the stack, which is the next that is waited for."""
        image, place = self._stack.images[n], self._stack.places[n]
        if pixels.shape != self._shape:
            raise UserError(f"{image.path.name} does not have the size that its header says.")
        values = _converted(image, pixels, self._target.dtype)
        self._target[:, :, place] = values.swapaxes(0, 1)
        if self.scan.missing:
            low = values.min()
            self._lowest = low if self._lowest is None else min(self._lowest, low)
        self._waiting.remove(n)
        if not self._waiting:
            self._close()
        self._loaded[place] = True

    def _close(self) -> None:
        """All is written, but for the missing slices; nobody writes any more."""
        missing = sorted(set(range(self._stack.depth)) - set(self._stack.places))
        if missing and self._lowest is not None:
            self._target[:, :, missing] = _nothing(self._stack, self._target.dtype, self._lowest)
        self._array.flags.writeable = False


def _volume(
    array: NDArray[Any], loaded: NDArray[np.bool_], grid: Grid, form: StoredForm, stack: Stack
) -> Volume:
    """The scan; `loaded` has a flag for each place of the stack."""
    first = stack.images[0]
    plane = form.axes.index(2)
    order = np.arange(stack.depth)[:: -1 if form.flipped[plane] else 1]  # array index -> place
    flags = loaded[::-1] if form.flipped[plane] else loaded.view()
    flags.flags.writeable = False
    there = set(stack.places)
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
        loaded=flags,
        missing=frozenset(n for n, place in enumerate(order.tolist()) if place not in there),
        places=stack.exact_from(end=form.flipped[plane]),
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
        if image.plain is not None:
            with reading(image.path):
                pixels = image.plain.read(image.path, image.shape)
            if pixels is not None:
                return pixels
        return self._plain.read(image.path, image.frame)


def _check_twins(stack: Stack, reader: PixelReader, check: Callable[[], None] | None) -> None:
    """Images at one place may be dropped only if their pixels are equal."""
    for kept, twin in stack.twins:
        if check:
            check()
        if not np.array_equal(reader.read(kept), reader.read(twin)):
            raise UserError(
                f"{kept.title} and {twin.title} lie at the same place but differ: "
                "the series was taken more than once.",
                hint=split_hint(twin),
            )


def _common_type(stack: Stack, pixels: NDArray[Any]) -> np.dtype[Any]:
    """Stored integers where one scale serves all slices, else float32."""
    scales = {(image.slope, image.intercept, image.has_table) for image in stack.images}
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


def _nothing(stack: Stack, kind: np.dtype[Any], lowest: int | float) -> int | float:
    """What a missing slice is filled with: the padding, else the lowest value."""
    padding = stack.images[0].padding
    if padding is not None and kind.kind in "iu":
        info = np.iinfo(kind)
        if info.min <= padding <= info.max:
            return padding
    return lowest


def _remarks(stack: Stack) -> list[str]:
    first = stack.images[0]
    remarks: list[str] = []
    if stack.twins:
        count = len(stack.twins)
        remarks.append(f"{count} image{'s' if count > 1 else ''} came twice; one of each is used.")
    if first.photometric == "MONOCHROME1":
        remarks.append("Low values are shown bright, as the file asks (MONOCHROME1).")
    if first.mosaic:
        remarks.append("The picture is a mosaic of many slices: none lies where the picture does.")
    if first.spacing is None:
        remarks.append("The size of a pixel is not known: uncalibrated.")
    elif not stack.calibrated:
        down, along = first.spacing
        remarks.append(f"A pixel is {along:.4g} x {down:.4g} mm{_WHERE[first.spacing_at]}.")
    elif first.spacing_at:
        remarks.append(_MEASURED[first.spacing_at])
    return remarks
