"""NIfTI out: on the source's exact grid, with equal bytes for equal masks."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from engine.domain.stored import StoredForm
from engine.domain.volume import Volume
from engine.io.kinds import suffix_of
from engine.io.nifti import header_of
from engine.io.orientation import is_sheared, to_stored
from engine.io.replacing import PROGRAM
from engine.system.atomic import atomic_write

_SCANNER = 1
_MM = 2
_UNKNOWN = 0
_LONGEST_NIFTI1 = 32767
_DESCRIPTION = f"{PROGRAM}, research use only".encode()
# What a mask does not share with its scan, and free text that may name the patient.
_FREE_FIELDS = (
    "data_type",
    "db_name",
    "aux_file",
    "intent_name",
    "intent_code",
    "intent_p1",
    "intent_p2",
    "intent_p3",
    "extents",
    "session_error",
    "regular",
    "glmin",
    "glmax",
)


def write_nifti(path: Path, array: NDArray[Any], scan: Volume) -> None:
    """Writes ``[k, j, i]`` of the scan's grid, all of it or nothing.

    A scan from NIfTI gives its header again: same shape, axis order, sform, qform and codes. Free
    text and extensions are left out, for they may name the patient. Any other scan is written in
    the order (i, j, k) with its own affine.

    Args:
        path: ends in .nii or .nii.gz.
        array: uint8 labels or float32 values.
        scan: gives the grid and how its file stores it.
    """
    header = _header(scan, array.dtype)
    stored = to_stored(array, _form(scan))
    little = np.asarray(stored, dtype=stored.dtype.newbyteorder("<"))
    offset = int(header["vox_offset"])
    block = bytes(header.binaryblock)
    with atomic_write(path) as draft, draft.open("wb") as raw:
        if suffix_of(path) == ".nii":
            raw.write(block.ljust(offset, b"\0"))
            raw.write(little.tobytes(order="F"))
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            packed.write(block.ljust(offset, b"\0"))
            packed.write(little.tobytes(order="F"))


def _header(scan: Volume, dtype: np.dtype[Any]) -> Nifti1Header:
    source = scan.stored
    header = _from_source(source.header) if source.header else _fresh(scan)
    if header["dim"][0] > 3 and header["dim"][4] > 1:  # the mask of one of several volumes
        header["dim"][0], header["dim"][4] = 3, 1
    header.set_data_dtype(dtype)
    wide = isinstance(header, Nifti2Header)
    header["magic"] = b"n+2" if wide else b"n+1"
    header["vox_offset"] = 544 if wide else 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = _DESCRIPTION
    return header


def _form(scan: Volume) -> StoredForm:
    return scan.stored if scan.stored.header else StoredForm()


def _from_source(block: bytes) -> Nifti1Header:
    header = header_of(block)
    if header.endianness != "<":
        header = header.as_byteswapped("<")
    for field in set(header.keys()) & set(_FREE_FIELDS):
        header[field] = b"" if header[field].dtype.kind == "S" else 0
    return header


def _fresh(scan: Volume) -> Nifti1Header:
    """For a scan that was not NIfTI: the array's own order (i, j, k) and affine."""
    k, j, i = scan.grid.shape
    kind = Nifti2Header if max(i, j, k) > _LONGEST_NIFTI1 else Nifti1Header
    header = kind(endianness="<")
    header.set_data_shape((i, j, k))
    affine = scan.grid.affine
    header.set_sform(affine, _SCANNER)
    header.set_qform(affine, _UNKNOWN if is_sheared(affine) else _SCANNER)
    header["xyzt_units"] = _MM if scan.grid.calibrated else 0
    return header
