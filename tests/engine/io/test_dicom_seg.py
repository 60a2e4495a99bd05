"""DICOM SEG out and in: highdicom reads what we write, and every frame lies in its place."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from phantoms import Series, distinct, draw, plain, sha256_of, two_segments, write_nifti
from pydicom import dcmread

from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.domain.manifest import ModelUse
from engine.errors import ChoiceNeeded, UserError
from engine.io import open_case, read_mask, save_mask
from engine.io.beside import masks_beside

BOXES = (
    (slice(0, 2), slice(1, 4), slice(0, 2)),
    (slice(3, 5), slice(0, 2), slice(3, 6)),
)
DIRECTIONS = [
    ((1, 0, 0), (0, 1, 0)),
    ((0, 1, 0), (0, 0, -1)),
    ((-1, 0, 0), (0, 0, 1)),
    ((0.8, 0.6, 0), (-0.6, 0.8, 0)),
]


def refused(case, path) -> str:
    with pytest.raises(UserError) as error:
        save_mask(case, path)
    return f"{error.value.message} {error.value.hint}"


def written(tmp_path, series, **options):
    """A series with two labels, and the SEG of them."""
    case = open_case(series.write(tmp_path / "s"))
    k, j, i = case.scan.grid.shape
    draw(
        case,
        (slice(0, k // 2), slice(0, j // 2), slice(0, 2)),
        (slice(k // 2, k), slice(1, j), slice(i - 2, i)),
    )
    return case, save_mask(case, tmp_path / "seg.dcm", **options)[0]


@pytest.mark.parametrize(("row", "column"), DIRECTIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_written_is_read_at_the_same_place(tmp_path, row, column, sign):
    step = tuple(2.5 * sign * v for v in np.cross(row, column))
    series = plain(row=row, column=column, step=step)
    case, path = written(tmp_path, series)
    again, labels = read_mask(path, open_case(tmp_path / "s"))
    assert np.array_equal(again, case.label_map.array) and set(np.unique(again)) == {0, 1, 2}
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]


def test_highdicom_finds_each_frame_by_its_source_image(tmp_path):
    series = plain()
    case, path = written(tmp_path, series)
    by_uid = {ds.SOPInstanceUID: ds for ds in map(dcmread, sorted((tmp_path / "s").iterdir()))}
    uids = sorted(by_uid, key=lambda uid: float(by_uid[uid].ImagePositionPatient[2]))
    seg = hd.seg.segread(path)
    planes = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(planes, case.label_map.array)
    source = by_uid[uids[0]]
    for name in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert seg.get(name) == source.get(name)
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID and seg.Modality == "SEG"
    assert "Research use only" in seg.ContentDescription


def test_a_source_of_one_file_with_many_frames(tmp_path):
    series = plain()
    ds = series.enhanced([3, 0, 5, 1, 4, 2])
    ds.save_as(tmp_path / "e.dcm", enforce_file_format=True)
    case = open_case(tmp_path / "e.dcm")
    draw(case, *BOXES)
    path = save_mask(case, tmp_path / "seg.dcm")[0]
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)


def test_tilted_and_gapped_series(tmp_path):
    for name, series, skip in (
        ("tilt", plain(step=(0, 0.7, 2.4)), ()),
        ("gap", plain(), (2,)),
    ):
        case = open_case(series.write(tmp_path / name, skip=skip))
        draw(case, (slice(3, 5), slice(0, 2), slice(3, 6)))
        path = save_mask(case, tmp_path / f"{name}.dcm")[0]
        assert np.array_equal(read_mask(path, case)[0], case.label_map.array)


@pytest.mark.parametrize(
    ("origins", "kind"),
    [
        ((Origin.HAND,), "MANUAL"),
        ((Origin.MODEL,), "AUTOMATIC"),
        ((Origin.MODEL, Origin.HAND), "SEMIAUTOMATIC"),
    ],
)
def test_the_first_edit_makes_an_automatic_segment_semiautomatic(tmp_path, origins, kind):
    case = open_case(plain().write(tmp_path / "s"))
    for n, origin in enumerate(origins):
        draw(case, (slice(2 * n, 2 * n + 1), slice(0, 3), slice(0, 3)), origin=origin)
    model = ModelUse("a model", "ab" * 32, "", 0, None)
    path = save_mask(case, tmp_path / "seg.dcm", model=model)[0]
    segment = dcmread(path).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == kind
    assert (kind == "MANUAL") != ("a model" in str(segment))


def test_the_sources_stay_as_they_are_and_the_seg_is_no_image_of_the_series(tmp_path):
    series = plain()
    case, _ = written(tmp_path, series)
    before = sha256_of(tmp_path / "s")
    save_mask(case, tmp_path / "s" / "seg.dcm")
    after = sha256_of(tmp_path / "s")
    assert {name: after[name] for name in before} == before
    again = open_case(tmp_path / "s")
    assert again.scan.slice_count == 6 and again.warnings == ()


def test_what_can_t_be_a_seg_says_what_can(tmp_path):
    flat = open_case(write_nifti(tmp_path / "a.nii", distinct((4, 5, 6)), np.eye(4)))
    draw(flat, BOXES[0])
    assert "only a mask of a DICOM scan" in refused(flat, tmp_path / "seg.dcm")
    empty = open_case(plain().write(tmp_path / "s"))
    assert "nothing is drawn" in refused(empty, tmp_path / "seg.dcm")
    series = plain(tags={"SOPClassUID": ""})
    odd = open_case(series.write(tmp_path / "odd"))
    draw(odd, BOXES[0])
    text = refused(odd, tmp_path / "seg.dcm")
    assert "SOPClassUID" in text and "NIfTI" in text
    assert not (tmp_path / "seg.dcm").exists()


def test_a_source_that_highdicom_refuses_is_named_in_plain_words(tmp_path):
    case = open_case(plain(tags={"StudyDate": "nonsense"}).write(tmp_path / "s"))
    draw(case, BOXES[0])
    text = refused(case, tmp_path / "seg.dcm")
    assert "seg.dcm can't be written" in text and "NIfTI" in text


def test_a_source_that_has_changed_is_noticed(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, BOXES[0])
    (tmp_path / "s" / "IM0005.dcm").unlink()
    assert "has changed" in refused(case, tmp_path / "seg.dcm")


def test_a_seg_of_another_scan_is_refused(tmp_path):
    _, path = written(tmp_path, plain())
    for name, other in {
        "moved": plain(origin=(-20.0, 15.0, 101.0)),
        "larger": plain(spacing=(0.7, 0.95)),
        "fewer": plain(3),
    }.items():
        case = open_case(other.write(tmp_path / name))
        with pytest.raises(UserError, match="another grid"):
            read_mask(path, case)


def test_a_seg_fits_the_same_scan_in_another_axis_order(tmp_path):
    case, path = written(tmp_path, plain())
    grid = case.scan.grid
    array = np.ascontiguousarray(case.scan.array.transpose(2, 1, 0)[::-1])
    affine = grid.affine @ np.array(
        [[-1, 0, 0, array.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float
    )
    other = open_case(write_nifti(tmp_path / "same.nii", array, affine))
    assert np.array_equal(read_mask(path, other)[0], case.label_map.array)


def source_case(tmp_path):
    series = plain(tags={"PatientBirthDate": "", "PatientSex": "", "AccessionNumber": ""})
    series.tags |= {"StudyDate": "", "StudyTime": "", "StudyID": "", "ReferringPhysicianName": ""}
    return open_case(series.write(tmp_path / "s"))


def test_overlapping_segments_are_asked_about(tmp_path):
    case = source_case(tmp_path)
    first, second = np.zeros((2, 6, 5, 6), np.uint8)
    first[1:4, 1:4, 1:4] = 1
    second[2:5, 2:5, 2:5] = 1
    path = two_segments(tmp_path / "o.dcm", case, "BINARY", first, second)
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert error.value.about == "overlap"
    both = (first & second).astype(bool)
    for choice, value in (("first", 1), ("last", 2)):
        array, _ = read_mask(path, case, overlap=choice)
        assert (array[both] == value).all() and ((array > 0) == (first | second)).all()


def test_fractions_are_asked_about(tmp_path):
    case = source_case(tmp_path)
    fractions = np.linspace(0, 1, 6 * 5 * 6).reshape(6, 5, 6)
    path = two_segments(tmp_path / "f.dcm", case, "FRACTIONAL", fractions, np.zeros_like(fractions))
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    assert error.value.about == "threshold" and error.value.choices[0].key == "0.5"
    array, _ = read_mask(path, case, threshold=0.5)
    assert np.abs((array > 0).sum() - (fractions >= 0.5).sum()) <= 1


def test_damaged_segs_are_refused_by_name(tmp_path):
    case, path = written(tmp_path, plain())
    whole = path.read_bytes()
    for size in (0, 200, len(whole) // 2, len(whole) - 40):
        (tmp_path / "cut.dcm").write_bytes(whole[:size])
        with pytest.raises(UserError) as error:
            read_mask(tmp_path / "cut.dcm", case)
        assert "cut.dcm" in error.value.message


def _flat(ds):
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 0]


def _turned(ds):
    place = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    place.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def _of_no_segment(ds):
    del ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence


@pytest.mark.parametrize(
    ("change", "words"),
    [(_flat, "where its segments lie"), (_turned, "where its segments lie"),
     (_of_no_segment, "which segment it shows")],
)  # fmt: skip
def test_frames_that_lie_nowhere_or_show_nothing_are_refused(tmp_path, change, words):
    case, path = written(tmp_path, plain())
    ds = dcmread(path)
    change(ds)
    ds.save_as(path)
    with pytest.raises(UserError, match=words):
        read_mask(path, case)


def test_one_part_of_a_segmentation_says_so(tmp_path):
    case, path = written(tmp_path, plain())
    ds = dcmread(path)
    ds.ConcatenationUID, ds.InConcatenationNumber, ds.InConcatenationTotalNumber = "1.2", 1, 2
    ds.save_as(path)
    said: list[str] = []
    read_mask(path, case, tell=said.append)
    assert said == [f"{path.name} is part 1 of 2: the other files hold the rest."]


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_pixels_of_no_size_are_no_dicom_mask(tmp_path, form):
    """All voxels of such a segmentation would lie at one place."""
    case = open_case(plain(1, tags={"PixelSpacing": [0, 0]}).write(tmp_path / "s"))
    draw(case, np.s_[0:1, 1:3, 1:3])
    with pytest.raises(UserError, match="do not say how large their pixels are"):
        save_mask(case, tmp_path / "m.dcm", form=form)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_a_mask_among_the_images_of_its_series_is_nothing_odd(tmp_path, form):
    folder = plain().write(tmp_path / "s")
    case = open_case(folder)
    draw(case, np.s_[0:3, 1:3, 1:3])
    save_mask(case, folder / "m.dcm", form=form)
    (folder / "notes.dcm").write_text("no DICOM")
    again = open_case(folder)
    assert again.warnings == ("1 file is no image; left out.",), "the notes"
    assert masks_beside(again) == [folder / "m.dcm"]


def test_real_segmentations(shared_folder):
    folder = shared_folder / "io" / "series" / "ct_seg_liver_dcmqi"
    case = open_case(folder)
    array, labels = read_mask(folder / "liver.dcm", case)
    pixels = dcmread(folder / "liver.dcm").pixel_array
    assert int((array > 0).sum()) == int(pixels.sum()) > 1000
    assert labels is not None and "iver" in next(iter(labels)).name


def test_a_series_of_another_kind_is_no_mask(tmp_path):
    case, _ = written(tmp_path, Series(distinct((6, 5, 6))))
    with pytest.raises(UserError, match="IM0000"):
        read_mask(tmp_path / "s" / "IM0000.dcm", case)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_names_in_any_script_reach_the_mask(tmp_path, form):
    tags = {"SpecificCharacterSet": "ISO_IR 126", "PatientName": "Διονυσιος"}
    case = open_case(plain(tags=tags).write(tmp_path / "s"))
    draw(case, BOXES[0])
    case.labels = LabelList((replace(next(iter(case.labels)), name="Leber, größer"),))
    path = save_mask(case, tmp_path / "m.dcm", form=form)[0]
    ds = dcmread(path)
    assert str(ds.PatientName) == "Διονυσιος" and ds.SpecificCharacterSet == "ISO_IR 192"
    _, labels = read_mask(path, case)
    assert labels is not None and next(iter(labels)).name == "Leber, größer"
    odd = open_case(plain(tags={"SpecificCharacterSet": ""}).write(tmp_path / "odd"))
    draw(odd, BOXES[0])
    save_mask(odd, tmp_path / "odd.dcm", form=form)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_without_names_a_mask_holds_nothing_of_the_patient(tmp_path, form):
    person = {
        "PatientBirthDate": "19470711", "PatientSex": "F", "AccessionNumber": "CANARY-1",
        "StudyID": "CANARY-2", "StudyDate": "20010203", "StudyTime": "040506",
        "ReferringPhysicianName": "Canary^Doctor", "OtherPatientIDs": "CANARY-3",
        "PatientAge": "054Y", "StudyDescription": "CANARY-4", "InstitutionName": "CANARY-5",
        "PatientComments": "CANARY-6", "EthnicGroup": "CANARY-7", "OperatorsName": "CANARY-8",
    }  # fmt: skip
    series = plain(tags=person)
    case = open_case(series.write(tmp_path / "s"))
    draw(case, *BOXES)
    named = save_mask(case, tmp_path / "named.dcm", form=form)[0].read_bytes()
    assert b"CANARY-4711" in named and series.study.encode() in named
    path = save_mask(case, tmp_path / "plain.dcm", form=form, deidentify=True)[0]
    content = path.read_bytes()
    uids = [ds.SOPInstanceUID for ds in map(dcmread, (tmp_path / "s").iterdir())]
    told = ["Canary", "CANARY", "19470711", "20010203", "040506", "054Y", series.study, series.uid]
    assert [word for word in (*told, *uids) if word.encode() in content] == []
    assert dcmread(path).PatientIdentityRemoved == "YES"
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)
    again = save_mask(case, tmp_path / "again.dcm", form=form, deidentify=True)[0]
    assert dcmread(again).StudyInstanceUID == dcmread(path).StudyInstanceUID != series.study


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_frames_of_one_place_are_no_dicom_mask(tmp_path, form):
    series = plain(step=(0, 0, 0))
    ds = series.enhanced()
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    case = open_case(tmp_path / "film.dcm")
    draw(case, BOXES[0])
    with pytest.raises(UserError, match="no places of their own"):
        save_mask(case, tmp_path / "m.dcm", form=form)


def test_a_seg_of_another_grid_is_resampled_where_that_is_asked_for(tmp_path):
    case, path = written(tmp_path, plain())
    finer = plain(12, step=(0, 0, 1.25))
    other = open_case(finer.write(tmp_path / "finer"))
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, other)
    assert error.value.about == "resample"
    array, _ = read_mask(path, other, resample="nearest")
    assert np.array_equal(array[::2], case.label_map.array)
    assert np.array_equal(read_mask(path, case, resample="nearest")[0], case.label_map.array)
    away = open_case(plain(origin=(900.0, 15.0, 100.0)).write(tmp_path / "away"))
    with pytest.raises(UserError) as error:
        read_mask(path, away)
    assert not isinstance(error.value, ChoiceNeeded)
