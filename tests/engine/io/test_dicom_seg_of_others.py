"""Segmentations by other programs: label maps, high numbers, frames of a coarser or other scan."""

from __future__ import annotations

import shutil
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from phantoms import Series, distinct, draw, plain
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from engine.domain.box import full_box
from engine.domain.label_map import Origin
from engine.domain.labels import LabelList
from engine.domain.manifest import ModelUse
from engine.errors import ChoiceNeeded, UserError
from engine.io import check_format, open_case, read_mask, save_mask

# Attributes that highdicom wants to repeat.
BLANK = dict.fromkeys(
    ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime", "StudyID",
     "ReferringPhysicianName"), "",
)  # fmt: skip
DRAWN_ON_ANOTHER = "was drawn on another series than"
ANOTHER_FRAME = "was drawn in another frame of reference than that of"


def label_map(path, folder, values, numbers, **options):
    """A LABELMAP segmentation `[frame, row, column]` by highdicom."""
    sources = [dcmread(p) for p in sorted(folder.iterdir())]
    code = hd.sr.CodedConcept("1", "99X", "x")
    segments = [hd.seg.SegmentDescription(n, f"s{n}", code, code, "MANUAL") for n in numbers]
    seg = hd.seg.Segmentation(
        sources, values, "LABELMAP", segments, hd.UID(), 1, hd.UID(), 1, "m", "m", "1", "1",
        **options,
    )  # fmt: skip
    seg.save_as(path)
    return path


def told(path, case, **options):
    """The mask, the names of its labels, and what reading it said."""
    said: list[str] = []
    array, labels = read_mask(path, case, tell=said.append, **options)
    return array, {label.id: label.name for label in labels or ()}, said


def asked(path, case) -> str:
    with pytest.raises(ChoiceNeeded) as error:
        read_mask(path, case)
    return error.value.about


def on_slices(case, *slices: int) -> np.ndarray:
    """Draws a square on some slices."""
    values = np.zeros(case.scan.grid.shape, np.uint8)
    values[list(slices), 1:3, 1:3] = 1
    edit = case.label_map.make_edit(full_box(values.shape), values > 0, values, Origin.HAND)
    case.label_map.apply(edit)
    return values


def edited(path, change):
    """The same file, its data set changed."""
    ds = dcmread(path)
    change(ds)
    ds.save_as(path)
    return path


def without_distance(ds) -> None:
    del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices


def without_names(ds) -> None:
    """Nothing tells which series or images it was drawn on."""
    del ds.ReferencedSeriesSequence
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_segments_above_255_become_free_lower_labels_and_keep_their_names(tmp_path, syntax):
    case = open_case(plain(tags=BLANK).write(tmp_path / "s"))
    values = np.zeros((6, 5, 6), np.uint16)
    values[1, 1:3, 1:3], values[2, 1:3, 1:3], values[3, 0:2, 0:2] = 300, 256, 1
    path = label_map(tmp_path / "m.dcm", tmp_path / "s", values, range(1, 301),
                     transfer_syntax_uid=syntax)  # fmt: skip
    array, names, said = told(path, case)
    assert np.array_equal(array, np.select([values == 1, values == 256, values == 300], [1, 2, 3]))
    assert (names[1], names[2], names[3], names[4]) == ("s1", "s256", "s300", "s4")
    assert len(said) == 1 and "segment 256 is label 2, segment 300 is label 3." in said[0]


def test_numbers_that_nothing_names_are_given_first(tmp_path):
    case = open_case(plain(tags=BLANK).write(tmp_path / "s"))
    values = np.zeros((6, 5, 6), np.uint16)
    values[1, 1], values[2, 1] = 1000, 2
    path = label_map(tmp_path / "m.dcm", tmp_path / "s", values, [1, 2, 1000])
    array, names, _ = told(path, case)
    assert names == {1: "s1", 2: "s2", 3: "s1000"} and set(np.unique(array)) == {0, 2, 3}


