"""Files of several frames, and series of several time points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import Series, distinct, plain, positions_of, same_positions, two_passes
from pydicom.dataset import Dataset

from engine.errors import ChoiceNeeded, UserError
from engine.io import open_case
from engine.io.dicom import source_stack


def saved(ds, path):
    ds.save_as(path, enforce_file_format=True)
    return path


def refused(path, **options) -> str:
    with pytest.raises(UserError) as error:
        open_case(path, **options)
    return f"{error.value.message} {error.value.hint}"


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(range(6)))
def test_frames_lie_where_their_groups_say_whatever_their_order(tmp_path_factory, order):
    series = plain(row=(0, 1, 0), column=(0, 0, -1), step=(2.5, 0, 0))
    path = saved(series.enhanced(list(order)), tmp_path_factory.mktemp("e") / "e.dcm")
    case = open_case(path)
    assert same_positions(positions_of(case.scan), series.truth())
    assert case.scan.intercept == -1024 and case.warnings == ()


def test_each_frame_has_its_own_scale(tmp_path):
    series = plain()
    ds = series.enhanced()
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = n + 1, -n
        group.PixelValueTransformationSequence = [scale]
    case = open_case(saved(ds, tmp_path / "e.dcm"))
    expected = [series.pixels[n] * (n + 1.0) - n for n in range(6)]
    assert np.array_equal(case.scan.array, np.array(expected, np.float32))


def test_private_groups_say_nothing_about_a_frame(tmp_path):
    """Philips keeps the header of a single image there, with UIDs and sizes of its own."""
    series = plain()
    ds = series.enhanced()
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        own = Dataset()
        own.SOPInstanceUID, own.Rows, own.RescaleSlope = f"1.2.{n + 1}", 99, 7
        block = group.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", [own])
    case = open_case(saved(ds, tmp_path / "e.dcm"))
    assert same_positions(positions_of(case.scan), series.truth()) and case.scan.slope == 1
    assert {image.uid for image in source_stack(case).images} == {ds.SOPInstanceUID}


def test_missing_groups_and_cut_frames_are_refused(tmp_path):
    ds = plain().enhanced()
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:4]
    assert "6 frames and describes 4" in refused(saved(ds, tmp_path / "a.dcm"))
    ds = Series(distinct((6, 40, 50))).enhanced()
    ds.PixelData = ds.PixelData[:4000]
    assert "b.dcm is cut short" in refused(saved(ds, tmp_path / "b.dcm"))
    ds = plain().enhanced()
    ds.NumberOfFrames = 10**9
    assert "1000000000 frames" in refused(saved(ds, tmp_path / "c.dcm"))


def test_frames_without_a_place_are_a_film(tmp_path):
    case = open_case(saved(film("XA", ImagerPixelSpacing=[0.7, 0.9]), tmp_path / "film.dcm"))
    assert np.array_equal(case.scan.array, plain().pixels)
    assert not case.scan.grid.calibrated and not case.scan.grid.oriented
    assert "follow in time, and lengths are counted in pixels" in case.warnings[0]
    assert case.warnings[1] == "A pixel is 0.9 x 0.7 mm at the detector."


def film(modality, **values):
    """Six frames that do not say where they lie."""
    ds = plain().dataset(0)
    ds.NumberOfFrames, ds.Modality = 6, modality
    del ds.ImagePositionPatient, ds.ImageOrientationPatient
    ds.PixelData = plain().pixels.tobytes()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def test_frames_of_other_kinds_are_not_said_to_follow_in_time(tmp_path):
    case = open_case(saved(film("NM"), tmp_path / "tomogram.dcm"))
    assert case.warnings[0].startswith("6 frames that do not say where they lie: they are shown")


def test_what_is_cut_into_tiles_is_refused_whatever_its_class(tmp_path):
    assert "cut into tiles" in refused(
        saved(film("SM", TotalPixelMatrixColumns=12), tmp_path / "t")
    )


def taken_twice(tmp_path):
    """A series of two passes as single files."""
    passes = two_passes()
    for part, series in enumerate(passes):
        for n in range(4):
            ds = series.dataset(n)
            ds.InstanceNumber = 1 + part * 4 + n
            # Names that put the passes in the wrong order.
            saved(ds, tmp_path / f"{1 - part}{3 - n}.dcm")
    return passes


def test_a_time_point_is_asked_for_and_kept(tmp_path):
    parts = taken_twice(tmp_path)
    with pytest.raises(ChoiceNeeded) as error:
        open_case(tmp_path)
    assert error.value.about == "time"
    assert [choice.key for choice in error.value.choices] == ["0", "1"]
    for time, part in enumerate(parts):
        case = open_case(tmp_path, time=time)
        assert same_positions(positions_of(case.scan), part.truth())
        again = open_case(tmp_path, series=case.scan.stored.series)
        assert np.array_equal(again.scan.array, case.scan.array)
        assert again.scan.stored == case.scan.stored
    assert "no time point 2" in refused(tmp_path, time=2)


def test_time_points_of_one_file(tmp_path):
    series = plain(4)
    ds = series.enhanced([0, 0, 1, 1, 2, 2, 3, 3])
    later = series.pixels + np.int16(500)
    ds.PixelData = np.stack([series.pixels, later], axis=1).tobytes()
    path = saved(ds, tmp_path / "e.dcm")
    with pytest.raises(ChoiceNeeded):
        open_case(path)
    assert np.array_equal(open_case(path, time=0).scan.array, series.pixels)
    assert np.array_equal(open_case(path, time=1).scan.array, later)


def test_time_points_are_told_apart_by_what_the_scanner_says_of_them(tmp_path):
    """Numbers that begin anew, and names that say nothing, must not mix two time points."""
    passes = two_passes()
    for part, series in enumerate(passes):
        for n in range(4):
            ds = series.dataset(n)
            ds.InstanceNumber, ds.AcquisitionNumber = n + 1, part + 1
            saved(ds, tmp_path / f"{n}{(part + n) % 2}.dcm")
    for time, part in enumerate(passes):
        assert same_positions(positions_of(open_case(tmp_path, time=time).scan), part.truth())


@pytest.mark.parametrize("left", [1, 2, 3])
def test_the_last_time_point_of_a_series_that_was_stopped_has_fewer_slices(tmp_path, left):
    first, second = two_passes()
    first.tags["AcquisitionNumber"], second.tags["AcquisitionNumber"] = 1, 2
    first.write(tmp_path)
    second.write(tmp_path, [f"b{n}.dcm" for n in range(4)], skip=range(left, 4))
    with pytest.raises(ChoiceNeeded) as error:
        open_case(tmp_path)
    assert [choice.key for choice in error.value.choices] == ["0", "1"]
    assert np.array_equal(open_case(tmp_path, time=0).scan.array, first.pixels)
    assert np.array_equal(open_case(tmp_path, time=1).scan.array, second.pixels[:left])


def test_copies_of_some_slices_are_no_time_point_whatever_they_say(tmp_path):
    first = plain(tags={"AcquisitionNumber": 1})
    again = Series(first.pixels, uid=first.uid, study=first.study, tags={"AcquisitionNumber": 2})
    first.write(tmp_path)
    again.write(tmp_path, [f"b{n}.dcm" for n in range(6)], skip=(0, 3, 4, 5))
    case = open_case(tmp_path)
    assert np.array_equal(case.scan.array, first.pixels)
    assert case.warnings == ("2 images came twice; one of each is used.",)


def test_a_trigger_time_that_differs_by_slice_makes_no_time_points(tmp_path):
    series = plain()
    for n in range(6):
        ds = series.dataset(n)
        ds.TriggerTime = 10.0 * n
        saved(ds, tmp_path / f"{n}.dcm")
    ds.TriggerTime, ds.SOPInstanceUID = 70.0, "1.2.3"
    ds.PixelData = (series.pixels[5] + np.int16(1)).tobytes()
    saved(ds, tmp_path / "again.dcm")
    assert "taken more than once" in refused(tmp_path)


def test_time_points_that_nothing_tells_apart_are_never_mixed(tmp_path):
    for part, series in enumerate(two_passes()):
        series.tags["InstanceNumber"] = 1
        series.write(tmp_path, [f"{n}{(part + n) % 2}.dcm" for n in range(4)])
    assert "taken more than once" in refused(tmp_path)


@pytest.mark.parametrize("echoes", [1, 2])
def test_frames_of_time_points_may_stand_in_any_order(tmp_path, echoes):
    series = plain(4)
    count = 2 * echoes
    frames = [(time, echo, n) for time in (1, 2) for echo in range(echoes) for n in range(4)]
    ds = series.enhanced([n for _, _, n in frames])
    order = np.random.default_rng(3).permutation(len(frames))
    groups = list(ds.PerFrameFunctionalGroupsSequence)
    for group, (time, echo, _) in zip(groups, frames, strict=True):
        content, train = Dataset(), Dataset()
        content.TemporalPositionIndex, train.EffectiveEchoTime = time, 10.0 * echo
        group.FrameContentSequence, group.MREchoSequence = [content], [train]
    parts = np.concatenate([series.pixels + np.int16(200 * n) for n in range(count)])
    ds.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    ds.PixelData = parts[order].tobytes()
    path = saved(ds, tmp_path / "e.dcm")
    for time in range(count):
        found = open_case(path, time=time).scan.array
        assert np.array_equal(found, series.pixels + np.int16(200 * time))


def test_a_series_whose_files_all_came_twice_is_one(tmp_path):
    series = plain()
    series.write(tmp_path)
    series.write(tmp_path, [f"copy{n}" for n in range(6)])
    case = open_case(tmp_path)
    assert same_positions(positions_of(case.scan), series.truth())
    assert "6 images came twice" in case.warnings[0]
    assert "no time point 3" in refused(plain().write(tmp_path / "once"), time=3)


def test_stacks_of_several_directions_in_one_file_are_named_by_their_frames(tmp_path):
    ds = plain().enhanced()
    del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        orientation = Dataset()
        orientation.ImageOrientationPatient = [1, 0, 0, 0, *((1, 0) if n < 3 else (0, -1))]
        group.PlaneOrientationSequence = [orientation]
    said = refused(saved(ds, tmp_path / "e.dcm"))
    assert "several directions (frame 1 of e.dcm and frame 4 of e.dcm)" in said
    assert "series of their own" in said and "folder" not in said


def test_frames_of_one_place_that_nothing_tells_apart_are_named(tmp_path):
    series = plain()
    ds = series.enhanced()
    place = ds.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence
    ds.PerFrameFunctionalGroupsSequence[5].PlanePositionSequence = place
    said = refused(saved(ds, tmp_path / "e.dcm"))
    assert "frame 5 of e.dcm and frame 6 of e.dcm lie at the same place" in said
    assert "series of their own" in said and "folder" not in said
