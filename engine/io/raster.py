"""Pictures: PNG, JPEG, TIFF and BMP in; label values and previews as PNG out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from engine.domain.grid import picture_grid
from engine.domain.stored import StoredForm
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.headers import cut_short
from engine.io.kinds import reading, suffix_of
from engine.io.orientation import exif_form, to_array, to_stored
from engine.io.replacing import PROGRAM
from engine.system.atomic import atomic_write, flush

if TYPE_CHECKING:
    import tifffile

WIDE_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
TIFF = (".tif", ".tiff")
# What a byte of the file can become at most: JPEG's shortest code for 64 pixels is a bit; BMP
# repeats a pixel 255 times with two bytes; a GIF's code of 12 bits stands for 3838 pixels.
_PIXELS_A_BYTE = {"JPEG": 512, "MPO": 512, "BMP": 1024, "GIF": 2600}
_BYTES_A_BYTE = 1400  # zlib, in PNG and TIFF, shrinks by 1032 times, TIFF's LZW by 1302
_TIFF_LIMITED = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg")
_TIFFFILE_CODES = ("raw", "tiff_adobe_deflate", "tiff_deflate", "lzma")  # without more packages
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT = 258, 262, 274, 339  # tags of a TIFF
_TIFF_GREY_OR_RGB = (0, 1, 2)
_TIFF_CODES_LIMITED = (1, 5, 8, 32773, 32946)  # the same, but for JPEG
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's kind of colour
_STRIPE = 2**20  # pixels that are worked on at once
_MOST_WEBP = 40_000_000  # pixels; libwebp and Pillow keep four copies of four bytes


def read_picture(path: Path) -> tuple[Volume, list[str]]:
    """Reads a picture upright; pixels that hold no number stay as they are.

    Returns:
        The scan, ``[1, j, i]`` or ``[1, j, i, 3]``, and what was odd about it.

    Raises:
        UserError: the file is damaged, too large, or of a kind that is not supported.
    """
    remarks: list[str] = []
    with reading(path):
        upright, form = _read_upright(path, remarks)
    scan = Volume(upright, picture_grid(*upright.shape[1:3]), modality="picture", stored=form)
    return scan, remarks


def has_palette(path: Path) -> bool:
    """True for a picture whose values are places in a palette.

    False where Pillow can't read it: who opens it next has another reader, or says what is wrong.
    """
    try:
        with reading(path), opened(path) as image:
            return image.mode == "P"
    except UserError:
        return False


def write_png(path: Path, pixels: NDArray[Any], form: StoredForm | None = None) -> None:
    """Writes one PNG; see `write_pngs`."""
    write_pngs([(path, pixels)], form)


def write_pngs(
    pictures: Iterable[tuple[Path, NDArray[Any]]], form: StoredForm | None = None
) -> None:
    """Writes PNGs, all of them or nothing; their text says that this program wrote them.

    Args:
        pictures: the files, which are replaced if they exist, once all are on the disk; and the
            pixels of each, upright: uint8 or uint16 ``[j, i]``, or uint8 ``[j, i, 3]``.
        form: of the source picture: the PNG then repeats its stored order and its EXIF rotation,
            so that it fits the source for readers that turn pictures and for those that don't.
    """
    with ExitStack() as drafts:
        for path, pixels in pictures:
            draft = drafts.enter_context(atomic_write(path))
            _draw_png(draft, pixels, form)
            flush(draft)


def _draw_png(draft: Path, pixels: NDArray[Any], form: StoredForm | None) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", PROGRAM)
    options: dict[str, Any] = {"pnginfo": text}
    if form is not None and form.rotation != 1:
        pixels = to_stored(pixels[None], form)[:, :, 0].swapaxes(0, 1)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = form.rotation
        options["exif"] = exif
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(draft, format="PNG", **options)


def as_array(pixels: NDArray[Any], form: StoredForm) -> NDArray[Any]:
    """Stored ``[row, column, ...]`` -> ``[1, j, i, ...]``."""
    stored = pixels.swapaxes(0, 1)[:, :, None]
    return np.ascontiguousarray(to_array(stored, form))


def opened(path: Path) -> Image.Image:
    """A picture, if its header promises no more than the program and its file can hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(path)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_large(path) from error
    if image.format == "WEBP" and image.width * image.height > _MOST_WEBP:
        image.close()
        raise _too_large(path, _MOST_WEBP)
    if not _can_hold(path, image):
        image.close()
        raise cut_short(path, "pixels")
    if image.format == "TIFF":
        image.filename = ""  # Pillow 13 swaps the sides of a turned one that it maps into memory
    return image


