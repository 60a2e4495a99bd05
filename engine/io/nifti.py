"""NIfTI in: any axis order to LPS+, the header checked before anything is allocated.

nibabel reads the header; the voxels are read here, so that integers stay integers, a gzip file is
read to its end (its checksum is verified there) and memory stays under 2.5 times the stored size.
"""

from __future__ import annotations

import gzip
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from engine.domain.grid import Affine, Grid, Shape3
from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io.headers import DEFLATE_LIMIT, check_size, cut_short, other_unit
from engine.io.kinds import reading
from engine.io.orientation import array_affine, closest_form, plane_of, to_array
from engine.io.selection import selection, time_point

_CHUNK = 16 * 2**20
_BROKEN = (ValueError, HeaderDataError)  # what nibabel raises at a form that is no rotation
_UNITS = {1: "metres", 3: "micrometres"}


@dataclass(frozen=True)
class NiftiFile:
    """A checked header and where its voxels lie: `volumes` of `shape`, one after the other."""

    header: Nifti1Header
    data_path: Path
    offset: int
    shape: Shape3
    volumes: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values, with the file's byte order."""
        return cast("np.dtype[Any]", self.header.get_data_dtype())

    @property
    def nbytes(self) -> int:
        """Of all voxels of one volume."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_nifti(path: Path, time: int | None = None) -> tuple[Volume, list[str]]:
    """Reads one 3-D scan, grey or RGB; voxels that hold no number stay as they are.

    Args:
        path: of the file, or of the header of a pair.
        time: which volume of a file with four dimensions, from 0.

    Returns:
        The scan and what was odd about it.

    Raises:
        ChoiceNeeded: it holds several volumes, and none was chosen.
        UserError: the file is damaged, or is no scan of plain numbers.
    """
    with reading(path):
        remarks: list[str] = []
        found = read_header(path)
        time = time_point(path, found.volumes, time)
        affine = _affine(path, found, remarks)
        form = replace(
            closest_form(affine),
            format="nifti",
            header=bytes(found.header.binaryblock),
            series=selection("", time),
            times=found.volumes,
        )
        if time is not None:
            remarks.append(f"Time point {time} of {found.volumes} is shown.")
        stored = _read_voxels(path, found, time or 0)
        array, slope, intercept = _values(to_array(stored, form), found.header)
        grid = Grid(
            (array.shape[0], array.shape[1], array.shape[2]),
            array_affine(affine, found.shape, form),
            oriented=_has_form(found.header, "sform") or _has_form(found.header, "qform"),
        )
        plane = plane_of(grid)
        return Volume(array, grid, plane, slope, intercept, stored=form), remarks


def header_of(block: bytes) -> Nifti1Header:
    """The header that `StoredForm.header` holds."""
    kind = Nifti2Header if len(block) == 540 else Nifti1Header
    # nibabel would guess the byte order from the number of dimensions, which may be broken.
    order = "<" if int.from_bytes(block[:4], "little") == len(block) else ">"
    return kind(binaryblock=block, endianness=order, check=False)


def read_header(path: Path) -> NiftiFile:
    """Reads and checks the header; nothing large is allocated.

    Raises:
        UserError: no NIfTI header, not 3-D, not plain numbers, or larger than the file can be.
    """
    with _opened(path) as stream:
        block = stream.read(348)
        size = {int.from_bytes(block[:4], order) for order in ("little", "big")}
        if 540 in size:
            block += stream.read(540 - 348)
        elif 348 not in size:
            raise _not_nifti(path)
    header = header_of(block)
    magic = bytes(header["magic"].item())[:3]
    if magic not in (b"n+1", b"n+2", b"ni1", b"ni2"):
        raise _not_nifti(path)
    single = magic[:2] == b"n+"
    found = NiftiFile(
        header,
        path if single else _voxel_file(path),
        _offset(path, header, len(block) if single else 0),
        *_shape(path, header),
    )
    _check_values_kind(path, found)
    _check_size(path, found)
    return found


def _not_nifti(path: Path) -> UserError:
    return UserError(
        f"{path.name} is not a NIfTI file, whatever its name says.",
        hint="Export the scan as NIfTI again, or open its DICOM folder.",
    )


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def _voxel_file(path: Path) -> Path:
    """The .img (or .img.gz) that belongs to a .hdr."""
    base = path.with_name(path.name.removesuffix(".gz"))
    candidates = [base.with_suffix(s) for s in (".img", ".img.gz", ".IMG")]
    found = next((c for c in candidates if c.exists()), None)
    if found is None:
        raise UserError(
            f"{path.name} is only a header; {candidates[0].name} is missing beside it.",
            hint="Keep the .hdr and the .img file in one folder.",
        )
    return found


def _offset(path: Path, header: Nifti1Header, header_size: int) -> int:
    offset = float(header["vox_offset"])
    if not np.isfinite(offset) or not header_size <= offset < 2**40:
        raise UserError(f"{path.name} does not say where its voxels begin: it is damaged.")
    return int(offset)


def _shape(path: Path, header: Nifti1Header) -> tuple[Shape3, int]:
    """The size of a volume, and how many there are."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise UserError(f"{path.name} says it has {count} dimensions: it is damaged.")
    sizes = [int(n) for n in header["dim"][1 : count + 1]]
    if any(n < 1 for n in sizes):
        raise UserError(f"{path.name} has an axis of {min(sizes)} voxels: it is damaged.")
    if any(n > 1 for n in sizes[4:]):
        raise UserError(
            f"{path.name} has {count} dimensions ({' x '.join(map(str, sizes))}); "
            "one 3-D scan is needed.",
            hint="Save one time point or channel as a file of its own.",
        )
    sizes = [*sizes, 1, 1, 1]
    return (sizes[0], sizes[1], sizes[2]), sizes[3] if count > 3 else 1


