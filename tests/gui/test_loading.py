"""A long series is shown while it is read; nothing runs on a slice that is not there yet."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from engine.errors import Cancelled
from engine.io import begin_case, list_parts, open_case
from engine.io.dicom_child import CONTAINED
from sdseg_gui.actions.cases import show_case
from sdseg_gui.tools.base import Pointer
from tests.engine.io.phantoms import Series, sha256_of
from tests.gui.conftest import discard
from tests.gui.helpers import brush, held, notice, open_path, paint, segment, voxels

DEPTH = 48
WAITING = (
    "segment.slice", "segment.volume", "export.mask", "case.open_mask", "finetune.start",
)  # fmt: skip


def long_series(folder, depth=DEPTH, *, compressed=False, side=24, skip=(), low=0, **options):
    """A series that is shown while it is read; compressed ones take their time."""
    noise = np.random.default_rng(depth)
    pixels = noise.integers(low, 900, (depth, side, side), np.int16)
    series = Series(pixels, **options)
    series.write(folder, skip=skip)
    if compressed:
        from pydicom import dcmread
        from pydicom.uid import JPEG2000Lossless

        for path in sorted(folder.iterdir()):
            dataset = dcmread(path)
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
            dataset.save_as(path)
    return series, folder


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """(what was written, its folder): a series that takes a second or more to decode."""
    return long_series(tmp_path_factory.mktemp("slow") / "s", compressed=True, side=256)


def opened(window, qtbot, path) -> None:
    """Asks for a series and waits until it is shown, not until it is read."""
    window.commands["case.open"].trigger(path=path)
    qtbot.waitUntil(lambda: window.document.case is not None, timeout=20_000)


def test_the_middle_slice_is_there_at_once_and_the_others_follow(
    window, qtbot, idle, tmp_path
) -> None:
    series, folder = long_series(tmp_path / "s")
    before = sha256_of(folder)
    with held(window.reader):
        opened(window, qtbot, folder)
        scan = window.document.case.scan
        assert window.view.slice_index == DEPTH // 2 and window.is_busy
        there = np.flatnonzero(scan.loaded)
        assert len(there) == 2 and abs(there - DEPTH // 2).min() <= 1 and not scan.is_complete
        shown = there[abs(there - DEPTH // 2).argmin()]
        assert np.array_equal(scan.slice(shown), series.pixels[shown])
        window.view.set_slice(3)
        hatch = window.canvas.scene_view.hatch
        assert hatch.isVisible() and "still being read" in hatch.text
    idle(window)
    qtbot.waitUntil(lambda: not hatch.isVisible(), timeout=2000)
    assert window.document.case.scan is scan and scan.is_complete
    assert np.array_equal(scan.array, series.pixels) and sha256_of(folder) == before
    assert window.view.slice_index == 3


@pytest.mark.parametrize("step", [(0, 0, 2.5), (0, 0, -2.5)])
@pytest.mark.parametrize("depth", [48, 49])
def test_the_slice_that_is_shown_first_is_read_first(tmp_path, depth, step) -> None:
    _, folder = long_series(tmp_path / "s", depth, step=step)
    loaded = begin_case(folder).case.scan.loaded
    assert loaded[depth // 2] and loaded.sum() == 2


def test_nobody_but_the_loader_can_write_into_the_scan(tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    begun = begin_case(folder)
    scan = begun.case.scan
    for array in (scan.array, scan.loaded):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    begun.finish(None)
    assert scan.loaded.all()
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        scan.array.flags.writeable = True


def test_what_needs_the_whole_case_waits_for_it_and_says_why(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    said: list[str] = []
    window.notifier.status.connect(said.append)
    with held(window.reader):
        opened(window, qtbot, folder)
        for name in WAITING:
            command = window.commands[name]
            assert not command.enabled and not command.action.isEnabled()
            assert "still being read" in command.action.toolTip()
        window.commands["export.mask"].trigger(path=tmp_path / "m.nii.gz")
        window.commands["segment.slice"].trigger(model="tiny")
        assert "still being read" in said[-1] and window.context.segmentation is None
        assert not window.segment_panel.slice.isEnabled()
        assert "still being read" in window._model_note()[0]
        assert not window.engine.is_busy  # no model is measured on half a case
    idle(window)
    assert all(window.commands[name].enabled for name in WAITING)
    assert "still being read" not in window.commands["segment.slice"].action.toolTip()
    assert not (tmp_path / "m.nii.gz").exists()
    segment(window, qtbot, "segment.volume")
    assert window.document.label_map.array.any(axis=(1, 2)).sum() > DEPTH / 2


def test_a_slice_that_is_there_can_be_painted_and_one_that_is_not_cannot(
    window, qtbot, idle, tmp_path
) -> None:
    _, folder = long_series(tmp_path / "s")
    tool = brush(window)
    with held(window.reader):
        opened(window, qtbot, folder)
        there = int(np.flatnonzero(window.document.case.scan.loaded)[-1])
        for index, can in ((2, False), (there, True)):
            window.view.set_slice(index)
            tool.press(Pointer(10, 10))
            tool.release(Pointer(10, 10))
            assert bool(voxels(window)) is can
        window.document.undo()
        assert voxels(window) == 0
        window.document.redo()
    painted = voxels(window)
    idle(window)
    assert voxels(window) == painted > 0 and window.document.can_undo and window.session.is_dirty


def test_opening_another_case_ends_the_reading_and_keeps_the_work(
    window, qtbot, idle, pictures, slow
) -> None:
    series, folder = slow
    open_path(window, idle, pictures)
    window.commands["case.open"].trigger(path=folder)
    qtbot.waitUntil(lambda: window.document.case.scan.slice_count == DEPTH, timeout=20_000)
    scan = window.document.case.scan
    assert not scan.is_complete and window.reader.is_busy
    paint(window, DEPTH // 2)
    window.commands["case.previous"].trigger()
    qtbot.waitUntil(lambda: not window.reader.is_busy, timeout=1000)
    idle(window)
    assert window.document.case.name == "picture2" and not scan.is_complete
    assert window.commands["segment.slice"].enabled
    window.commands["case.next"].trigger()  # it is read anew
    idle(window)
    assert voxels(window) == 256 * 256 and window.document.case.scan is not scan
    assert np.array_equal(window.document.case.scan.array, series.pixels)


def test_the_reading_goes_on_if_the_other_case_cannot_be_opened(
    window, qtbot, idle, tmp_path
) -> None:
    series, folder = long_series(tmp_path / "s")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with held(window.reader):
        opened(window, qtbot, folder)
        window.commands["case.open"].trigger(path=bad)
        qtbot.waitUntil(lambda: "bad.png" in notice(window), timeout=20_000)
    idle(window)
    scan = window.document.case.scan
    assert scan.is_complete and np.array_equal(scan.array, series.pixels)
    assert window.commands["segment.slice"].enabled


def test_a_click_on_the_case_that_is_read_does_not_stop_it(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    with held(window.reader):
        opened(window, qtbot, folder)
        case = window.document.case
        show_case(window.context, 0)
    idle(window)
    assert window.document.case is case and case.scan.is_complete


def test_a_slice_that_cannot_be_read_closes_the_case_by_name(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    names = sorted(folder.iterdir())
    with held(window.reader):
        opened(window, qtbot, folder)
        paint(window, DEPTH // 2)
        kept = names[40].read_bytes()
        names[40].write_bytes(kept[:700])
    idle(window)
    assert window.document.case is None and names[40].name in notice(window)
    assert window.session.current == -1 and not window.commands["segment.slice"].enabled
    assert window.view.slice_count == 0 and window.context.reading is None
    assert window.session.is_dirty  # what was painted is still there to be saved
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    names[40].write_bytes(kept)
    window.commands["project.open"].trigger(path=project)
    idle(window)
    assert window.document.case.scan.is_complete and voxels(window) == 24 * 24


def test_a_damaged_compressed_slice_is_named(window, qtbot, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s", depth=20, side=64, compressed=True)
    path = sorted(folder.iterdir())[17]
    content = path.read_bytes()
    path.write_bytes(content[:-400] + bytes(400))
    window.commands["case.open"].trigger(path=folder)
    idle(window)
    assert window.document.case is None and path.name in notice(window)


def test_the_window_closes_while_a_series_is_read(qtbot, tiny_model, slow) -> None:
    from sdseg_gui.app import create_window

    _, folder = slow
    for _ in range(3):
        window = create_window(folder)
        qtbot.addWidget(window, before_close_func=discard)
        qtbot.waitUntil(lambda w=window: w.document.case is not None, timeout=20_000)
        assert not window.document.case.scan.is_complete
        started = time.perf_counter()
        assert window.shutdown(discard=True)
        assert time.perf_counter() - started < 1.0
    CONTAINED.close()


def test_a_missing_slice_is_none_that_is_waited_for(window, qtbot, idle, tmp_path) -> None:
    series, folder = long_series(tmp_path / "s", skip=(5, 30), low=10)
    with held(window.reader):
        opened(window, qtbot, folder)
        window.view.set_slice(5)
        assert "missing in its series" in window.canvas.scene_view.hatch.text
    idle(window)
    scan = window.document.case.scan
    assert scan.is_complete and set(np.flatnonzero(~scan.loaded)) == {5, 30} == scan.missing
    assert (scan.slice(5) == 10).all() and window.commands["segment.volume"].enabled
    assert np.array_equal(open_case(folder).scan.array, scan.array)


@pytest.mark.parametrize(("factor", "jumps"), [(1, False), (20, True)])
def test_the_window_does_not_jump_unless_it_was_far_off(
    window, qtbot, idle, tmp_path, factor, jumps
) -> None:
    series, folder = long_series(tmp_path / "s", depth=40)
    for n in range(40):
        if n not in (0, 19, 20):
            series.pixels[n] *= factor
    for path in folder.iterdir():
        path.unlink()
    series.write(folder)
    with held(window.reader):
        opened(window, qtbot, folder)
        before = window.view.window
    idle(window)
    assert (window.view.window != before) is jumps


def test_a_window_that_the_reader_chose_stays(window, qtbot, idle, tmp_path) -> None:
    series, folder = long_series(tmp_path / "s")
    with held(window.reader):
        opened(window, qtbot, folder)
        window.commands["view.window_preset.bone"].trigger()
    idle(window)
    assert window.view.window == (480.0, 2500.0)


def test_a_project_opens_a_series_with_its_work_while_it_is_read(
    window, qtbot, idle, tmp_path
) -> None:
    _, folder = long_series(tmp_path / "s")
    open_path(window, idle, folder)
    paint(window, 7)
    project = tmp_path / "work.sdseg.json"
    window.commands["project.save"].trigger(path=project)
    with held(window.reader):
        window.commands["project.open"].trigger(path=project)
        qtbot.waitUntil(lambda: window.document.case is not None, timeout=20_000)
        assert window.context.is_loading and voxels(window) == 24 * 24
        assert not window.session.is_dirty
    idle(window)
    assert not window.context.is_loading and not window.session.is_dirty


def test_the_loop_goes_round_while_a_series_is_read(window, qtbot, slow) -> None:
    window.commands["case.open"].trigger(path=slow[1])
    qtbot.waitUntil(lambda: window.document.case is not None, timeout=20_000)
    gaps, last = [], time.perf_counter()
    while window.reader.is_busy:
        QApplication.processEvents()
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
    assert window.document.case.scan.is_complete
    # Promise 12 allows 50 ms here and 150 ms at most; the machine may have other work.
    assert np.percentile(gaps, 95) < 0.05


def test_looking_at_the_files_of_a_folder_shows_how_far_it_is(window, idle, tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    said: list[str] = []
    window.context.under_way.changed.connect(said.append)
    window.commands["case.open"].trigger(path=folder)
    idle(window)
    assert any(text.startswith("Looking at file ") and text.endswith(" of 48") for text in said)
    assert said[-1] == "" and window.statusBar().currentMessage() == "s opened"


def test_reading_headers_can_be_stopped_too(tmp_path) -> None:
    _, folder = long_series(tmp_path / "s")
    looked_at: list[int] = []

    def check(*_: int) -> None:
        looked_at.append(1)
        if len(looked_at) == 5:
            raise Cancelled

    for act in (partial(begin_case, check=check), partial(list_parts, progress=check)):
        looked_at.clear()
        with pytest.raises(Cancelled):
            act(folder)
        assert len(looked_at) == 5
    assert begin_case(folder).case.scan.slice_count == DEPTH