def test_more_segments_than_labels_are_refused_only_if_they_are_drawn(tmp_path):
    case = open_case(Series(distinct((2, 16, 16)), tags=BLANK).write(tmp_path / "s"))
    values = (np.arange(512).reshape(2, 16, 16) % 301).astype(np.uint16)
    path = label_map(tmp_path / "m.dcm", tmp_path / "s", values, range(1, 301))
    with pytest.raises(UserError, match=r"m\.dcm holds 300 segments; 255 can be opened"):
        read_mask(path, case)
    fewer = np.where(values % 2 == 0, values, 0).astype(np.uint16)
    path = label_map(tmp_path / "m.dcm", tmp_path / "s", fewer, range(1, 301))
    array, _, said = told(path, case)
    assert len(np.unique(array)) == 151 and ((array > 0) == (fewer > 0)).all()
    assert "and 20 more are renumbered" in said[0]


def test_a_binary_segment_of_a_high_number(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[1:3, 1:3, 1:3])
    path = save_mask(case, tmp_path / "m.dcm")[0]
    (tmp_path / "m.manifest.json").unlink()

    def renumber(ds) -> None:
        ds.SegmentSequence[0].SegmentNumber = 300
        for item in ds.SharedFunctionalGroupsSequence:
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 300

    array, names, said = told(edited(path, renumber), case)
    assert np.array_equal(array, case.label_map.array) and names == {1: "part 1"}
    assert "segment 300 is label 1" in said[0]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("colours", [11, 256])
def test_the_palette_of_a_label_map_is_left_alone(tmp_path, colours, syntax):
    case = open_case(plain(tags=BLANK).write(tmp_path / "s"))
    values = np.zeros((6, 5, 6), np.uint8)
    values[1, 1:3, 1:3], values[2, 0:2, 0:2] = 2, 1
    tables = [
        hd.PaletteColorLUT(0, np.arange(colours, dtype=np.uint8)[::-1].copy(), name)
        for name in ("red", "green", "blue")
    ]
    palette = hd.PaletteColorLUTTransformation(*tables, palette_color_lut_uid=hd.UID())
    path = label_map(
        tmp_path / "m.dcm", tmp_path / "s", values, [1, 2],
        palette_color_lut_transformation=palette, transfer_syntax_uid=syntax,
    )  # fmt: skip
    assert dcmread(path).PhotometricInterpretation == "PALETTE COLOR"
    array, names, said = told(path, case)
    assert np.array_equal(array, values) and names == {1: "s1", 2: "s2"} and not said


def test_the_padding_of_a_label_map_is_no_segment(tmp_path):
    case = open_case(plain(tags=BLANK).write(tmp_path / "s"))
    values = np.zeros((6, 5, 6), np.uint8)
    values[:, 1:3, 1:3] = 2
    path = label_map(tmp_path / "m.dcm", tmp_path / "s", values, [1, 2])

    def pad_with_9(ds) -> None:
        ds.PixelPaddingValue = 9
        ds.PixelData = ds.PixelData.replace(b"\0", b"\x09")

    assert np.array_equal(told(edited(path, pad_with_9), case)[0], values)


@pytest.mark.parametrize(("thick", "step"), [(5, 2.0), (3, 2.0), (4, 1.0), (3.1, 2.0), (4, 2.0)])
@pytest.mark.parametrize("slices", [(2,), (1, 3), (0, 2, 4), (1, 2)])
def test_overlapping_slices_are_no_coarser_grid(tmp_path, thick, step, slices):
    series = plain(step=(0, 0, step), tags={"SliceThickness": thick})
    case = open_case(series.write(tmp_path / "s"))
    values = on_slices(case, *slices)
    path = edited(save_mask(case, tmp_path / "m.dcm")[0], without_distance)
    assert np.array_equal(read_mask(path, case)[0], values)
    assert np.array_equal(read_mask(path, case, resample="nearest")[0], values)