def _can_hold(path: Path, image: Image.Image) -> bool:
    """False where the header promises more pixels than a file of this size can be unpacked to.

    Pillow takes what is missing of some files for black, and needs as long as for a real picture.
    """
    pixels, size = image.width * image.height, path.stat().st_size
    bits = 0
    if image.format == "PNG":
        depth, colour = _png_kind(path)
        bits = depth * _PNG_CHANNELS.get(colour, 1)
    elif image.format == "TIFF" and image.info.get("compression") in _TIFF_LIMITED:
        bits = sum(getattr(image, "tag_v2", {}).get(_BITS, (1,)))
    if bits:
        return pixels * bits <= size * 8 * _BYTES_A_BYTE
    most = _PIXELS_A_BYTE.get(image.format or "")
    return most is None or pixels <= size * most


def _png_kind(path: Path) -> tuple[int, int]:
    """Bits a channel and kind of colour: bytes 24 and 25 of a PNG."""
    with path.open("rb") as stream:
        start = stream.read(26)
    return start[24], start[25]


def _too_large(path: Path, limit: int | None = None) -> UserError:
    most = (limit or Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    return UserError(
        f"{path.name} has more than {most} million pixels.",
        hint="Cut or shrink the picture first.",
    )


def form_of(image: Image.Image) -> StoredForm:
    """The turn that the file asks for; to be called before its pixels are read."""
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return exif_form(value if isinstance(value, int) else 1)


def form_left(image: Image.Image, form: StoredForm) -> StoredForm:
    """The turn that is left to do: Pillow turns a TIFF itself when it reads the pixels."""
    return exif_form(1) if image.format == "TIFF" else form


def _read_upright(path: Path, remarks: list[str]) -> tuple[NDArray[Any], StoredForm]:
    """The picture upright, ``[1, j, i]`` or ``[1, j, i, 3]``, and how its file stores it."""
    if suffix_of(path) in TIFF and not is_plain_tiff(path):
        pixels, form = _read_tiff(path)
        return as_array(pixels, form), form
    with opened(path) as image:
        # MPO is what phones call a JPEG with a preview behind it; the first picture is meant.
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise UserError(
                f"{path.name} holds {getattr(image, 'n_frames', 1)} pictures; one is needed.",
                hint="Save the one you need as a file of its own.",
            )
        note_lost_depth(path, image, remarks)
        form = form_of(image)
        pixels = _grey_or_rgb(path, image, remarks)
        return as_array(pixels, form_left(image, form)), form


def is_plain_tiff(path: Path) -> bool:
    """True where Pillow reads the TIFF, and tifffile would not read it better."""
    try:
        with opened(path) as image:
            tags = getattr(image, "tag_v2", {})
            bits = tags.get(_BITS, (1,))
            # Pillow takes colours of 16 bit in 8, and negative numbers of 8 bit for large ones.
            is_better = _is_wide_colour(image) and image.info.get("compression") in _TIFFFILE_CODES
            is_signed = max(bits) <= 8 and 2 in tags.get(_SAMPLE_FORMAT, ())
            if not is_better and not is_signed:
                image.load()
            return not is_better and not is_signed
    except UserError:
        raise
    except Exception:  # noqa: BLE001, Pillow raises many kinds; tifffile has the last word
        return False


def _is_wide_colour(image: Image.Image) -> bool:
    """True for a TIFF with more than 8 bits a colour."""
    bits = getattr(image, "tag_v2", {}).get(_BITS, (1,))
    return image.mode in ("RGB", "RGBA", "RGBX") and max(bits) > 8


def _read_tiff(path: Path) -> tuple[NDArray[Any], StoredForm]:
    """TIFFs that Pillow reads not at all (odd LZW, contradicting header) or only in 8 bit."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        if len(tiff.pages) != 1:
            raise UserError(
                f"{path.name} holds {len(tiff.pages)} pictures; one is needed.",
                hint="Save the one you need as a file of its own.",
            )
        page = cast(tifffile.TiffPage, tiff.pages[0])
        check_page(path, page)
        pixels = page.asarray()
        if page.axes.startswith("S"):
            pixels = np.moveaxis(pixels, 0, -1)
        form = exif_form(int(page.tags.valueof(_ORIENTATION, 1)))
        has_alpha = page.samplesperpixel == 2 and len(page.extrasamples) == 1
    pixels = _plain_type(path, _without_extra(path, pixels, 1 if has_alpha else 3))
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = inverted(pixels, page.bitspersample)
    return grey_if_equal(pixels), form


def check_page(path: Path, page: tifffile.TiffPage) -> None:
    """Refuses what is too large for the program, or for its file, and inks or other colours."""
    if page.imagewidth * page.imagelength > (Image.MAX_IMAGE_PIXELS or 0):
        raise _too_large(path)
    size = path.stat().st_size
    if page.compression in _TIFF_CODES_LIMITED and page.nbytes > size * _BYTES_A_BYTE:
        raise cut_short(path, "pixels")
    if page.photometric not in _TIFF_GREY_OR_RGB:
        raise UserError(
            f"{path.name} has colours of an unknown kind.",
            hint="Save it in grey or as RGB with 8 or 16 bit.",
        )


def _without_extra(path: Path, pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """``[row, column]`` or ``[row, column, 3]`` of pixels with alpha behind so many channels."""
    if pixels.ndim == 3:
        pixels = pixels[:, :, :channels]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UserError(f"{path.name} has pixels of an unknown layout {pixels.shape}.")
    return pixels


def inverted(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Grey values of a TIFF in which 0 is white; Pillow turns those of 8 bit itself."""
    if pixels.dtype.kind != "u" or bits > np.iinfo(pixels.dtype).bits:
        return pixels
    return pixels.dtype.type((1 << bits) - 1) - pixels


def _plain_type(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype.kind == "c" or pixels.dtype.kind not in "buif":
        raise UserError(f"{path.name} has pixels that are not plain numbers.")
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 3 and pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path.name} has colours of {pixels.dtype.name}.", hint="Save it with 8 or 16 bit."
        )
    if pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return pixels.astype(np.float32)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def grey_if_equal(pixels: NDArray[Any]) -> NDArray[Any]:
    """One channel where all three are equal and the file only says colour (CVC's masks)."""
    if pixels.ndim == 3 and not (pixels != pixels[:, :, :1]).any():
        return np.ascontiguousarray(pixels[:, :, 0])
    return pixels


