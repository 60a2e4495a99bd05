"""How large the pixels of radiographs and ultrasound pictures are, and what is said about it."""

from __future__ import annotations

import pytest
from phantoms import plain
from pydicom.dataset import Dataset

from engine.domain.case import Case
from engine.io import open_case

SIZE = (0.3, 0.2)
UNKNOWN = "The size of a pixel is not known: uncalibrated."
AT_DETECTOR = "Lengths are those at the detector, not in the patient."
ON_FILM = "Lengths are those on the scanned film, not in the patient."
UNSAID = "The file does not say whether lengths are those at the detector or in the patient."


def opened(tmp_path, modality, **values) -> Case:
    """One image without a place; `values` tell its size."""
    ds = plain(1).dataset(0)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing
    ds.Modality = modality
    for name, value in values.items():
        setattr(ds, name, value)
    ds.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    return open_case(tmp_path / "x.dcm")


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ({"ImagerPixelSpacing": SIZE}, (AT_DETECTOR,)),
        ({"NominalScannedPixelSpacing": SIZE}, (ON_FILM,)),
        ({"PixelSpacing": SIZE, "ImagerPixelSpacing": SIZE}, (AT_DETECTOR,)),
        ({"PixelSpacing": SIZE, "NominalScannedPixelSpacing": SIZE}, (ON_FILM,)),
        ({"PixelSpacing": SIZE, "ImagerPixelSpacing": (0.4, 0.3)}, ()),
        ({"PixelSpacing": SIZE}, (UNSAID,)),
        ({"PixelSpacing": SIZE, "PixelSpacingCalibrationType": "FIDUCIAL"}, ()),
    ],
)
def test_of_a_radiograph(tmp_path, values, warnings):
    case = opened(tmp_path, "DX", **{name: list(value) if name.endswith("ing") else value
                                     for name, value in values.items()})  # fmt: skip
    assert case.scan.grid.calibrated and case.scan.grid.spacing[1:] == pytest.approx(SIZE)
    assert case.warnings == warnings


def region(kind=1, unit=3, down=0.03) -> Dataset:
    ds = Dataset()
    ds.RegionSpatialFormat, ds.PhysicalUnitsXDirection, ds.PhysicalUnitsYDirection = (
        kind,
        unit,
        unit,
    )
    ds.PhysicalDeltaX, ds.PhysicalDeltaY = 0.02, down
    return ds


@pytest.mark.parametrize("regions", [[region()], [region(), region(0, 0), region()]])
def test_of_an_ultrasound_picture(tmp_path, regions):
    case = opened(tmp_path, "US", SequenceOfUltrasoundRegions=regions)
    assert case.scan.grid.calibrated and case.scan.grid.spacing[1:] == pytest.approx(SIZE)
    assert case.warnings == ()


@pytest.mark.parametrize(
    "regions",
    [[region(), region(down=0.04)], [region(), region(3, 4)], [region(unit=0)], [region(down=0)]],
    ids=["two sizes", "Doppler", "no length", "none"],
)
def test_of_ultrasound_whose_regions_differ_nothing_is_known(tmp_path, regions):
    case = opened(tmp_path, "US", SequenceOfUltrasoundRegions=regions)
    assert not case.scan.grid.calibrated and case.warnings == (UNKNOWN,)
