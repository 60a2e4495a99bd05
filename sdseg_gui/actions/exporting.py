"""Exporting the mask of the open case."""

from __future__ import annotations

import copy
from pathlib import Path

from PySide6.QtCore import QStandardPaths

from engine.domain.case import Case
from engine.domain.label_map import LabelMap
from engine.errors import UserError
from engine.io import check_format, save_mask
from engine.io.kinds import file_stem
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.registry import handles, has_case
from sdseg_gui.dialogs.export import ExportDialog, Format, formats
from sdseg_gui.jobs import JobHandle

FITTING = "Looking what can be exported"


@handles("export.mask", has_case)
def export_mask(
    context: Context,
    path: str | Path = "",
    overlay: bool = False,
    form: str = "",
    deidentify: bool = False,
) -> None:
    """Writes the label map; without a path a dialog asks for format and place."""
    case = context.document.case
    assert case is not None
    target = Path(path)
    if not str(path):
        dialog = ExportDialog(case, _folder(context, case), context.window)
        _look_what_fits(context, case, dialog)
        dialog.finished.connect(dialog.deleteLater)  # or it would keep the case in memory
        if dialog.exec() != ExportDialog.DialogCode.Accepted:
            return
        target, overlay, form = dialog.path, dialog.overlay.isChecked(), dialog.form
        deidentify = dialog.deidentify.isChecked()
    frozen, use = _frozen(case), context.session.model_use
    job = context.loader.submit(
        "Exporting the mask",
        lambda _job: save_mask(
            frozen, target, overlay=overlay, model=use, form=form, deidentify=deidentify
        ),
    )
    job.done.connect(lambda files: _tell(context, files))
    job.failed.connect(lambda error: context.notifier.error(error.message, error.hint))
    context.notifier.say(f"Exporting {target.name} ...")
    context.changed()


def _look_what_fits(context: Context, case: Case, dialog: ExportDialog) -> None:
    """Tells the dialog, once it is known, what the case can't be written as.

    For DICOM the headers of all its files are read again, so it is done in the background.
    """
    job = context.loader.submit(FITTING, lambda handle: _misfits(case, handle))
    job.done.connect(dialog.refuse)
    dialog.finished.connect(job.cancel)  # it would only hold up the export


def _misfits(case: Case, job: JobHandle) -> dict[Format, str]:
    """A sentence about each format that the case can't be written as."""
    found: dict[Format, str] = {}
    for known in formats(case):
        job.check()
        try:
            check_format(case, Path(f"{file_stem(case.name)}_mask{known.ending}"), known.form)
        except UserError as error:
            found[known] = f"{error.message} {error.hint}".strip()
    return found


def _folder(context: Context, case: Case) -> Path:
    """Beside the scan; a built-in case lies inside the program, where nothing is to be written."""
    item = context.session.current_item
    if item is None or not item.sample:
        return case.source.parent
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    return Path(documents) if Path(documents).is_dir() else Path.home()


def _frozen(case: Case) -> Case:
    """The case as it is now, so that painting can go on while it is written."""
    kept = copy.copy(case)
    label_map = LabelMap(case.scan.grid.shape, case.scan.plane, case.label_map.array)
    label_map.origins.load_packed(case.label_map.origins.packed_slices())
    kept.label_map = label_map
    return kept


def _tell(context: Context, files: list[Path]) -> None:
    context.notifier.clear("error")
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    context.notifier.say(f"Exported {files[0].name}{more}")
    context.document.job_finished.emit(files)