def _check_values_kind(path: Path, found: NiftiFile) -> None:
    kind = found.dtype.kind
    if _is_rgb(found.dtype):
        return
    if kind == "V" and found.dtype.names:
        raise UserError(
            f"{path.name} holds colours with transparency; a scan has one number a voxel, or RGB.",
            hint="Export it in grey, or as RGB.",
        )
    if kind == "c":
        raise UserError(
            f"{path.name} holds complex numbers; a scan needs one plain number a voxel.",
            hint="Export the magnitude.",
        )
    if kind not in "iuf":
        raise UserError(f"{path.name} holds values of an unknown type: it is damaged.")


def _is_rgb(kind: np.dtype[Any]) -> bool:
    return kind.names == ("R", "G", "B")


def _check_size(path: Path, found: NiftiFile) -> None:
    """Refuses a header that promises more than the file can hold, before allocating."""
    with found.data_path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    on_disk = found.data_path.stat().st_size
    if found.offset + found.nbytes * found.volumes > on_disk * (DEFLATE_LIMIT if packed else 1):
        raise cut_short(path)
    check_size(path, found.nbytes)


def _affine(path: Path, found: NiftiFile, remarks: list[str]) -> Affine:
    """The file's own affine: sform where its code is above 0, else qform, else spacing alone."""
    header = _with_steps(found)
    uses_sform, uses_qform = _has_form(header, "sform"), _has_form(header, "qform")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except _BROKEN:  # no rotation, or a negative spacing, which readers take each its own way
        affine = np.full((4, 4), np.nan)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UserError(
            f"{path.name} does not say where its voxels lie "
            f"({'sform' if uses_sform else 'qform'} is broken).",
            hint="Convert the scan again from its DICOM files.",
        )
    if not uses_sform and not uses_qform:
        remarks.append(f"{path.name} does not say how the patient lies: orientation unknown.")
    if uses_sform and uses_qform and _forms_disagree(header, affine):
        remarks.append(f"The two positions in {path.name} disagree; the sform is used.")
    unit = _UNITS.get(int(header["xyzt_units"]) & 7)
    if unit:
        remarks.append(other_unit(path, unit))
    return affine


def _with_steps(found: NiftiFile) -> Nifti1Header:
    """The header with 1 where it may say 0: the side of its qform, the step of a flat axis."""
    header = found.header.copy()
    steps = header["pixdim"]
    steps[0] = steps[0] or 1
    for axis in range(3):
        if found.shape[axis] == 1 and steps[axis + 1] == 0:
            steps[axis + 1] = 1
    return header


def _has_form(header: Nifti1Header, form: str) -> bool:
    return int(header[f"{form}_code"]) > 0


def _forms_disagree(header: Nifti1Header, affine: Affine) -> bool:
    """True if a corner moves by more than 0.1 mm between the two."""
    try:
        other = np.asarray(header.get_qform(), dtype=np.float64)
    except _BROKEN:  # the sform is good
        return True
    far = np.array([*(int(n) - 1 for n in header["dim"][1:4]), 1.0])
    moved = np.abs((affine - other) @ np.stack([far, [0, 0, 0, 1]], axis=1)).max()
    return not moved < 0.1


def _read_voxels(path: Path, found: NiftiFile, time: int) -> NDArray[Any]:
    """One volume as a Fortran-ordered view, ``[first, second, third axis]``, RGB ``[..., 3]``."""
    buffer = np.empty(found.nbytes, dtype=np.uint8)
    target = buffer.data
    with _opened(found.data_path) as stream:
        _skip(path, stream, found.offset + time * found.nbytes)
        done = 0
        while done < found.nbytes:
            count = cast(Any, stream).readinto(target[done : done + _CHUNK])
            if not count:
                raise cut_short(path)
            done += count
        _skip(path, stream, (found.volumes - 1 - time) * found.nbytes)
        _read_to_end(path, stream)
    if _is_rgb(found.dtype):
        return np.moveaxis(buffer.reshape(3, *found.shape, order="F"), 0, -1)
    return buffer.view(found.dtype).reshape(found.shape, order="F")


def _skip(path: Path, stream: IO[bytes], count: int) -> None:
    while count > 0:
        step = len(stream.read(min(count, _CHUNK)))
        if not step:
            raise cut_short(path)
        count -= step


def _read_to_end(path: Path, stream: IO[bytes]) -> None:
    """Python checks a gzip file's checksum when its end is reached, and only then."""
    for _ in range(64):
        if not stream.read(_CHUNK):
            return
    raise UserError(f"{path.name} goes on long after its last voxel: it is damaged.")


def _values(view: NDArray[Any], header: Nifti1Header) -> tuple[NDArray[Any], float, float]:
    """C-contiguous array in native byte order, slope and intercept."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if view.ndim == 4:  # colours have no scale
        return np.ascontiguousarray(view), 1.0, 0.0
    if slope == 0 or not np.isfinite(slope) or not np.isfinite(intercept):
        slope, intercept = 1.0, 0.0
    if view.dtype.kind in "iu":
        native = view.dtype.newbyteorder("=")
        return np.ascontiguousarray(view, dtype=native), slope, intercept
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.ascontiguousarray(view, dtype=np.float32)
        if (slope, intercept) != (1.0, 0.0):
            array = array * np.float32(slope) + np.float32(intercept)
    return array, 1.0, 0.0
