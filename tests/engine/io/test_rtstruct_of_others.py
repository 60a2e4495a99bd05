"""Structure sets by others: drawn through pixel centres, beside the scan, on another one."""

from __future__ import annotations

import warnings
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from phantoms import Series, distinct, draw, plain
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from engine.errors import UserError
from engine.io import open_case, read_mask, save_mask

SQUARE = [(5, 5), (14, 5), (14, 14), (5, 14)]  # through the centres of a square's outermost pixels


@pytest.fixture
def case(tmp_path):
    opened = open_case(Series(distinct((6, 20, 20))).write(tmp_path / "s"))
    draw(opened, np.s_[1:3, 5:15, 5:15])
    return opened


@pytest.fixture
def rtstruct(case, tmp_path):
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    (tmp_path / "rt.manifest.json").unlink()
    return path


def with_contours(path, *contours, slices=None, kind="CLOSED_PLANAR", digits=2):
    """The file with other contours, points (column, row), all on slice 1 unless `slices` says."""
    ds = dcmread(path)
    first = ds.ROIContourSequence[0].ContourSequence[0]
    items = []
    for n, points in enumerate(contours):
        item = deepcopy(first)
        place = np.array(points, float)
        k = 1 if slices is None else slices[n]
        world = np.column_stack(
            [-20 + 0.9 * place[:, 0], 15 + 0.7 * place[:, 1], np.full(len(place), 100 + 2.5 * k)]
        )
        item.ContourData = [f"{v:.{digits}f}" for v in world.reshape(-1)]
        item.NumberOfContourPoints, item.ContourGeometricType = len(place), kind
        items.append(item)
    ds.ROIContourSequence[0].ContourSequence = items
    ds.save_as(path)
    return path


def told(path, case):
    said: list[str] = []
    array, _ = read_mask(path, case, tell=said.append)
    return array, said


@pytest.mark.parametrize("digits", [2, 4, 10])
@pytest.mark.parametrize("turn", [1, -1])
def test_contours_through_pixel_centres_keep_all_their_edges(case, rtstruct, digits, turn):
    path = with_contours(rtstruct, SQUARE[::turn], digits=digits)
    array, said = told(path, case)
    wanted = np.zeros_like(array)
    wanted[1, 5:15, 5:15] = 1
    assert np.array_equal(array, wanted) and said == []


def test_so_do_the_pixels_around_a_hole(case, rtstruct):
    hole = [(8, 8), (11, 8), (11, 11), (8, 11)]
    array, said = told(with_contours(rtstruct, SQUARE, hole), case)
    wanted = np.zeros((20, 20))
    wanted[5:15, 5:15] = 1
    wanted[9:11, 9:11] = 0
    assert np.array_equal(array[1], wanted) and said == []


@pytest.mark.parametrize("line", [[(3.4, 4), (3.4, 6), (3.4, 8)], [(3.4, 4)] * 3, [(3, 4)]])
def test_contours_without_an_area_do_no_harm(case, rtstruct, line):
    array, said = told(with_contours(rtstruct, SQUARE, line), case)
    assert array.sum() == 100
    assert said == ["Of 2 contours in rt.dcm: 1 left out without an area."]


def test_narrow_contours_lie_on_the_slices_of_the_scan(case, rtstruct):
    narrow = [(3.95, 2), (4.04, 2), (4.04, 9), (3.95, 9)]  # flatter across than along the slice
    array, said = told(with_contours(rtstruct, narrow), case)
    assert array[1, 2:10, 4].all() and array.sum() == 8 and said == []


def test_a_contour_that_came_twice_counts_once(case, rtstruct):
    array, said = told(with_contours(rtstruct, SQUARE, SQUARE), case)
    assert array.sum() == 100 and said == ["Of 2 contours in rt.dcm: 1 left out as copies."]
    twice = with_contours(rtstruct, SQUARE, SQUARE, slices=(1, 2))
    assert told(twice, case)[0].sum() == 200, "the same on another slice is no copy"
    both = with_contours(rtstruct, *[np.array(SQUARE) - 0.5] * 2, kind="CLOSEDPLANAR_XOR")
    array, said = told(both, case)
    assert not array.any() and said == [], "there, two cancel each other by intent"


def test_contours_cut_or_left_out_are_counted(case, rtstruct):
    contours = {
        "cut": np.array(SQUARE) + 10, "beside": np.array(SQUARE) + 40, "between": SQUARE,
        "beyond": SQUARE, "whole": SQUARE,
    }  # fmt: skip
    path = with_contours(rtstruct, *contours.values(), slices=(1, 1, 2.5, 9, 2))
    array, said = told(path, case)
    assert (array[1].sum(), array[2].sum(), array.sum()) == (25, 100, 125)
    assert said == [
        "Of 5 contours in rt.dcm: 1 cut at the border of the picture, 1 left out beside the "
        "picture, 2 left out between or beyond the slices."
    ]


def test_a_scan_of_fewer_slices_shows_what_lies_on_them(tmp_path, case, rtstruct):
    fewer = open_case(
        Series(distinct((2, 20, 20)), study=dcmread(rtstruct).FrameOfReferenceUID).write(
            tmp_path / "fewer"
        )
    )
    array, said = told(rtstruct, fewer)
    assert np.array_equal(array, case.label_map.array[:2])
    assert said == ["Of 2 contours in rt.dcm: 1 left out between or beyond the slices."]