def note_lost_depth(path: Path, image: Image.Image, remarks: list[str]) -> None:
    """Says if Pillow gives fewer bits than the file holds."""
    # Pillow gives 16 bits a colour in 8 bits; the header of a PNG says so in byte 24.
    is_wide = image.format == "PNG" and _png_kind(path)[0] == 16
    if (is_wide and image.mode in ("RGB", "RGBA", "LA")) or _is_wide_colour(image):
        remarks.append(f"{path.name} has 16 bits a colour; the upper 8 are used.")


def _grey_or_rgb(path: Path, image: Image.Image, remarks: list[str]) -> NDArray[Any]:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return _plain_type(path, np.asarray(image))
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in WIDE_GREY:
        return wide_grey(path, image)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa", "P") or "transparency" in image.info:
        return _without_alpha(path, image, remarks)
    return np.asarray(image.convert("RGB"))


def wide_grey(path: Path, image: Image.Image) -> NDArray[Any]:
    """Grey values of more than 8 bit, in the computer's order of bytes, 0 as black."""
    tags = getattr(image, "tag_v2", {})
    pixels = _plain_type(path, np.asarray(image))
    return inverted(pixels, tags.get(_BITS, (1,))[0]) if tags.get(_PHOTOMETRIC) == 0 else pixels


def _without_alpha(path: Path, image: Image.Image, remarks: list[str]) -> NDArray[Any]:
    """Palette and alpha resolved; what is transparent becomes black, and that is said.

    In stripes: the steps in between take many times the memory of the picture.
    """
    width, height = image.size
    colours = np.empty((height, width, 3), np.uint8)
    rows, has_holes = max(1, _STRIPE // width), False
    for top in range(0, height, rows):
        below = min(height, top + rows)
        part = image.crop((0, top, width, below)).convert("RGBA")
        has_holes = has_holes or part.getchannel("A").getextrema() != (255, 255)
        # "RGBa" is weighted by its alpha, and rounded.
        colours[top:below] = np.asarray(part.convert("RGBa"))[:, :, :3]
    if has_holes:
        remarks.append(f"{path.name} has transparent parts; they are shown black.")
    return grey_if_equal(colours) if image.mode in ("LA", "La", "P", "PA", "L") else colours
