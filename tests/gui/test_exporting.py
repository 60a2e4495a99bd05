"""Masks out by the dialog, and in: of another grid, and those that lie beside a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox

from engine.io import open_case, read_mask
from engine.io.kinds import MaskForm
from sdseg_gui.actions.exporting import FITTING
from sdseg_gui.dialogs.export import ExportDialog, formats
from tests.engine.io.phantoms import Series, distinct, plain, write_nifti
from tests.gui.helpers import held, notice, open_path, paint, voxels


def answer(monkey) -> None:
    """Lets a person act in the dialog that opens next."""

    def act() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, ExportDialog)
        monkey(dialog)
        dialog.accept()

    QTimer.singleShot(0, act)


def choose(dialog: ExportDialog, form: MaskForm) -> None:
    forms = [dialog.format.itemData(n).form for n in range(dialog.format.count())]
    dialog.format.setCurrentIndex(forms.index(form))


def test_each_kind_of_case_is_offered_what_it_can_be_written_as(tmp_path):
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    nifti = open_case(write_nifti(tmp_path / "a.nii", distinct((4, 5, 6)), np.eye(4)))
    picture, dicom = open_case(tmp_path / "eye.png"), open_case(plain().write(tmp_path / "s"))
    said = {case.name: [f.form for f in formats(case)] for case in (nifti, picture, dicom)}
    assert said["eye"][0] is MaskForm.PNG and MaskForm.LABELME in said["eye"]
    assert said["a"][0] is MaskForm.NIFTI and not {MaskForm.SEG, MaskForm.LABELME} & {*said["a"]}
    assert {MaskForm.SEG, MaskForm.RTSTRUCT, MaskForm.TABLE} <= {*said["s"]}


@pytest.mark.parametrize("form", [MaskForm.SEG, MaskForm.RTSTRUCT])
@pytest.mark.parametrize("plainly", [False, True])
def test_dicom_out_of_the_dialog(window, qtbot, idle, tmp_path, form, plainly):
    open_path(window, idle, plain().write(tmp_path / "s"))
    paint(window, 2)

    def act(dialog: ExportDialog) -> None:
        assert dialog.deidentify.isHidden() and "no patient data" in dialog._note.text()
        choose(dialog, form)
        assert not dialog.deidentify.isHidden() and "repeats the patient" in dialog._note.text()
        assert dialog.path.suffix == ".dcm"
        dialog.deidentify.setChecked(plainly)
        assert ("repeats the patient" in dialog._note.text()) is not plainly
        note = dialog._note
        assert note.height() >= note.heightForWidth(note.width()), "all of it can be read"
        dialog.place.setText(str(tmp_path / "out.dcm"))

    answer(act)
    window.commands["export.mask"].trigger()
    idle(window)
    array, _ = read_mask(tmp_path / "out.dcm", window.document.case)
    assert np.array_equal(array, window.document.label_map.array) and array.any()
    assert (b"CANARY" in (tmp_path / "out.dcm").read_bytes()) is not plainly


def press(text: str) -> None:
    """Lets a person press a button of the question that opens next, once it is there."""

    def look() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(10, look)
            return
        next(b for b in box.buttons() if b.text().replace("&", "") == text).click()

    QTimer.singleShot(10, look)


@pytest.mark.parametrize("agreed", [False, True])
def test_a_mask_that_is_there_is_replaced_only_after_a_question(window, idle, tmp_path, agreed):
    open_path(window, idle, write_nifti(tmp_path / "a.nii", distinct((8, 9, 10)), np.eye(4)))
    paint(window, 2)
    window.commands["export.mask"].trigger(path=tmp_path / "m.nii.gz")
    idle(window)
    before = (tmp_path / "m.nii.gz").read_bytes()
    window.commands["edit.undo"].trigger()

    def act(dialog: ExportDialog) -> None:
        dialog.place.setText(str(tmp_path / "m.nii.gz"))
        press("Replace" if agreed else "Cancel")
        if not agreed:
            QTimer.singleShot(200, dialog.reject)

    answer(act)
    window.commands["export.mask"].trigger()
    idle(window)
    assert ((tmp_path / "m.nii.gz").read_bytes() != before) is agreed


def test_a_typed_name_keeps_all_but_its_ending_and_gets_one(window, idle, tmp_path):
    open_path(window, idle, plain().write(tmp_path / "s"))
    paint(window, 2)

    def act(dialog: ExportDialog) -> None:
        choose(dialog, MaskForm.NIFTI)
        dialog.place.setText(str(tmp_path / "liver.v3.nii.gz"))
        choose(dialog, MaskForm.SEG)
        assert dialog.path == tmp_path / "liver.v3.dcm"
        dialog.place.setText("")
        choose(dialog, MaskForm.NIFTI)
        assert dialog.path.name == "s_mask.nii.gz"
        dialog.place.setText(str(tmp_path / "liver.v3"))

    answer(act)
    window.commands["export.mask"].trigger()
    idle(window)
    assert (tmp_path / "liver.v3.nii.gz").is_file()


def test_a_structure_set_opens_as_a_mask(window, idle, tmp_path):
    open_path(window, idle, plain().write(tmp_path / "s"))
    paint(window, 2)
    made = window.document.label_map.array.copy()
    window.commands["export.mask"].trigger(path=tmp_path / "rt.dcm", form="rtstruct")
    idle(window)
    window.commands["edit.undo"].trigger()
    assert voxels(window) == 0
    window.commands["case.open_mask"].trigger(path=tmp_path / "rt.dcm")
    idle(window)
    assert np.array_equal(window.document.label_map.array, made)


def test_a_mask_of_another_grid_is_resampled_after_a_question(window, idle, tmp_path):
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    scan = write_nifti(tmp_path / "scan.nii", distinct((8, 9, 10)), affine)
    finer = affine @ np.diag([0.5, 0.5, 0.5, 1])
    values = np.ones((16, 18, 20), np.uint8)
    values[1, 1, 1] = 7  # between two voxels of the scan
    mask = write_nifti(tmp_path / "mask.nii", values, finer)
    open_path(window, idle, scan)
    window.commands["case.open_mask"].trigger(path=mask)
    idle(window)
    assert "another grid" in notice(window) and voxels(window) == 0
    window.notice_bar.choose("Resample it by the nearest voxel")
    idle(window)
    assert voxels(window) == 8 * 9 * 10
    assert "label 7 was lost" in notice(window)
    window.commands["edit.undo"].trigger()
    assert voxels(window) == 0


def test_a_black_and_white_mask_is_one_label(window, idle, tmp_path):
    Image.fromarray(distinct((9, 12), np.uint8)).save(tmp_path / "eye.png")
    values = np.zeros((9, 12), np.uint8)
    values[2:5, 3:9] = 255
    Image.fromarray(values).save(tmp_path / "white.png")
    values[0] = 40
    Image.fromarray(values).save(tmp_path / "two.png")
    open_path(window, idle, tmp_path / "eye.png")
    for name, ids in (("white.png", [1]), ("two.png", [40, 255])):
        window.commands["case.open_mask"].trigger(path=tmp_path / name, discard=True)
        idle(window)
        assert [label.id for label in window.document.case.labels] == ids
        assert sorted(set(window.document.label_map.array.flat)) == [0, *ids]


@pytest.mark.parametrize(("button", "count"), [("Cancel", 1600), ("Replace", 800)])
def test_a_mask_from_the_bar_replaces_hand_work_only_after_a_question(
    window, idle, tmp_path, button, count
):
    half = np.arange(1600).reshape(40, 40) < 800
    Image.fromarray(distinct((40, 40), np.uint8)).save(tmp_path / "eye.png")
    Image.fromarray(half.astype(np.uint8)).save(tmp_path / "eye_mask.png")
    open_path(window, idle, tmp_path / "eye.png")
    paint(window, 0)
    press(button)
    window.notice_bar.choose("Open eye_mask.png")
    idle(window)
    assert voxels(window) == count


def test_a_mask_beside_a_picture_is_offered_and_opens(window, idle, tmp_path):
    picture, values = distinct((9, 12), np.uint8), np.zeros((9, 12), np.uint8)
    values[2:5, 3:9] = 1
    Image.fromarray(picture).save(tmp_path / "eye.png")
    Image.fromarray(picture).save(tmp_path / "plain.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks" / "eye.png")
    open_path(window, idle, tmp_path / "eye.png")
    assert "A mask lies beside eye." in window.notice_bar.texts and voxels(window) == 0
    window.notice_bar.choose("Open eye.png")
    idle(window)
    assert np.array_equal(window.document.label_map.array[0], values)
    open_path(window, idle, tmp_path / "plain.png")
    assert not any("lies beside" in text for text in window.notice_bar.texts)


def test_a_folder_that_will_be_made_is_said_while_it_is_typed(window, idle, tmp_path):
    open_path(window, idle, write_nifti(tmp_path / "a.nii", distinct((8, 9, 10)), np.eye(4)))
    paint(window, 2)

    def act(dialog: ExportDialog) -> None:
        assert not dialog._warning.isVisible()
        dialog.place.setText(str(tmp_path / "typo" / "b" / "m.nii.gz"))
        text = f"There is no folder {Path('typo', 'b')} in {tmp_path} yet. It will be made."
        assert dialog._warning.isVisible() and dialog._warning.text() == text
        assert dialog._warning.height() >= dialog._warning.heightForWidth(dialog._warning.width())
        dialog.place.setText(str(tmp_path / "m.nii.gz"))
        assert not dialog._warning.isVisible()
        choose(dialog, MaskForm.PNG)  # a folder of its own is what this format is
        assert not dialog._warning.isVisible() and dialog.path == tmp_path / "m"
        dialog.place.setText(" here ")
        assert dialog.path == tmp_path / "here", "not where the program was started"

    answer(act)
    window.commands["export.mask"].trigger()
    idle(window)
    assert len([*(tmp_path / "here").glob("*.png")]) == 10


def test_what_the_scan_can_t_be_written_as_is_said_before_export(window, qtbot, idle, tmp_path):
    whole = plain()
    (tmp_path / "s").mkdir()
    for n in range(6):
        part = Series(whole.pixels[n : n + 1], uid=whole.uid, study=whole.study,
                      origin=tuple(whole.position(n)))  # fmt: skip
        part.enhanced().save_as(tmp_path / "s" / f"{n}.dcm", enforce_file_format=True)
    open_path(window, idle, tmp_path / "s")
    paint(window, 2)

    def act(dialog: ExportDialog) -> None:
        qtbot.waitUntil(lambda: bool(dialog._refused))
        assert dialog._export.isEnabled() and not dialog._warning.isVisible()
        choose(dialog, MaskForm.SEG)
        assert not dialog._export.isEnabled()
        assert dialog._warning.text().startswith("s_mask.dcm can't be written: the images of s are")
        dialog.accept()
        assert dialog.isVisible(), "Enter does not get around it"
        choose(dialog, MaskForm.RTSTRUCT)
        assert dialog._export.isEnabled() and not dialog._warning.isVisible()

    answer(act)
    window.commands["export.mask"].trigger()
    idle(window)
    assert (tmp_path / "s_mask_rt.dcm").is_file()


def test_a_dialog_that_is_closed_keeps_neither_the_case_nor_the_worker(
    window, qtbot, idle, tmp_path
):
    open_path(window, idle, plain().write(tmp_path / "s"))
    with held(window.loader):
        QTimer.singleShot(0, lambda: QApplication.activeModalWidget().reject())
        window.commands["export.mask"].trigger()
        assert not window.loader.has(FITTING)
        qtbot.waitUntil(lambda: not window.findChildren(ExportDialog))
    idle(window)
