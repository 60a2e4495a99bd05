"""DICOM in: where every pixel lies, irregular series, values, privacy."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from phantoms import (
    CT,
    TILTS,
    Series,
    distinct,
    draw,
    plain,
    positions_by_value,
    positions_of,
    rotation,
    same_positions,
)
from pydicom.dataset import Dataset

from engine.errors import Cancelled
from engine.io import list_cases, open_case, save_mask
from engine.io.dicom_header import patient_key
from engine.io.orientation import array_box

# Rows and columns of an image along any two of the patient's axes, in either direction.
ORIENTATIONS = [
    (row, column, signs)
    for row, column in permutations(range(3), 2)
    for signs in product((1, -1), repeat=2)
]


def unit(axis, sign=1):
    vector = np.zeros(3)
    vector[axis] = sign
    return vector


def series_of(row, column, signs, tilt=(0, 0, 0), **options) -> Series:
    turn = rotation(tilt)
    along, down = turn @ unit(row, signs[0]), turn @ unit(column, signs[1])
    return Series(
        distinct((4, 5, 6)), tuple(along), tuple(down), step=tuple(2.5 * np.cross(along, down)),
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("tilt", TILTS[:4], ids=str)
@pytest.mark.parametrize("backwards", [False, True])
def test_24_orientations_keep_every_pixel_at_its_place(tmp_path, tilt, backwards):
    names = [f"IM{n:04d}.dcm" for n in range(4)]
    for number, orientation in enumerate(ORIENTATIONS):
        series = series_of(*orientation, tilt)
        folder = series.write(tmp_path / str(number), names[::-1] if backwards else names)
        case = open_case(folder)
        scan = case.scan
        assert scan.array.flags.c_contiguous and not scan.array.flags.writeable
        assert same_positions(positions_of(scan), series.truth())
        assert (np.diag(scan.grid.affine[:3, :3]) * (-1, -1, 1) > 0).all()
        normal_axis = 3 - orientation[0] - orientation[1]
        if tilt == (0, 0, 0):
            assert scan.plane == 2 - normal_axis
        assert scan.slice_count == 4
        assert case.warnings == ()


def test_order_comes_from_positions_not_from_names_or_numbers(tmp_path):
    series = plain(tags={"InstanceNumber": 1})
    names = ["z.dcm", "10.dcm", "2.dcm", "b", "a", "IM.7"]
    scan = open_case(series.write(tmp_path / "s", names)).scan
    assert same_positions(positions_of(scan), series.truth())


def test_values_are_hounsfield_units_with_the_files_window(tmp_path):
    tags = {"WindowCenter": [40, 300], "WindowWidth": [400, 1500]}
    dataset = Series(np.full((1, 4, 5), 1064, dtype=np.int16), tags=tags).dataset(0)
    dataset.add_new("PixelPaddingValue", "US", 63536)  # meant as -2000, as scanners write it
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    scan = open_case(tmp_path / "one.dcm").scan
    assert (scan.modality, scan.unit, scan.window) == ("CT", "HU", (40.0, 400.0))
    assert scan.array.dtype == np.int16 and scan.slope == 1 and scan.intercept == -1024
    assert scan.real(scan.array).max() == 40.0
    assert scan.padding == -2000


def test_the_first_window_that_is_one_is_taken(tmp_path):
    tags = {"WindowCenter": [40, 300], "WindowWidth": [0, 1500]}
    assert open_case(plain(1, tags=tags).write(tmp_path / "s")).scan.window == (300.0, 1500.0)


def test_only_a_scale_makes_hounsfield_units(tmp_path):
    report = plain(1).dataset(0)
    del report.RescaleSlope, report.RescaleIntercept
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert open_case(tmp_path / "report.dcm").scan.unit == ""
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [30, 0, 16])
    table.add_new("LUTData", "OW", np.arange(100, 130, dtype=np.uint16).tobytes())
    for kind, unit in (("HU", "HU"), ("OD", "")):
        table.ModalityLUTType = kind
        report.ModalityLUTSequence = [table]
        report.save_as(tmp_path / f"{kind}.dcm", enforce_file_format=True)
        scan = open_case(tmp_path / f"{kind}.dcm").scan
        assert (scan.unit, scan.array.max()) == (unit, 129)


def test_a_mosaic_of_slices_says_so(tmp_path):
    tags = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], "Modality": "MR"}
    case = open_case(plain(1, tags=tags).write(tmp_path / "s"))
    assert "mosaic of many slices" in case.warnings[0]


def test_slopes_that_differ_are_applied_slice_by_slice(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    series = Series(np.full((3, 4, 5), 100, dtype=np.uint16))
    for n in range(3):
        dataset = series.dataset(n)
        dataset.RescaleSlope, dataset.RescaleIntercept = n + 1, 5
        dataset.save_as(folder / f"{n}", enforce_file_format=True)
    scan = open_case(folder).scan
    assert scan.array.dtype == np.float32 and (scan.slope, scan.intercept) == (1.0, 0.0)
    assert scan.array[:, 0, 0].tolist() == [105.0, 205.0, 305.0]


def test_the_grid_comes_from_positions_not_from_thickness(tmp_path):
    scan = open_case(plain().write(tmp_path / "s")).scan
    assert scan.grid.spacing == pytest.approx((2.5, 0.7, 0.9))


def test_monochrome1_is_noted_and_values_are_kept(tmp_path):
    series = plain(tags={"PhotometricInterpretation": "MONOCHROME1"})
    case = open_case(series.write(tmp_path / "s"))
    assert case.scan.inverted
    assert "MONOCHROME1" in case.warnings[0]
    assert np.array_equal(np.unique(case.scan.array), np.arange(180))


def test_gantry_tilt_is_kept_as_shear_and_said(tmp_path):
    series = plain(step=(0, 0.75, 2.5))
    case = open_case(series.write(tmp_path / "s"))
    assert same_positions(positions_of(case.scan), series.truth())
    assert "tilted by 16.7 degrees" in case.warnings[0]
    draw(case, np.s_[2:3, 1:2, 1:2])
    image = nib.load(save_mask(case, tmp_path / "m.nii.gz")[0])
    assert int(image.header["qform_code"]) == 0  # a qform can't say it
    assert np.allclose(image.affine, case.scan.grid.affine, atol=1e-4)


def test_a_missing_slice_stays_empty_and_moves_nothing(tmp_path):
    series = plain(8)
    case = open_case(series.write(tmp_path / "s", skip=(3, 4)))
    assert "2 slices are missing between 105.0 and 112.5 mm" in case.warnings[0]
    assert case.scan.loaded.tolist() == [True] * 3 + [False] * 2 + [True] * 3
    found, truth = positions_of(case.scan), series.truth()
    kept = [v for v in truth if v // 30 not in (3, 4) and v]
    assert same_positions({v: found[v] for v in kept}, {v: truth[v] for v in kept})


def test_a_missing_slice_is_marked_where_the_array_runs_backwards(tmp_path):
    series = series_of(0, 1, (1, -1))  # the normal runs to the feet
    case = open_case(series.write(tmp_path / "s", skip=(1,)))
    assert case.scan.loaded.tolist() == [True, True, False, True]


def test_one_file_opens_by_itself_at_its_place(tmp_path):
    series = plain()
    folder = series.write(tmp_path / "s")
    scan = open_case(folder / "IM0002.dcm").scan
    truth = series.truth()
    values = range(2 * 30, 3 * 30)
    assert same_positions(positions_of(scan), {v: truth[v] for v in values})
    assert scan.grid.spacing[0] == 5.0  # the slice thickness: one position tells no distance


def test_no_pixel_spacing_is_uncalibrated(tmp_path):
    folder = plain(1, tags={"PixelSpacing": [0, 0]}).write(tmp_path / "s")
    case = open_case(folder)
    assert not case.scan.grid.calibrated
    assert "uncalibrated" in case.warnings[-1]


def test_colour_images(tmp_path):
    pixels = np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    scan = open_case(Series(pixels, tags=tags).write(tmp_path / "s")).scan
    assert scan.is_colour and np.array_equal(scan.array, pixels)


def test_the_patient_is_nowhere_to_be_read(tmp_path):
    folder = plain().write(tmp_path / "CANARY-4711 Canary")
    case = open_case(folder)
    draw(case, np.s_[0:1, 0:2, 0:2])
    written = save_mask(case, tmp_path / "out", overlay=True)
    seen = f"{case.name} {case.patient_key} {case.warnings} {[p.name for p in written]}"
    seen += "".join(p.read_bytes().decode("latin-1") for p in written)
    assert "canary" not in seen.lower() and "4711" not in seen
    assert case.name == "CT series 3"


def test_the_patient_key_is_the_same_for_one_patient_only(tmp_path):
    keys = [
        open_case(plain(tags={"PatientID": name}).write(tmp_path / str(n))).patient_key
        for n, name in enumerate(["A", "A", "B"])
    ]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0] == patient_key("id:A")
    nobody = plain(tags={"PatientID": ""})
    assert open_case(nobody.write(tmp_path / "x")).patient_key == patient_key(
        f"study:{nobody.study}"
    )


def test_progress_counts_images_and_can_stop(tmp_path):
    folder = plain().write(tmp_path / "s")
    seen = []
    open_case(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]

    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        open_case(folder, progress=stop)


def test_files_without_preamble_open(tmp_path):
    folder = plain().write(tmp_path / "s")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert list_cases(folder) == [folder]
    assert open_case(folder).scan.modality == "CT"


def test_boxes_on_the_files_axes_find_the_same_voxels(tmp_path):
    series = series_of(1, 2, (1, -1))
    scan = open_case(series.write(tmp_path / "s")).scan
    box = array_box(scan.stored, (range(1, 3), range(0, 2), range(2, 4)), scan.grid.shape)
    expected = series.pixels[2:4, 0:2, 1:3]  # third axis, second, first
    assert set(scan.array[box.slices].ravel()) == set(expected.ravel())


def test_the_phantom_itself_writes_ct(tmp_path):
    import pydicom

    folder = plain(2).write(tmp_path / "s")
    dataset = pydicom.dcmread(folder / "IM0001.dcm")
    assert dataset.SOPClassUID == CT and dataset.PatientID == "CANARY-4711"
    assert np.array_equal(dataset.pixel_array, distinct((2, 5, 6))[1])


def test_real_series(shared_folder):
    folder = shared_folder / "io" / "series"
    if not folder.is_dir():
        pytest.skip("the real series are not here")
    scan = open_case(folder / "ct_j2k_ts").scan
    labels = open_case(folder / "ct_j2k_ts_seg.nii.gz").scan
    assert scan.grid.same_place(labels.grid, tolerance_mm=1e-2)
    tilted = open_case(folder / "ct_gantry_tilt_philips_a")
    assert "tilted by 16.5 degrees" in tilted.warnings[0]
    liver = open_case(folder / "ct_seg_liver_dcmqi")
    assert liver.scan.slice_count == 3 and liver.scan.padding == -2000


def test_positions_helper_finds_a_flip():
    array = distinct((3, 4, 5))
    affine = np.diag([1.0, 1, 1, 1])
    assert not same_positions(
        positions_by_value(array, affine), positions_by_value(array[::-1], affine)
    )
