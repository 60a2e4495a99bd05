"""The label values of pictures: palettes, grey in colours, JPEG, and TIFFs of many pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from engine.errors import UserError
from engine.io.kinds import reading, suffix_of
from engine.io.no_number import fill_mask
from engine.io.orientation import exif_form
from engine.io.raster import (
    TIFF,
    WIDE_GREY,
    as_array,
    check_page,
    form_left,
    form_of,
    grey_if_equal,
    inverted,
    is_plain_tiff,
    note_lost_depth,
    opened,
    wide_grey,
)

Tell = Callable[[str], None]
_BLACK, _WHITE = 64, 192  # of a JPEG: what is below or above is surely meant to be 0 or 255
_RIM = 0.2  # as many pixels between them as this part of the white ones are a rim
_TINT = 24  # by how much JPEG makes the channels of a grey pixel differ
_AS_PNG = "Save the mask as PNG, with one value a label."
_PALETTE, _WHITE_IS_ZERO = 3, 0  # kinds of a TIFF's pixels
_LOSSY = (6, 7)  # compressions of a TIFF by JPEG
_ORIENTATION = 274


def read_indices(path: Path, tell: Tell = lambda _: None) -> NDArray[Any]:
    """The values of a mask picture, upright ``[j, i]``; a palette's indices, not its colours.

    JPEG blurs labels, so that its values are none. One that is black and white is taken for that;
    any other is refused, as values between two labels may be a third one's.

    Args:
        path: of a file with one picture.
        tell: called with a sentence about what was changed: the rims of a JPEG, and pixels without
            a number, which are background.

    Raises:
        UserError: it can't be read, is a colour picture, or holds several pictures.
    """
    with reading(path):
        if suffix_of(path) in TIFF:
            if page_count(path) > 1:
                raise several(path, page_count(path))
            if not is_plain_tiff(path):
                return fill_mask(path, next(read_pages(path)), tell)
        with opened(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # what follows in those is a preview
                raise several(path, frames)
            form = form_of(image)
            values = _values(path, image, tell)
            return fill_mask(path, as_array(values, form_left(image, form))[0], tell)


def page_count(path: Path) -> int:
    """How many pages a TIFF has.

    Raises:
        UserError: it can't be read.
    """
    with _tiff(path) as tiff:
        return len(tiff.pages)


def read_pages(path: Path) -> Iterator[NDArray[Any]]:
    """The values of each page of a TIFF, upright ``[j, i]``, one after the other; maybe NaN.

    Raises:
        UserError: it can't be read, holds colours, or is compressed by JPEG.
    """
    with _tiff(path) as tiff:
        for number in range(len(tiff.pages)):
            page = cast(tifffile.TiffPage, tiff.pages[number])
            form = exif_form(int(page.tags.valueof(_ORIENTATION, 1)))
            yield as_array(_page_values(path, page), form)[0]


def several(path: Path, count: int) -> UserError:
    """A file of several pictures where one is needed."""
    return UserError(
        f"{path.name} holds {count} pictures; a mask of one slice is one picture.",
        hint="Save the one that belongs to it as a file of its own.",
    )


@contextmanager
def _tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    with reading(path), tifffile.TiffFile(path) as tiff:
        yield tiff


def _page_values(path: Path, page: tifffile.TiffPage) -> NDArray[Any]:
    if page.compression in _LOSSY:
        raise UserError(f"{path.name} is compressed by JPEG, which blurs labels.", hint=_AS_PNG)
    if page.photometric != _PALETTE:
        check_page(path, page)
    pixels = page.asarray()
    pixels = np.moveaxis(pixels, 0, -1) if page.axes.startswith("S") else pixels
    if pixels.ndim == 3 and pixels.shape[2] in (1, 3):
        pixels = grey_if_equal(pixels) if pixels.shape[2] == 3 else pixels[:, :, 0]
    if pixels.ndim != 2:
        raise _in_colour(path)
    return inverted(pixels, page.bitspersample) if page.photometric == _WHITE_IS_ZERO else pixels


def _values(path: Path, image: Image.Image, tell: Tell) -> NDArray[Any]:
    """The values of one picture as it is stored, ``[row, column]``."""
    if image.mode in WIDE_GREY:
        return wide_grey(path, image)
    if image.mode in ("1", "P"):
        return np.asarray(image)
    values = np.asarray(image) if image.mode == "L" else _grey(path, image)
    return _black_or_white(path, values, tell) if _is_lossy(path, image) else values


def _grey(path: Path, image: Image.Image) -> NDArray[Any]:
    """Grey values that are stored as colours, or with alpha: all of them must be meant.

    Raises:
        UserError: it is in colour, or parts that are drawn are transparent.
    """
    lost: list[str] = []
    note_lost_depth(path, image, lost)
    if image.mode not in ("RGB", "RGBA", "LA") or lost:
        raise _in_colour(path)
    pixels = np.asarray(image)
    colours = pixels if image.mode == "RGB" else pixels[:, :, :-1]
    if _is_lossy(path, image) and int(np.ptp(colours, axis=2).max(initial=0)) <= _TINT:
        return np.asarray(image.convert("L"))
    if (colours != colours[:, :, :1]).any():
        raise _in_colour(path)
    grey = np.ascontiguousarray(colours[:, :, 0])
    if image.mode != "RGB" and ((pixels[:, :, -1] < 255) & (grey > 0)).any():
        raise UserError(
            f"{path.name} has labels that are partly transparent; a mask has one number a pixel.",
            hint=_AS_PNG,
        )
    return grey


def _in_colour(path: Path) -> UserError:
    return UserError(
        f"{path.name} is a colour picture; a mask has one number a pixel.",
        hint="Open the mask itself, not its coloured overlay.",
    )


def _is_lossy(path: Path, image: Image.Image) -> bool:
    """True where the file does not keep values exactly."""
    if image.format == "WEBP":
        with path.open("rb") as stream:
            return stream.read(16)[12:] != b"VP8L"
    return image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"


def _black_or_white(path: Path, values: NDArray[np.uint8], tell: Tell) -> NDArray[np.uint8]:
    """0 or 255 for each pixel of a picture that lost its exact values.

    Raises:
        UserError: there is more in it than black, white and a rim.
    """
    counts = np.bincount(values.reshape(-1), minlength=256)
    if not counts[1:].any():
        return values
    white, between = int(counts[_WHITE:].sum()), int(counts[_BLACK:_WHITE].sum())
    if between > _RIM * white or not white:
        raise UserError(
            f"{path.name} holds {np.count_nonzero(counts)} grey values; its format blurs labels, "
            "and only black and white can be told apart again.",
            hint=_AS_PNG,
        )
    odd = values.size - int(counts[0] + counts[255])
    if not odd:
        return values
    tell(
        f"{path.name} is in a format that blurs labels: {odd:,} pixels were neither black nor "
        "white, and each got the nearer one. Look at the rims; a PNG keeps labels exactly."
    )
    return np.where(values > 127, np.uint8(255), np.uint8(0))