def test_a_structure_set_wholly_outside_of_the_scan_is_refused(tmp_path, rtstruct):
    far = Series(distinct((6, 20, 20)), origin=(1980.0, 15.0, 100.0))
    with pytest.raises(UserError, match=r"rt\.dcm lies wholly outside of far"):
        read_mask(rtstruct, open_case(far.write(tmp_path / "far")))
    above = Series(distinct((6, 20, 20)), origin=(-20.0, 15.0, 400.0))
    with pytest.raises(UserError, match="other slices"):
        read_mask(rtstruct, open_case(above.write(tmp_path / "above")))


@pytest.mark.parametrize(
    ("slices", "is_told"), [((0, 2, 4), True), ((1, 5), True), ((0, 1, 4), False), ((3,), False)]
)
def test_what_was_drawn_on_thicker_slices_is_told(case, rtstruct, slices, is_told):
    path = with_contours(rtstruct, *[SQUARE] * len(slices), slices=slices)
    array, said = told(path, case)
    assert np.flatnonzero(array.any(axis=(1, 2))).tolist() == list(slices)
    text = (
        f"part 1 in rt.dcm is drawn on {len(slices)} slices, none beside another: "
        "those between stay empty."
    )
    assert said == [text] * is_told


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR"])
def test_points_and_open_lines_are_told(case, rtstruct, kind):
    array, said = told(with_contours(rtstruct, SQUARE, kind=kind), case)
    assert not array.any()
    assert said == ["Of 1 contour in rt.dcm: 1 left out as points or open lines."]


def test_a_contour_of_many_points_in_a_file_that_tells_kinds_opens(case, rtstruct):
    """Its numbers take more than the 64 KB that an explicit element of numbers can hold."""
    corners = np.array([*SQUARE, SQUARE[0]], float)
    sides = [np.linspace(a, b, 1000, endpoint=False) for a, b in pairwise(corners)]
    ds = dcmread(with_contours(rtstruct, np.concatenate(sides), digits=4))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with warnings.catch_warnings(action="ignore"):  # pydicom says that the kind becomes unknown
        ds.save_as(rtstruct)
    array, said = told(rtstruct, case)
    assert array.sum() == 100 and said == []


def test_one_without_contours_opens_empty(case, rtstruct):
    array, said = told(with_contours(rtstruct), case)
    assert not array.any() and said == []


def test_another_frame_of_reference_is_told(tmp_path, case, rtstruct):
    assert told(rtstruct, case)[1] == []
    other = open_case(Series(distinct((6, 20, 20))).write(tmp_path / "other"))
    array, said = told(rtstruct, other)
    assert np.array_equal(array, case.label_map.array)
    assert len(said) == 1 and "another frame of reference than that of other" in said[0]
    ds = dcmread(rtstruct)  # of the structures, what each says counts
    ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = generate_uid()
    ds.save_as(tmp_path / "b.dcm")
    assert "another frame of reference than that of s" in told(tmp_path / "b.dcm", case)[1][0]
    ds = dcmread(rtstruct)
    del ds.FrameOfReferenceUID, ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    ds.save_as(tmp_path / "c.dcm")
    assert told(tmp_path / "c.dcm", case)[1] == []
    assert "another frame of reference" in told(tmp_path / "c.dcm", other)[1][0]
    del ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    ds.save_as(tmp_path / "d.dcm")
    assert told(tmp_path / "d.dcm", case)[1] == []
    assert "another series than other" in told(tmp_path / "d.dcm", other)[1][0]


def test_a_frame_of_reference_that_was_made_up_for_the_scan_s_series_is_the_scan_s(
    tmp_path, case, rtstruct, shared_folder
):
    ds = dcmread(rtstruct)
    made_up = generate_uid()
    ds.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = made_up
    ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = made_up
    ds.save_as(rtstruct)
    assert told(rtstruct, case)[1] == []
    other = open_case(Series(distinct((6, 20, 20))).write(tmp_path / "other"))
    assert "another frame of reference" in told(rtstruct, other)[1][0]
    folder = shared_folder / "io" / "series" / "ct_rtstruct_rtutils"
    assert told(folder / "rt.dcm", open_case(folder))[1] == []


def test_contours_on_the_slices_of_another_direction(tmp_path):
    series = plain(8, row=(1, 0, 0), column=(0, 1, 0), step=(0, 0, 1.0), spacing=(1.0, 1.0))
    case = open_case(series.write(tmp_path / "s"))
    draw(case, np.s_[2:6, 2:3, 1:5])
    path = save_mask(case, tmp_path / "rt.dcm", form="rtstruct")[0]
    ds = dcmread(path)
    first = ds.ROIContourSequence[0].ContourSequence[0]
    corners = [(0.5, 1.5), (4.5, 1.5), (4.5, 5.5), (0.5, 5.5)]  # (i, k) at j = 2
    world = [(-20 + i, 15 + 2, 100 + k) for i, k in corners]
    first.ContourData = [f"{v:.3f}" for v in np.ravel(world)]
    ds.ROIContourSequence[0].ContourSequence = [first]
    ds.save_as(path)
    array, said = told(path, case)
    assert np.array_equal(array, case.label_map.array) and said == []
