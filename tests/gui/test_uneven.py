"""A series whose slices lie unevenly in the window: slice by slice, and every length is true."""

from __future__ import annotations

import numpy as np
import pytest

from engine.domain.volume import AXIS_PLANE
from engine.io import read_mask
from engine.system.paths import user_data_dir
from sdseg_gui.canvas import texts
from sdseg_gui.status import describe
from tests.engine.io.phantoms import Series
from tests.gui.helpers import notice, open_path, paint, segment, voxels
from tests.tiny_model import save_tiny

HEIGHTS = (0.0, 3.0, 8.0, 13.0, 20.5, 23.0)


def write_uneven(folder):
    """Six axial slices, 3, 5, 5, 7.5 and 2.5 mm apart."""
    noise = np.random.default_rng(0).integers(0, 900, (6, 40, 48), np.int16)
    empty = ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime")
    tags = dict.fromkeys((*empty, "StudyID", "ReferringPhysicianName"), "")
    series = Series(noise, step=(0, 0, 1.0), tags=tags)
    folder.mkdir()
    for n, height in enumerate(HEIGHTS):
        dataset = series.dataset(n)
        dataset.ImagePositionPatient = [-20.0, 15.0, 100.0 + height]
        dataset.save_as(folder / f"IM{n}.dcm", enforce_file_format=True)
    return folder


def test_every_slice_is_segmented_at_its_place(window, qtbot, idle, tmp_path) -> None:
    open_path(window, idle, write_uneven(tmp_path / "s"))
    assert any("slice by slice only" in text for text in window.notice_bar.texts)
    case = window.document.case
    assert case.scan.slice_count == 6 and AXIS_PLANE[case.scan.plane] == "axial"
    segment(window, qtbot, "segment.volume")
    assert case.label_map.array.any(axis=(1, 2)).sum() == 6
    window.document.undo()
    window.view.set_slice(4)
    segment(window, qtbot, "segment.slice")
    assert np.flatnonzero(case.label_map.array.any(axis=(1, 2))).tolist() == [4]
    for index, height in enumerate(HEIGHTS):
        assert texts.place(case.scan, index)[1] == f"H {100 + height:.1f} mm"
    assert "120.5 mm" in describe(case, (4, 2, 3))
    window.commands["export.mask"].trigger(path=tmp_path / "m.dcm")
    idle(window)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", case)[0], case.label_map.array)


@pytest.fixture
def across() -> str:
    """A model that works on sagittal slices; made before the window looks for models."""
    return save_tiny(user_data_dir() / "models" / "across", name="across", plane="sagittal").name


def test_a_model_that_works_across_the_slices_is_refused(
    across, window, qtbot, idle, tmp_path
) -> None:
    open_path(window, idle, write_uneven(tmp_path / "s"))
    segment(window, qtbot, "segment.volume", model=across)
    assert "lie unevenly" in notice(window) and voxels(window) == 0
    assert window.commands["segment.slice"].enabled


def test_its_work_is_found_again_in_a_project(window, idle, tmp_path) -> None:
    open_path(window, idle, write_uneven(tmp_path / "s"))
    paint(window, 2)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["project.open"].trigger(path=project)
    idle(window)
    scan = window.document.case.scan
    assert voxels(window) == 40 * 48 and scan.place(1) * scan.grid.spacing[0] == 3.0
