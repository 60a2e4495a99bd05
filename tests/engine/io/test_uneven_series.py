"""Series whose slices lie unevenly: worked on slice by slice, nothing moved, nothing made up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pydicom
import pytest
from phantoms import Series, distinct, draw, rotation, two_segments

from engine.domain.volume import Volume
from engine.errors import UserError
from engine.io import open_case, read_mask, save_mask
from engine.io.dicom import source_stack
from engine.io.project import case_of, entry_of
from engine.io.uneven import require_even

HEIGHTS = (0.0, 3.0, 8.0, 13.0, 20.5, 23.0)
EMPTY = dict.fromkeys(
    ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime", "StudyID"), ""
)


@dataclass
class Uneven(Series):
    """Slice n lies `heights[n]` mm along `step` from the first."""

    heights: tuple[float, ...] = HEIGHTS
    tags: dict = field(default_factory=lambda: {**EMPTY, "ReferringPhysicianName": ""})

    def position(self, n: int) -> np.ndarray:
        return np.array(self.origin) + self.heights[n] * np.array(self.step)


def uneven(heights=HEIGHTS, step=(0, 0, 1.0), **options) -> Uneven:
    return Uneven(distinct((len(heights), 5, 6)), step=step, heights=tuple(heights), **options)


def worlds(scan: Volume) -> dict[int, np.ndarray]:
    """World position (RAS+) of every value, by each slice's own place."""
    found = {}
    for (k, j, i), value in np.ndenumerate(scan.array):
        at = [i, j, k, 1.0]
        at[2 - scan.plane] = scan.place((k, j, i)[scan.plane])
        found[int(value)] = (scan.grid.affine @ at)[:3]
    return found


@pytest.mark.parametrize("heights", [HEIGHTS, (0, 3, 8, 13), (0, 2.5, 5, 7.6, 10), (0, 9, 10.3)])
def test_every_slice_keeps_its_index_and_its_place(tmp_path, heights):
    series = uneven(heights)
    case = open_case(series.write(tmp_path / "s"))
    scan = case.scan
    assert np.array_equal(scan.array, series.pixels) and scan.loaded.all() and not scan.missing
    assert not scan.is_even and "slice by slice only" in case.warnings[0]
    found, truth = worlds(scan), series.truth()
    assert all(np.allclose(found[value], place, atol=2e-3) for value, place in truth.items())
    across = np.linalg.norm(scan.grid.affine[:3, 2 - scan.plane])
    assert across == pytest.approx(heights[-1] / (len(heights) - 1))


@pytest.mark.parametrize(
    ("row", "column", "step"),
    [
        ((0, 1, 0), (0, 0, -1), (1, 0, 0)),  # sagittal
        ((1, 0, 0), (0, 0, -1), (0, 1, 0)),  # coronal
        ((1, 0, 0), (0, -1, 0), (0, 0, -1)),  # counted to the feet
        ((1, 0, 0), (0, 1, 0), (0, 0.3, 1)),  # a tilted gantry
        (tuple(rotation((10, 20, -15))[:, 0]), tuple(rotation((10, 20, -15))[:, 1]),
         tuple(rotation((10, 20, -15))[:, 2])),
    ],
)  # fmt: skip
def test_places_are_right_in_every_direction_and_for_tilted_gantries(tmp_path, row, column, step):
    series = uneven(row=row, column=column, step=step)
    scan = open_case(series.write(tmp_path / "s")).scan
    found, truth = worlds(scan), series.truth()
    assert scan.slice_count == 6
    assert all(np.allclose(found[value], place, atol=2e-3) for value, place in truth.items())
    indices = np.arange(6.0)
    assert np.allclose(scan.index_at(np.array([scan.place(n) for n in range(6)])), indices)
    assert scan.index_at(-1.5) == -1.5 and scan.index_at(7.0) == 7.0


def test_whole_multiples_are_missing_slices_as_ever(tmp_path):
    scan = open_case(uneven((0, 5, 10, 20, 25)).write(tmp_path / "s")).scan
    assert scan.is_even and scan.missing == {3} and scan.slice_count == 6
    near = open_case(uneven((0, 5, 10.03, 15, 20)).write(tmp_path / "near"))
    assert near.scan.is_even and near.warnings == ()


