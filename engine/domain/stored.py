"""How a source file stores its voxels, kept so that a mask can be written on its exact grid."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredForm:
    """The way from a file's own axes to the array's, and what else a mask must repeat.

    The file's axes are counted as nibabel does: first, second, third axis of the stored array; for
    a picture that is (column, row), for a DICOM series (column, row, slice).

    Attributes:
        format: "picture", "nifti", "itk" (NRRD, MetaImage), "dicom", or "" for a scan that was
            made in memory.
        axes: array axis a (k, j, i) is the file's axis ``axes[a]``.
        flipped: True where array axis a runs against the file's axis.
        header: the file's NIfTI header as it stands, else empty.
        rotation: EXIF orientation of a picture, 1 to 8; 1 is upright.
        series: which part of the source was opened: one-way hash of a DICOM series, with "#N" for
            time point N of several; or "".
        times: how many time points there are.
    """

    format: str = ""
    axes: tuple[int, int, int] = (2, 1, 0)
    flipped: tuple[bool, bool, bool] = (False, False, False)
    header: bytes = b""
    rotation: int = 1
    series: str = ""
    times: int = 1
