"""What kind of file a path is, and errors of reading and writing in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG

from engine.errors import Cancelled, UserError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")  # usual ones; the content tells, not the name
_VOXELS_ALONE = (".img", ".img.gz")
NIFTI_OUT = (".nii", ".nii.gz")
ITK_OUT = (".nrrd", ".mha")
GRID_OUT = (*NIFTI_OUT, *ITK_OUT)  # of a whole volume in one file
MANIFEST_ENDING = ".manifest.json"
_DOUBLE_SUFFIXES = (".nii.gz", ".hdr.gz", ".img.gz")
_FORMATS = (
    "PNG, JPEG, TIFF, BMP, WebP, GIF, NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha) and DICOM"
)


class Kind(StrEnum):
    """Kind of a source."""

    PICTURE = "picture"
    NIFTI = "nifti"
    ITK = "itk"
    DICOM = "dicom"
    FOLDER = "folder"


class MaskForm(StrEnum):
    """What a mask is written as."""

    NIFTI = "nifti"
    ITK = "itk"
    PNG = "png"
    SEG = "seg"
    RTSTRUCT = "rtstruct"
    LABELME = "labelme"
    TABLE = "table"


# The forms that an ending may stand for, the usual one first; any other name is a folder of PNGs.
_FORMS_OF_ENDING = {
    **dict.fromkeys(NIFTI_OUT, (MaskForm.NIFTI,)),
    **dict.fromkeys(ITK_OUT, (MaskForm.ITK,)),
    ".png": (MaskForm.PNG,),
    ".dcm": (MaskForm.SEG, MaskForm.RTSTRUCT),
    ".json": (MaskForm.LABELME,),
    ".csv": (MaskForm.TABLE,),
}
MASK_ENDINGS = tuple(_FORMS_OF_ENDING)
OPENED = (*PICTURE_SUFFIXES, *NIFTI_SUFFIXES, *ITK_SUFFIXES, *DICOM_SUFFIXES)
_READ_ONLY = (*OPENED, *_VOXELS_ALONE)
_NEVER_OUT = frozenset(_READ_ONLY) - frozenset(MASK_ENDINGS)  # a folder of this name is a mistake
FILE_FORMS = tuple(form for form in MaskForm if form is not MaskForm.PNG)  # one file for all slices


def mask_form(path: Path, wanted: str = "") -> MaskForm:
    """What a mask of this name is written as.

    Args:
        path: a file with a known ending, else a folder (of PNGs).
        wanted: a form, where the ending leaves it open; "" takes the usual one.

    Raises:
        UserError: the name can't hold what is wanted, or is that of a file no mask is written as.
    """
    suffix = suffix_of(path)
    if suffix in _NEVER_OUT and not path.is_dir():
        raise UserError(
            f"No mask is written as {suffix}.",
            hint=f"Name a file that ends in {', '.join(MASK_ENDINGS)}, or a folder.",
        )
    forms = _FORMS_OF_ENDING.get(suffix, (MaskForm.PNG,))
    if not wanted:
        return forms[0]
    if wanted not in forms:
        endings = " or ".join(end for end, known in _FORMS_OF_ENDING.items() if wanted in known)
        raise UserError(
            f"{path.name} can't be written as {wanted}.",
            hint=f"Name a file that ends in {endings}.",
        )
    return MaskForm(wanted)


def suffix_of(path: Path) -> str:
    """The ending in lower case, ``.nii.gz`` as one; "" if there is none."""
    name = path.name.lower()
    double = next((s for s in _DOUBLE_SUFFIXES if name.endswith(s)), None)
    return double or Path(name).suffix


def stem_of(path: Path) -> str:
    """The file name without its ending (``a.nii.gz`` -> ``a``, ``a.b.png`` -> ``a.b``)."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix and path.name != suffix else path.name


def file_stem(name: str) -> str:
    """A case's name as the start of a file name on any system."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .")[:120] or "mask"


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts ``2.png`` before ``10.png``, whatever the case of the letters."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    key = [(0, int(p), p) if n % 2 else (1, 0, p) for n, p in enumerate(parts) if p]
    return (*key, (2, 0, path.name))


def kind_by_name(path: Path) -> Kind | None:
    """The kind that the ending tells, or None."""
    suffix = suffix_of(path)
    if suffix in PICTURE_SUFFIXES:
        return Kind.PICTURE
    if suffix in ITK_SUFFIXES:
        return Kind.ITK
    return Kind.NIFTI if suffix in NIFTI_SUFFIXES else None


def looks_like_dicom(path: Path) -> bool:
    """True for a DICOM file, with the usual preamble or without it; reads 132 bytes.

    Nothing but a file with bytes in it is opened: pipes and what the system shows in /proc block.
    """
    try:
        seen = path.stat()
        if not S_ISREG(seen.st_mode) or seen.st_size < 132:
            return False
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    bare = start[:2] in (b"\x08\x00", b"\x02\x00") and start[3:4] == b"\x00"
    return start[128:132] == b"DICM" or (bare and len(start) == 132)


def is_dicomdir(path: Path) -> bool:
    """True for the table of contents of a DICOM disc."""
    return path.name.upper() == "DICOMDIR" and looks_like_dicom(path)


def _not_found(path: Path) -> UserError:
    return UserError(f"{path.name} was not found.", hint=f"Looked in {path.absolute().parent}.")


def kind_of(path: Path) -> Kind:
    """What a path is.

    Raises:
        UserError: it does not exist, or is nothing that can be opened.
    """
    if path.is_dir():
        return Kind.FOLDER
    if not path.exists():
        raise _not_found(path)
    kind = kind_by_name(path)
    if kind is None and looks_like_dicom(path):
        return Kind.DICOM
    if suffix_of(path) in _VOXELS_ALONE:
        header = stem_of(path) + suffix_of(path).replace(".img", ".hdr")
        raise UserError(
            f"{path.name} holds voxels without a header.",
            hint=f"Open {header}, which lies beside it.",
        )
    if kind is None:
        raise UserError(f"{path.name} is of a kind that can't be opened.", hint=f"Open {_FORMATS}.")
    return kind


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises into one plain sentence with the file's name."""
    try:
        yield
    except (UserError, Cancelled):
        raise
    except PermissionError as error:
        raise UserError(
            f"{path.name} may not be read by this user.", hint="Ask for the right to read it."
        ) from error
    except FileNotFoundError as error:
        raise UserError(
            f"{path.name} was not found.", hint=f"Looked in {path.absolute().parent}."
        ) from error
    except MemoryError as error:
        raise UserError(
            f"{path.name} does not fit into memory.", hint="Close other programs and try again."
        ) from error
    except Exception as error:  # third-party decoders raise anything on a damaged file
        raise UserError(
            f"{path.name} can't be read: it is damaged, or not what its name says.",
            hint=f"Get the file again from where it came; {_FORMATS} open.",
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the disk into one plain sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path.name} could not be saved: {(error.strerror or 'disk error').lower()}.",
            hint="Nothing was lost; save into another folder.",
        ) from error