def test_uneven_slices_that_are_shifted_or_turned_are_refused(tmp_path):
    series = uneven()
    folder = series.write(tmp_path / "a")
    dataset = series.dataset(2)
    dataset.ImagePositionPatient = [float(v) for v in series.position(2) + np.array([4, 0, 0])]
    dataset.save_as(folder / "IM0002.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match="shifted against each other"):
        open_case(folder)
    turned = replace(series, row=(0, 1, 0), column=(0, 0, -1))
    turned.dataset(2).save_as(folder / "IM0002.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match="several directions"):
        open_case(folder)


def test_a_volume_counts_each_slice_by_its_own_reach(tmp_path):
    scan = open_case(uneven().write(tmp_path / "s")).scan
    pixel = 0.7 * 0.9 / 1000
    reach = np.array([3.0, 4.0, 5.0, 6.25, 5.0, 2.5])
    assert scan.voxel_ml == pytest.approx(reach * pixel)
    mask = np.zeros(scan.array.shape, bool)
    mask[1, :2, :3] = mask[4, 0, 0] = True
    assert scan.volume_ml(mask) == pytest.approx((6 * 4.0 + 5.0) * pixel)
    even = open_case(Series(distinct((4, 5, 6))).write(tmp_path / "even")).scan
    assert even.volume_ml(even.array < 10) == pytest.approx(10 * 2.5 * pixel)


def test_formats_with_one_distance_are_refused_with_those_that_do(tmp_path):
    scan = open_case(uneven().write(tmp_path / "s")).scan
    with pytest.raises(UserError, match=r"m\.nii\.gz can't be written: the slices lie unevenly"):
        require_even(scan, tmp_path / "m.nii.gz")
    require_even(open_case(Series(distinct((4, 5, 6))).write(tmp_path / "e")).scan, tmp_path / "m")


@pytest.mark.parametrize("step", [(0, 0, 1.0), (0, 0, -1.0), (0, 0.3, 1.0)])
def test_a_dicom_seg_lies_on_the_source_s_own_positions_and_opens_again(tmp_path, step):
    column = (0, 1, 0) if step[2] > 0 else (0, -1, 0)
    series = uneven(step=step, column=column)
    case = open_case(series.write(tmp_path / "s"))
    draw(case, np.s_[1:5, 1:4, 2:5], np.s_[5:6, 0:2, 0:2])
    path = tmp_path / "m.dcm"
    save_mask(case, path)
    written = {
        tuple(float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient)
        for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    }
    expected = {tuple(series.position(n)) for n in range(6)}
    for place in written:
        assert min(np.abs(np.subtract(place, other)).max() for other in expected) < 1e-3
    array, labels = read_mask(path, case)
    assert np.array_equal(array, case.label_map.array)
    assert labels is not None and [label.name for label in labels] == ["part 1", "part 2"]


def test_a_seg_of_even_slices_does_not_lie_on_uneven_ones(tmp_path):
    even = uneven(tuple(np.linspace(0, 23, 6)))
    other = open_case(even.write(tmp_path / "even"))
    draw(other, np.s_[1:4, 1:4, 2:5])
    save_mask(other, tmp_path / "m.dcm")
    case = open_case(uneven().write(tmp_path / "s"))
    with pytest.raises(UserError, match="lies on another grid"):
        read_mask(tmp_path / "m.dcm", case)


def test_segments_of_another_program_are_put_on_their_slices(tmp_path):
    case = open_case(uneven().write(tmp_path / "s"))
    first, second = np.zeros((2, 6, 5, 6), np.uint8)
    first[4, 1:3, 1:4] = second[1, 2:5, 2:5] = 1
    path = two_segments(tmp_path / "o.dcm", case, "BINARY", first, second)
    array, _ = read_mask(path, case)
    assert np.array_equal(array == 1, first == 1) and np.array_equal(array == 2, second == 1)


def test_a_project_finds_the_places_again_and_a_changed_series_is_seen(tmp_path):
    series = uneven()
    case = open_case(series.write(tmp_path / "s"))
    draw(case, np.s_[1:2, 0:2, 0:2])
    back = case_of(entry_of(case))
    assert np.allclose(back.scan.places, case.scan.places)
    assert back.label_map.array.sum() == 4
    assert len(source_stack(case).images) == 6
    moved = replace(series, heights=(0.0, 3.0, 8.0, 14.0, 20.5, 23.0))
    moved.write(tmp_path / "s")
    with pytest.raises(UserError, match="has changed since it was opened"):
        source_stack(case)


def test_frames_of_one_file_may_lie_unevenly_too(tmp_path):
    series = uneven()
    path = tmp_path / "enhanced.dcm"
    series.enhanced([3, 0, 5, 1, 4, 2]).save_as(path, enforce_file_format=True)
    scan = open_case(path).scan
    assert np.array_equal(scan.array, series.pixels) and not scan.is_even
