"""Every time point of a series or file can be reached; each has a mask of its own."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QInputDialog

from sdseg_gui.dialogs.export import ExportDialog
from tests.engine.io.phantoms import Series, distinct
from tests.gui.helpers import held, open_path, paint, voxels
from tests.gui.test_projects import names

TIMES = 7


@pytest.fixture
def film(tmp_path):
    """A NIfTI file of seven time points; time point n holds the values 100 n to 100 n + 5."""
    values = np.empty((6, 5, 4, TIMES), np.int16)
    for time in range(TIMES):
        values[..., time] = 100 * time + np.arange(6)[:, None, None]
    path = tmp_path / "perf.nii.gz"
    nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(path)
    return path


def time_of(window) -> int:
    """By the values of what is shown."""
    return int(window.document.case.scan.array.max()) // 100


def open_at(window, idle, path, time: int) -> None:
    window.commands["case.open"].trigger(path=path)
    idle(window)
    window.notice_bar.choose(f"Time point {time}")
    idle(window)


def go(window, idle, command: str, **arguments: object) -> None:
    window.commands[command].trigger(**arguments)
    idle(window)


def test_of_many_time_points_another_one_can_be_chosen(window, idle, film, monkeypatch) -> None:
    asked: list[tuple[object, ...]] = []

    def answer(_parent: object, _title: str, *rest: object) -> tuple[int, bool]:
        asked.append(rest)
        return 5, len(asked) > 1

    monkeypatch.setattr(QInputDialog, "getInt", answer)
    go(window, idle, "case.open", path=film)
    choices = [choice.text for choice in window.notice_bar.current.choices]
    assert choices == ["Time point 0", "Time point 3", "Time point 6", "Another ..."]
    window.notice_bar.choose("Another ...")
    idle(window)
    assert window.document.case is None, "the dialog was cancelled"
    go(window, idle, "case.open", path=film)
    window.notice_bar.choose("Another ...")
    idle(window)
    assert time_of(window) == 5 and names(window) == ["perf time point 5"]
    assert asked[-1] == ("Time point of perf, 0 to 6:", 0, 0, 6)
    go(window, idle, "case.time_point")
    assert asked[-1][1] == 5 and window.document.case.name == "perf time point 5"
    go(window, idle, "case.time_point", time=1)
    assert time_of(window) == 1


def test_the_keys_go_from_one_time_point_to_the_next(window, qtbot, idle, film) -> None:
    open_at(window, idle, film, 0)
    window.view.set_slice(3)
    window.view.set_window(300, 700)
    previous, following = window.commands["case.previous_time"], window.commands["case.next_time"]
    assert not previous.enabled and following.enabled
    seen = [time_of(window)]
    while following.enabled:
        qtbot.keyClick(window, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
        idle(window)
        seen.append(time_of(window))
        assert window.view.slice_index == 3 and window.view.window == (300.0, 700.0)
    assert seen == list(range(TIMES)) and names(window) == ["perf time point 6"]
    qtbot.keyClick(window, Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
    idle(window)
    assert time_of(window) == 5 and previous.enabled and not window.session.is_dirty


def test_each_time_point_has_a_mask_of_its_own(window, idle, film, tmp_path) -> None:
    open_at(window, idle, film, 3)
    window.commands["label.add"].trigger(name="Liver")
    paint(window, 1)
    go(window, idle, "case.next_time")
    assert time_of(window) == 4 and voxels(window) == 0 and window.session.is_dirty
    assert names(window) == ["perf time point 3", "perf time point 4"]
    paint(window, 0)
    paint(window, 2)
    go(window, idle, "case.next_time")
    go(window, idle, "case.previous_time")
    assert time_of(window) == 4 and voxels(window) == 2 * 30, "the row that is there is shown"
    go(window, idle, "case.previous_time")
    assert time_of(window) == 3 and voxels(window) == 30
    assert names(window) == ["perf time point 3", "perf time point 4"]
    project = tmp_path / "work.sdseg.json"
    go(window, idle, "project.save", path=project)
    go(window, idle, "project.open", path=project)
    assert time_of(window) == 3 and voxels(window) == 30
    go(window, idle, "case.next_time")
    assert time_of(window) == 4 and voxels(window) == 2 * 30 and len(names(window)) == 2
    go(window, idle, "case.open", path=film)
    assert len(names(window)) == 2, "the file is in the list already"


def test_the_mask_on_the_disk_is_named_by_its_time_point(window, idle, film) -> None:
    open_at(window, idle, film, 3)
    dialog = ExportDialog(window.document.case, film.parent, window)
    assert "perf time point 3" in str(dialog.path)


def test_a_time_point_that_is_not_waited_for_changes_nothing(window, qtbot, idle, film) -> None:
    open_at(window, idle, film, 3)
    case = window.document.case
    with held(window.loader):
        window.commands["case.next_time"].trigger()
        qtbot.keyClick(window, Qt.Key.Key_Escape)
    idle(window)
    assert window.document.case is case and time_of(window) == 3
    assert "perf time point 3" in names(window) and window.session.current == 0


def test_series_from_dicom_are_gone_through_too(window, idle, tmp_path) -> None:
    parts = [Series(distinct((4, 20, 30)), number=1)]
    parts += [Series(parts[0].pixels + np.int16(7 * n), uid=parts[0].uid, number=1,
                     study=parts[0].study) for n in (1, 2)]  # fmt: skip
    for n, part in enumerate(parts):
        part.tags = {"TemporalPositionIdentifier": n + 1}
        part.write(tmp_path / "s", [f"{n}_{k}" for k in range(4)])
    open_at(window, idle, tmp_path / "s", 0)
    paint(window, 1)
    for n in (1, 2):
        go(window, idle, "case.next_time")
        assert np.array_equal(window.document.case.scan.array, parts[n].pixels)
    assert not window.commands["case.next_time"].enabled and len(names(window)) == 2
    go(window, idle, "case.time_point", time=0)
    assert voxels(window) == 600 and len(names(window)) == 1


def test_the_window_stays_when_a_time_point_is_read_bit_by_bit(window, idle, tmp_path) -> None:
    first = Series(distinct((20, 30, 40)), number=1)  # so long that it is shown before all is read
    for n in range(2):
        part = Series(first.pixels + np.int16(n), uid=first.uid, number=1, study=first.study,
                      tags={"TemporalPositionIdentifier": n + 1})  # fmt: skip
        part.write(tmp_path / "s", [f"{n}_{k}" for k in range(20)])
    open_at(window, idle, tmp_path / "s", 0)
    window.view.set_window(-600, 100)
    go(window, idle, "case.next_time")
    assert window.document.case.scan.is_complete and window.view.window == (-600.0, 100.0)


def test_a_scan_of_one_time_has_no_others(window, idle, volume, pictures) -> None:
    for path in (volume, pictures):
        open_path(window, idle, path)
        for name in ("case.next_time", "case.previous_time", "case.time_point"):
            assert not window.commands[name].enabled
