"""Every real, odd file of the shared folder opens, asks, or is refused in one line."""

from __future__ import annotations

import time

import numpy as np
import pytest
from phantoms import Series, sha256_of
from pydicom import dcmread

from engine.errors import ChoiceNeeded, UserError
from engine.io import list_parts, open_case, read_mask

SLOWEST = 20.0  # seconds, on a busy computer too
# What no scan can be made of, each for a reason of its own; everything else has to open.
REFUSED = {
    "no DICOM image": 21,  # reports, plans, segmentations, raw data
    "cut short": 6,
    "holds no pixels": 2,
    "slide cut into tiles": 5,
    "colours of 32 bits": 1,
    "dimensions": 2,
    "of a kind that can't be opened": 1,  # MGZ
    "voxels without a header": 2,
    "not a NIfTI file": 1,
    "complex numbers": 1,
}


def outcome(path) -> str:
    """What is said of a file that is refused, or "" if it opens or asks."""
    try:
        for part in list_parts(path):
            scan = open_case(part.path, series=part.series).scan
            assert scan.is_complete and np.isfinite(scan.grid.affine).all()
            assert all(scan.slice(n).size for n in range(scan.slice_count))
    except ChoiceNeeded as error:
        return "" if error.choices else "asks without a choice"
    except UserError as error:
        return error.message
    return ""


def test_each_opens_or_says_why_not(shared_folder):
    root = shared_folder / "io"
    paths = [*(root / "dicom").iterdir(), *(root / "series").iterdir()]
    paths += [p for p in (root / "nifti").rglob("*") if p.is_file()]
    paths += (root / "image2d").iterdir()
    said: list[str] = []
    for path in sorted(paths):
        start = time.monotonic()
        if text := outcome(path):
            assert "\n" not in text and path.name.split(".")[0] in text
            said.append(text)
        assert time.monotonic() - start < SLOWEST, path
    counts = {reason: sum(reason in text for text in said) for reason in REFUSED}
    assert counts == REFUSED, said
    assert len(said) == sum(REFUSED.values())


@pytest.mark.parametrize("name", ["FLAIR", "lesion"])
def test_nothing_is_written_beside_them(shared_folder, name):
    path = shared_folder / "io" / "nifti" / f"niivue__{name}.nii.gz"
    before = sha256_of(path)
    open_case(path)
    assert sha256_of(path) == before


def test_a_lesion_lies_on_its_flair_and_a_segmentation_on_its_ct(shared_folder):
    nifti, series = shared_folder / "io" / "nifti", shared_folder / "io" / "series"
    flair = open_case(nifti / "niivue__FLAIR.nii.gz")
    lesion, _ = read_mask(nifti / "niivue__lesion.nii.gz", flair)
    assert set(np.unique(lesion)) == {0, 1, 2, 3}
    ct = open_case(series / "ct_j2k_ts")
    organs, _ = read_mask(series / "ct_j2k_ts_seg.nii.gz", ct)
    bone = ct.scan.real(ct.scan.array)[organs > 0].mean()
    around = ct.scan.real(ct.scan.array)[organs == 0].mean()
    assert bone > around + 300  # a body, not the air around it
    with pytest.raises(UserError, match="another grid"):
        read_mask(nifti / "niivue__lesion.nii.gz", ct)


@pytest.mark.parametrize(
    ("name", "about"),
    [("overlap", "overlap"), ("fractional", "threshold")],
)
def test_real_segmentations_are_asked_about(shared_folder, tmp_path, name, about):
    path = shared_folder / "io" / "dicom" / f"highdicom__seg_image_ct_binary_{name}.dcm"
    ds = dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    places = {
        tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        for frame in ds.PerFrameFunctionalGroupsSequence
    }
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    series = Series(
        np.zeros((len(places), ds.Rows, ds.Columns), np.int16),
        row=tuple(map(float, orientation[:3])),
        column=tuple(map(float, orientation[3:])),
        spacing=tuple(map(float, shared.PixelMeasuresSequence[0].PixelSpacing)),
    )
    for n, place in enumerate(sorted(places)):
        one = series.dataset(n)
        one.ImagePositionPatient = list(place)
        (tmp_path / "s").mkdir(exist_ok=True)
        one.save_as(tmp_path / "s" / f"{n}.dcm", enforce_file_format=True)
    case = open_case(tmp_path / "s")
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert error.value.about == about
    answer = {"overlap": "first"} if about == "overlap" else {"threshold": 0.5}
    assert read_mask(path, case, **answer)[0].any()
