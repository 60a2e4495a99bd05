"""A folder with several DICOM series in the window: a row each, with a picture; one is shown."""

from __future__ import annotations

import numpy as np
from PIL import Image
from pydicom.uid import generate_uid

from tests.engine.io.phantoms import Series, distinct, plain, sha256_of, two_segments
from tests.gui.helpers import notice, open_path, paint, voxels
from tests.gui.test_projects import drop


def write_study(folder):
    """A scout, a short and a long series, in this order."""
    study, noise = generate_uid(), np.random.default_rng(0)
    scout = Series(noise.integers(0, 900, (1, 20, 30), np.int16), number=1, study=study)
    scout.tags = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    short = Series(noise.integers(0, 900, (3, 20, 30), np.int16), number=2, study=study)
    long = Series(noise.integers(0, 900, (7, 20, 30), np.int16), number=3, study=study)
    long.tags = {"SeriesDescription": "Arterial phase"}
    for letter, series in zip("abc", (scout, short, long), strict=True):
        series.write(folder, [f"{letter}{n}" for n in range(len(series.pixels))])
    return folder


def rows(window):
    shown = window.cases_panel._list
    return [shown.item(n) for n in range(shown.count())]


def test_the_likeliest_series_is_shown_and_all_are_listed(window, qtbot, idle, tmp_path) -> None:
    folder = write_study(tmp_path / "study")
    before = sha256_of(folder)
    open_path(window, idle, folder)
    assert window.document.case.name == "CT series 3"
    assert window.document.case.scan.slice_count == 7
    texts = [row.text() for row in rows(window)]
    assert texts[0] == "CT series 1\n1 image, CT"
    assert texts[1] == "CT series 2\n3 slices, 5 mm every 2.5 mm, CT"
    assert texts[2] == "CT series 3\nArterial phase\n7 slices, 5 mm every 2.5 mm, CT"
    assert rows(window)[2].toolTip() == f"{texts[2]}\n30 x 20 pixels"
    assert window.session.current == 2

    def pictures():
        return [row.icon().pixmap(48).toImage() for row in rows(window)]

    def all_differ():
        first, second, third = pictures()
        assert first != second and second != third and third != first

    qtbot.waitUntil(all_differ)  # read in the background, each series its own
    assert sha256_of(folder) == before


def test_of_several_folders_the_first_one_has_the_series_that_is_shown(window, idle, tmp_path):
    for number, depth in ((8, 7), (9, 3)):
        plain(depth, number=number).write(tmp_path / "a", [f"{number}_{n}" for n in range(depth)])
    drop(window, tmp_path / "a", write_study(tmp_path / "c"))
    idle(window)
    assert window.session.current == 0 and window.document.case.scan.slice_count == 7


def test_each_series_keeps_its_work_and_a_project_finds_it_again(window, idle, tmp_path) -> None:
    folder = write_study(tmp_path / "study")
    open_path(window, idle, folder)
    paint(window, 2)
    assert rows(window)[2].text().splitlines()[2].startswith("corrected · 7 slices")
    window.commands["case.previous"].trigger()
    idle(window)
    assert window.document.case.scan.slice_count == 3 and voxels(window) == 0
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert window.document.case.name == "CT series 2"
    window.commands["case.next"].trigger()
    idle(window)
    assert window.document.case.scan.slice_count == 7 and voxels(window) == 20 * 30


def test_a_folder_that_is_opened_again_adds_no_rows(window, idle, tmp_path) -> None:
    folder = write_study(tmp_path / "study")
    open_path(window, idle, folder)
    open_path(window, idle, folder)
    assert len(window.session.items) == 3 and window.session.current == 2


def test_time_points_are_asked_for_in_a_bar(window, idle, tmp_path) -> None:
    first = Series(distinct((4, 20, 30)))
    later = Series(first.pixels + np.int16(7), uid=first.uid, study=first.study)
    first.tags, later.tags = ({"AcquisitionNumber": n} for n in (1, 2))
    first.write(tmp_path / "s", [f"a{n}" for n in range(4)])
    later.write(tmp_path / "s", [f"b{n}" for n in range(4)])
    window.commands["case.open"].trigger(path=tmp_path / "s")
    idle(window)
    assert window.document.case is None and "2 images at each place" in notice(window)
    choices = window.notice_bar.current.choices
    assert [choice.text for choice in choices] == ["Time point 0", "Time point 1"]
    choices[1].act()
    idle(window)
    assert np.array_equal(window.document.case.scan.array, later.pixels)
    assert window.session.items[0].series.endswith("#1")


def test_overlapping_segments_of_a_dicom_seg_are_asked_about(window, idle, tmp_path) -> None:
    empty = ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime")
    tags = dict.fromkeys((*empty, "StudyID", "ReferringPhysicianName"), "")
    open_path(window, idle, plain(tags=tags).write(tmp_path / "s"))
    first, second = np.zeros((2, 6, 5, 6), np.uint8)
    first[1:4, 1:4, 1:4] = second[2:5, 2:5, 2:5] = 1
    case = window.document.case
    path = two_segments(tmp_path / "o.dcm", case, "BINARY", first, second)
    window.commands["case.open_mask"].trigger(path=path)
    idle(window)
    assert "overlap: s1 and s2 in 8 voxels" in notice(window) and voxels(window) == 0
    window.notice_bar.choose("S2 gets them")
    idle(window)
    array = window.document.label_map.array
    assert (array[2:4, 2:4, 2:4] == 2).all() and (array == 1).any()
    window.commands["edit.undo"].trigger()
    assert voxels(window) == 0


def test_all_that_is_odd_about_a_series_is_said(window, idle, tmp_path) -> None:
    folder = plain(8, step=(0, 0.5, 2.5)).write(tmp_path / "s", skip=(3, 4))
    (folder / "again.dcm").write_bytes((folder / "IM0000.dcm").read_bytes())
    (folder / "note.txt").write_text("x")
    open_path(window, idle, folder)
    said = " ".join(window.notice_bar.texts)
    for text in ("2 slices are missing", "gantry was tilted", "came twice", "left out"):
        assert text in said


def test_the_next_case_is_the_one_behind_a_damaged_one(window, idle, tmp_path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no picture")
    open_path(window, idle, tmp_path)
    for command, name in (("case.next", "a"), ("case.next", "c"), ("case.previous", "c")):
        window.commands[command].trigger()
        idle(window)
        assert window.document.case.name == name
    window.commands["case.previous"].trigger()
    idle(window)
    assert window.document.case.name == "a" and not window.commands["case.previous"].enabled
