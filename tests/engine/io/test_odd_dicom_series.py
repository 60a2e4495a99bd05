"""DICOM series with something odd in them: dropped and said, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import (
    Series,
    distinct,
    draw,
    plain,
    positions_of,
    same_positions,
)

from engine.errors import UserError
from engine.io import open_case, read_mask, save_mask


def refused(path, **options) -> str:
    with pytest.raises(UserError) as error:
        open_case(path, **options)
    return f"{error.value.message} {error.value.hint}"


def moved(tmp_path, n, by):
    """A series of which image `n` lies elsewhere."""
    place = plain().position(n) + np.array(by)
    return changed(tmp_path, n, ImagePositionPatient=[float(v) for v in place])


def changed(tmp_path, n, **values):
    """A series of which image `n` says something else."""
    series = plain()
    folder = series.write(tmp_path / "s")
    dataset = series.dataset(n)
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.save_as(folder / f"IM{n:04d}.dcm", enforce_file_format=True)
    return folder


def test_uneven_slices_are_said(tmp_path):
    for name, by in {"a": 0.6, "b": 0.05}.items():
        case = open_case(moved(tmp_path / name, 3, (0, 0, by)))
        assert "lie unevenly" in case.warnings[0] and not case.scan.is_even
    assert open_case(moved(tmp_path / "c", 3, (0, 0, 0.005))).warnings == ()


def test_shifted_slices_are_refused(tmp_path):
    assert "shifted" in refused(moved(tmp_path, 3, (4, 0, 0)))


def test_equal_twins_are_dropped_and_said(tmp_path):
    series = plain()
    folder = series.write(tmp_path / "s")
    series.dataset(2).save_as(folder / "again.dcm", enforce_file_format=True)
    case = open_case(folder)
    assert same_positions(positions_of(case.scan), series.truth())
    assert "came twice" in case.warnings[0]


def test_a_series_taken_twice_is_refused(tmp_path):
    series = plain()
    folder = series.write(tmp_path / "s")
    series.pixels = series.pixels + np.int16(1)
    series.dataset(2).save_as(folder / "again.dcm", enforce_file_format=True)
    assert "IM0002.dcm and again.dcm lie at the same place" in refused(folder).replace(
        "again.dcm and IM0002.dcm", "IM0002.dcm and again.dcm"
    )


def test_several_series_are_named_and_one_can_be_chosen(tmp_path):
    folder = tmp_path / "s"
    first, second = plain(number=2), plain(4, number=7)
    first.write(folder, [f"a{n}" for n in range(6)])
    second.write(folder, [f"b{n}" for n in range(4)])
    text = refused(folder)
    assert "2 (CT, 6 images), 7 (CT, 4 images)" in text
    case = open_case(folder, series="7")
    assert same_positions(positions_of(case.scan), second.truth())
    assert open_case(folder, series=first.uid).scan.slice_count == 6
    assert open_case(folder, series=case.scan.stored.series).scan.slice_count == 4
    assert "no series 9" in refused(folder, series="9")


def test_mixed_images_of_one_series_are_refused(tmp_path):
    for name, tags in {
        "sizes": {"pixels": distinct((6, 5, 7))},
        "directions": {"row": (0, 1, 0), "column": (0, 0, -1)},
        "spacings": {"spacing": (0.8, 0.9)},
    }.items():
        first = plain()
        folder = first.write(tmp_path / name)
        options = {"pixels": distinct((6, 5, 6)), **tags}
        other = Series(**options, uid=first.uid)
        other.dataset(3).save_as(folder / "IM0003.dcm", enforce_file_format=True)
        assert "mixes images of" in refused(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "images of MONOCHROME1 and MONOCHROME2"),
        ({"Modality": "MR"}, "images of CT and MR"),
        ({"PixelSpacing": [0, 0]}, "several pixel spacings"),
    ],
)
def test_what_differs_or_lacks_is_named(tmp_path, values, words):
    assert words in refused(changed(tmp_path, 3, **values))


def test_a_series_of_unknown_pixel_size_is_uncalibrated_and_in_order(tmp_path):
    series = plain(tags={"PixelSpacing": [0, 0]})
    case = open_case(series.write(tmp_path / "s", [f"{n}.dcm" for n in (3, 0, 5, 1, 4, 2)]))
    assert np.array_equal(case.scan.array, series.pixels)
    assert not case.scan.grid.calibrated and case.scan.grid.spacing == pytest.approx((1, 1, 1))
    assert case.warnings == ("The size of a pixel is not known: uncalibrated.",)
    draw(case, np.s_[1:3, 1:4, 2:5])
    path = save_mask(case, tmp_path / "m.nii.gz")[0]
    assert np.array_equal(read_mask(path, open_case(tmp_path / "s"))[0], case.label_map.array)


@pytest.mark.parametrize(
    ("name", "words"),
    [("StudyInstanceUID", "2 studies"), ("FrameOfReferenceUID", "2 frames of reference")],
)
def test_images_of_several_studies_or_frames_of_reference_are_told(tmp_path, name, words):
    case = open_case(changed(tmp_path, 3, **{name: "1.2.3"}))
    assert case.warnings == (f"The images are of {words}: check that they belong together.",)


def test_localizers_and_reports_are_left_out_and_said(tmp_path):
    series = plain()
    folder = series.write(tmp_path / "s")
    scout = Series(distinct((1, 5, 6)), row=(0, 1, 0), column=(0, 0, -1), uid=series.uid)
    scout.tags = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    scout.dataset(0).save_as(folder / "scout", enforce_file_format=True)
    report = series.dataset(0)
    report.Modality = "SR"
    del report.PixelData, report.Rows
    report.save_as(folder / "report", enforce_file_format=True)
    (folder / "notes.txt").write_text("x" * 200)
    (folder / "empty").write_bytes(b"")
    case = open_case(folder)
    assert same_positions(positions_of(case.scan), series.truth())
    assert case.warnings == (
        "3 files are no image; left out.",
        "1 localizer image was left out.",
    )


def test_cut_pixels_name_the_file(tmp_path):
    folder = plain().write(tmp_path / "s")
    whole = (folder / "IM0004.dcm").read_bytes()
    (folder / "IM0004.dcm").write_bytes(whole[:-20])
    assert "IM0004.dcm" in refused(folder)
    (folder / "IM0004.dcm").write_bytes(whole[:400])
    assert "IM0004.dcm" in refused(folder)


def test_a_size_larger_than_the_file_is_refused_before_allocating(tmp_path):
    series = plain(2)
    dataset = series.dataset(1)
    dataset.Rows = dataset.Columns = 65535
    folder = series.write(tmp_path / "s", skip=(1,))
    dataset.save_as(folder / "bomb.dcm", enforce_file_format=True)
    assert "bomb.dcm is cut short" in refused(folder)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"NumberOfFrames": 5}, "damaged"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]}, "directions"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "directions"),
    ],
)
def test_senseless_headers_are_refused_with_the_files_name(tmp_path, tags, words):
    text = refused(plain(2, tags=tags).write(tmp_path / "s"))
    assert words in text and "IM0000.dcm" in text


def test_images_without_position_are_not_stacked(tmp_path):
    folder = plain(tags={"ImagePositionPatient": None}).write(tmp_path / "s")
    assert "do not say where they lie" in refused(folder)
    case = open_case(folder / "IM0002.dcm")
    assert case.scan.grid.shape == (1, 5, 6) and not case.scan.grid.oriented
    assert "where it lies" in case.warnings[0]


def test_every_real_odd_file_opens_or_is_refused_in_one_sentence(shared_folder):
    folder = shared_folder / "io" / "dicom"
    if not folder.is_dir():
        pytest.skip("the odd DICOM files are not here")
    opened = 0
    for path in sorted(folder.iterdir()):
        try:
            scan = open_case(path).scan
        except UserError:
            assert path.name in refused(path)
            continue
        assert np.isfinite(scan.grid.affine).all() and scan.array.size
        opened += 1
    assert opened >= 50
