"""Segmenting in the real window: along the model's axis, and never over what a person drew."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from engine.domain.box import Box
from engine.domain.label_map import Origin
from engine.models.store import list_models
from engine.system.paths import user_data_dir
from tests.engine.io.phantoms import Series
from tests.gui.helpers import PATIENCE_MS, held, notice, open_path, paint, segment, voxels
from tests.tiny_model import save_tiny


@pytest.fixture
def sagittal(tmp_path: Path) -> Path:
    """A NIfTI volume of 9 sagittal slices."""
    values = np.random.default_rng(5).integers(0, 900, (9, 40, 30)).astype(np.int16)
    path = tmp_path / "sagittal.nii.gz"
    nibabel.Nifti1Image(values, np.diag([3.0, 1.0, 1.0, 1.0])).to_filename(path)
    return path


@pytest.mark.parametrize("box", [None, Box((3, 5, 2), (28, 35, 7))])
def test_a_slice_is_cut_out_of_what_the_model_finds_along_its_own_axis(
    window, qtbot, idle, sagittal, box
) -> None:
    save_tiny(user_data_dir() / "models" / "axial", name="axial", plane="axial")
    window.context.models[:] = list_models()[0]
    said: list[str] = []
    window.notifier.status.connect(said.append)
    open_path(window, idle, sagittal)
    assert window.document.case.scan.plane == 2
    window.document.set_box(box)
    segment(window, qtbot, "segment.volume", model="axial")
    whole = window.document.label_map.array.copy()
    window.document.undo()
    window.view.set_slice(4)
    segment(window, qtbot, model="axial")
    found = window.document.label_map.array
    assert whole[:, :, 4].any() and np.array_equal(found[:, :, 4], whole[:, :, 4])
    assert not np.delete(found, 4, axis=2).any()
    assert list(window.document.case.slice_review) == [4]
    assert f"slice 4 out of {25 if box else 30} axial ones" in said[-1]
    window.document.undo()
    assert voxels(window) == 0


def test_an_opened_mask_is_kept_by_the_model(window, qtbot, idle, volume, tmp_path) -> None:
    open_path(window, idle, volume)
    window.commands["label.add"].trigger(name="disc")
    paint(window, 3)
    window.commands["export.mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    window.commands["case.open"].trigger(path=volume, discard=True)
    idle(window)
    window.commands["case.open_mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    drawn = window.document.label_map.slice(3)
    assert (window.document.label_map.origins.read(3) == Origin.HAND).all() and drawn.all()
    window.view.set_slice(3)
    segment(window, qtbot)
    assert window.document.label_map.slice(3).all() and "by hand were kept" in notice(window)


def test_opening_a_mask_is_a_step_to_undo(window, idle, volume, tmp_path) -> None:
    open_path(window, idle, volume)
    paint(window, 3)
    window.commands["label.add"].trigger(name="disc")
    window.commands["export.mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    window.document.undo()
    window.document.undo()
    paint(window, 7)
    window.commands["case.open_mask"].trigger(path=tmp_path / "mask.nii.gz", discard=True)
    idle(window)
    array = window.document.label_map.array
    assert array[3].all() and not array[7].any() and window.document.undo_name == "Open mask"
    assert window.document.case.review == "corrected"
    window.document.undo()
    array = window.document.label_map.array
    assert array[7].all() and not array[3].any() and len(window.document.case.labels) == 0
    window.document.undo()
    assert voxels(window) == 0
    window.document.redo()
    window.document.redo()
    assert window.document.label_map.array[3].all() and len(window.document.case.labels) == 1


def test_what_is_painted_while_a_mask_is_opened_is_not_replaced_unasked(
    window, idle, volume, tmp_path
) -> None:
    open_path(window, idle, volume)
    paint(window, 3)
    window.commands["export.mask"].trigger(path=tmp_path / "mask.nii.gz")
    idle(window)
    window.document.undo()
    with held(window.loader):
        window.commands["case.open_mask"].trigger(path=tmp_path / "mask.nii.gz")
        paint(window, 7)
    idle(window)
    array = window.document.label_map.array
    assert array[7].all() and not array[3].any() and "was changed" in notice(window)
    window.notice_bar.choose("Replace")
    array = window.document.label_map.array
    assert array[3].all() and not array[7].any()
    window.document.undo()
    assert window.document.label_map.array[7].all()


def test_what_was_said_of_one_case_does_not_stay_over_the_next(
    window, qtbot, idle, pictures
) -> None:
    open_path(window, idle, pictures)
    paint(window, 0)
    segment(window, qtbot)
    assert "kept" in notice(window)
    window.commands["case.next"].trigger()
    idle(window)
    assert not any("kept" in text for text in window.notice_bar.texts)


def test_a_series_with_a_gap_is_segmented_as_a_whole_only_after_a_question(
    window, qtbot, idle, tmp_path
) -> None:
    noise = np.random.default_rng(0).integers(0, 900, (6, 40, 48), np.int16)
    open_path(window, idle, Series(noise).write(tmp_path / "s", skip=(2,)))
    window.segment_panel.model_chosen.emit("tiny")
    idle(window)
    window.commands["segment.volume"].trigger()
    idle(window)
    assert "1 slice is missing in s and will stay empty." in notice(window)
    assert voxels(window) == 0
    with qtbot.waitSignal(window.document.job_finished, timeout=PATIENCE_MS):
        window.notice_bar.current.choices[0].act()
    filled = window.document.label_map.array.any(axis=(1, 2))
    assert np.flatnonzero(~filled).tolist() == [2]