def test_the_images_that_frames_name_tell_as_well(tmp_path):
    case = open_case(plain(step=(0, 0, 2.5)).write(tmp_path / "s"))  # 5 mm thick
    values = on_slices(case, 0, 2, 4)
    path = edited(save_mask(case, tmp_path / "m.dcm")[0], without_distance)
    edited(path, lambda ds: delattr(ds, "ReferencedSeriesSequence"))
    assert np.array_equal(read_mask(path, case)[0], values)
    edited(path, lambda ds: setattr(ds, "ReferencedSeriesSequence", []))
    assert np.array_equal(read_mask(path, case)[0], values)


@pytest.mark.parametrize("slices", [(2,), (1, 3), (0, 3)])
def test_a_distance_that_the_scan_s_own_headers_say_wrongly(tmp_path, slices):
    series = plain(tags={"SpacingBetweenSlices": 6})
    case = open_case(series.write(tmp_path / "s"))
    values = on_slices(case, *slices)
    path = save_mask(case, tmp_path / "m.dcm")[0]
    assert np.array_equal(read_mask(path, case)[0], values)


def thick_and_thin(tmp_path):
    """A scan of slices every 5 mm, 5 mm thick, and one of the same body every 2.5 mm."""
    thick = open_case(plain(4, step=(0, 0, 5.0)).write(tmp_path / "thick"))
    study = plain().study
    thin = open_case(plain(8, step=(0, 0, 2.5), study=study).write(tmp_path / "thin"))
    return thick, thin


@pytest.mark.parametrize("slices", [(0, 1, 2, 3), (1, 3), (2,)])
def test_what_was_drawn_on_a_thicker_reconstruction_is_asked_about(tmp_path, slices):
    thick, thin = thick_and_thin(tmp_path)
    on_slices(thick, *slices)
    path = save_mask(thick, tmp_path / "m.dcm")[0]
    assert asked(path, thin) == "resample"
    edited(path, without_distance)
    assert asked(path, thin) == "resample", "5 mm thick, and of another series"
    drawn = read_mask(path, thin, resample="nearest")[0].any(axis=(1, 2))
    for n in slices:
        assert drawn[2 * n] and (drawn[2 * n + 1] or drawn[2 * n - 1]), "no stripes"


def test_where_nothing_tells_frames_as_far_apart_as_thick_are_asked_about(tmp_path):
    thick, thin = thick_and_thin(tmp_path)
    on_slices(thick, 0, 1, 3)
    path = edited(save_mask(thick, tmp_path / "m.dcm")[0], without_distance)
    assert asked(edited(path, without_names), thin) == "resample"
    thin_values = on_slices(thin, 0, 3)  # 7.5 mm apart, 5 mm thick: not that of thick slices
    path = edited(save_mask(thin, tmp_path / "n.dcm")[0], without_distance)
    assert np.array_equal(read_mask(edited(path, without_names), thin)[0], thin_values)


def test_where_nothing_tells_a_single_frame_is_put_where_it_lies(tmp_path):
    _, thin = thick_and_thin(tmp_path)
    values = on_slices(thin, 3)
    path = edited(save_mask(thin, tmp_path / "m.dcm")[0], without_distance)
    assert np.array_equal(read_mask(edited(path, without_names), thin)[0], values)


def test_coarser_frames_are_asked_about_whatever_they_name(tmp_path):
    thick, thin = thick_and_thin(tmp_path)
    on_slices(thick, 0, 1, 3)
    path = save_mask(thick, tmp_path / "m.dcm")[0]
    uid = dcmread(next((tmp_path / "thin").iterdir())).SeriesInstanceUID

    def name_thin(ds) -> None:
        ds.ReferencedSeriesSequence[0].SeriesInstanceUID = uid

    assert asked(edited(path, name_thin), thin) == "resample", "they say 5 mm, and lie so"
    wide = open_case(plain(spacing=(1.4, 1.8)).write(tmp_path / "wide"))
    on_slices(wide, 1)
    assert asked(save_mask(wide, tmp_path / "w.dcm")[0], thin) == "resample"


def test_a_mask_of_another_patient_on_the_same_grid_opens_with_a_warning(tmp_path):
    case = open_case(plain().write(tmp_path / "s"))
    on_slices(case, 1, 2)
    path = save_mask(case, tmp_path / "m.dcm")[0]
    assert told(path, case)[2] == []
    other = open_case(plain().write(tmp_path / "other"))
    array, _, said = told(path, other)
    assert np.array_equal(array, case.label_map.array)
    assert said == [f"m.dcm {ANOTHER_FRAME} other: check that it is this patient's and fits."]
    edited(path, lambda ds: setattr(ds, "FrameOfReferenceUID", generate_uid()))
    assert told(path, case)[2] == [], "made up, but with the scan's series"
    assert any(ANOTHER_FRAME in text for text in told(path, other)[2])
    edited(path, lambda ds: delattr(ds, "FrameOfReferenceUID"))
    assert [DRAWN_ON_ANOTHER in s for s in told(path, other)[2]] == [True]
    assert told(path, case)[2] == []


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_a_mask_without_names_is_known_by_its_own_scan(tmp_path, form):
    case = open_case(plain().write(tmp_path / "s"))
    on_slices(case, 1, 3)
    path = save_mask(case, tmp_path / "m.dcm", form=form, deidentify=True)[0]
    array, _, said = told(path, case)
    strange = [text for text in said if "those between stay empty" not in text]
    assert np.array_equal(array, case.label_map.array) and strange == []
    other = open_case(plain().write(tmp_path / "other"))
    assert any(ANOTHER_FRAME in text for text in told(path, other)[2])
    shutil.rmtree(tmp_path / "s")  # nothing is left to compare with
    assert np.array_equal(told(path, case)[0], case.label_map.array)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_a_backslash_in_a_name_makes_no_second_name(tmp_path, form):
    case = open_case(plain().write(tmp_path / "s"))
    draw(case, np.s_[1:3, 1:3, 1:3])
    case.labels = LabelList((replace(next(iter(case.labels)), name="a\\b\tc" + "d" * 80),))
    model = ModelUse("m\\n", "ab" * 32, "", 0, None)
    draw(case, np.s_[3:4, 1:3, 1:3], origin=Origin.MODEL)
    path = save_mask(case, tmp_path / "m.dcm", form=form, model=model)[0]
    assert told(path, case)[1][1] == "a\\b\tc" + "d" * 80, "as its manifest says"
    (tmp_path / "m.manifest.json").unlink()
    assert told(path, case)[1] == {1: "a/bc" + "d" * 60}
    assert "m/n" in str(dcmread(path))

    def with_backslash(ds) -> None:  # as others write it
        if form == "seg":
            ds.SegmentSequence[0].SegmentLabel = "a\\b"
        else:
            ds.StructureSetROISequence[0].ROIName = "a\\b"

    assert told(edited(path, with_backslash), case)[1] == {1: "a\\b"}


@pytest.mark.parametrize("size", [1, 3])
def test_a_series_of_several_multi_frame_files_has_no_seg_and_says_why(tmp_path, size):
    whole = plain()
    (tmp_path / "s").mkdir()
    for n in range(0, 6, size):
        part = Series(whole.pixels[n : n + size], uid=whole.uid, study=whole.study,
                      origin=tuple(whole.position(n)))  # fmt: skip
        part.enhanced().save_as(tmp_path / "s" / f"{n}.dcm", enforce_file_format=True)
    case = open_case(tmp_path / "s")
    on_slices(case, 1, 4)
    text = f"frames of {6 // size} files, and a segmentation can refer"
    with pytest.raises(UserError, match=text) as error:
        save_mask(case, tmp_path / "m.dcm")
    assert "RT structure set" in error.value.hint
    with pytest.raises(UserError, match=text):
        check_format(case, tmp_path / "m.dcm")
    check_format(case, tmp_path / "m.dcm", "rtstruct")
    path = save_mask(case, tmp_path / "m.dcm", form="rtstruct")[0]
    assert np.array_equal(read_mask(path, case)[0], case.label_map.array)
