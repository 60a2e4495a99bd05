"""Where and how a mask is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from engine.domain.case import Case
from engine.io.kinds import MASK_ENDINGS, MaskForm, file_stem, kind_by_name, stem_of, suffix_of
from sdseg_gui.dialogs.unsaved import Answer, ask_unsaved

_NAMES_NOBODY = "It holds no patient data."
_NAMES_PATIENT = (
    "The DICOM file repeats the patient, the study and the frame of reference of the scan, or an "
    "archive could not file it. The manifest holds no patient data."
)


@dataclass(frozen=True)
class Format:
    """A line of the format list: what it says, and what it stands for."""

    text: str
    form: MaskForm
    ending: str  # of a file; a folder of PNGs has none


def formats(case: Case) -> list[Format]:
    """What a case's mask can be exported as, the likeliest first."""
    png = "PNG" if case.scan.slice_count == 1 else "PNG, a file for each slice (folder)"
    found = [
        Format("NIfTI, on the scan's own grid (.nii.gz)", MaskForm.NIFTI, ".nii.gz"),
        Format("NRRD, with names as 3D Slicer reads them (.nrrd)", MaskForm.ITK, ".nrrd"),
        Format("MetaImage (.mha)", MaskForm.ITK, ".mha"),
        Format("Table of areas and volumes (.csv)", MaskForm.TABLE, ".csv"),
    ]
    pictures = Format(png, MaskForm.PNG, ".png" if case.scan.slice_count == 1 else "")
    if case.scan.is_picture:
        return [pictures, Format("Polygons for labelme (.json)", MaskForm.LABELME, ".json"), *found]
    if case.scan.stored.format == "dicom":
        found[1:1] = [
            Format("DICOM SEG, for the archive (.dcm)", MaskForm.SEG, ".dcm"),
            Format("RT structure set, for planning (.dcm)", MaskForm.RTSTRUCT, ".dcm"),
        ]
    return [found[0], pictures, *found[1:]]


def _words(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    return label


def _new_folders(path: Path) -> str:
    """A sentence about the folders that will be made for a file or folder of this name, or ""."""
    missing = [folder for folder in path.parents if not folder.exists()]
    if not missing:
        return ""
    above = missing[-1].parent
    return f"There is no folder {missing[0].relative_to(above)} in {above} yet. It will be made."


class ExportDialog(QDialog):
    """Format, place and overlay; asks before a mask is replaced, says which folders will be made.

    Args:
        case: whose mask it is.
        folder: the place that is offered; names without a folder are meant to be in it.
    """

    def __init__(self, case: Case, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export mask")
        self.setMinimumWidth(520)
        self._case, self._folder = case, folder
        self._refused: dict[Format, str] = {}
        self.format = QComboBox()
        for known in formats(case):
            self.format.addItem(known.text, known)
        self._suggested = self._suggestion()
        self._agreed = ""  # what the system's own dialog has asked about
        self.place = QLineEdit(str(folder / self._suggested))
        self.overlay = QCheckBox("Also write a coloured overlay picture")
        self.deidentify = QCheckBox("Leave the patient and the study out")
        self.deidentify.setToolTip("Their attributes stay empty, and the UIDs are replaced.")
        self._note, self._warning = _words("Faint"), _words("Warning")
        self.format.currentIndexChanged.connect(self._chosen)
        self.deidentify.toggled.connect(self._tell)
        self.place.textChanged.connect(self._tell)
        self._lay_out()
        self._tell()

    def _lay_out(self) -> None:
        browse = QPushButton("Browse ...")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.place)
        row.addWidget(browse)
        buttons = QDialogButtonBox()
        self._export = buttons.addButton("Export", QDialogButtonBox.ButtonRole.AcceptRole)
        self._export.setObjectName("Primary")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout(self)
        form.setContentsMargins(18, 18, 18, 14)
        form.setVerticalSpacing(12)
        form.addRow("Format", self.format)
        form.addRow("To", row)
        form.addRow("", self.overlay)
        form.addRow("", self.deidentify)
        form.addRow(self._warning)
        form.addRow(self._note)
        form.addRow(buttons)

    @property
    def path(self) -> Path:
        """Where to write."""
        return self._folder / Path(self.place.text().strip())

    @property
    def form(self) -> MaskForm:
        """What to write."""
        return self._format.form

    @property
    def _format(self) -> Format:
        chosen: Format = self.format.currentData()
        return chosen

    def _suggestion(self) -> str:
        stem = f"{file_stem(self._case.name)}_mask"
        return (f"{stem}_rt" if self.form is MaskForm.RTSTRUCT else stem) + self._format.ending

    def _is_folder(self) -> bool:
        return self.form is MaskForm.PNG and self._case.scan.slice_count > 1

    def _chosen(self) -> None:
        """Another format: a name that was typed keeps all but its ending."""
        is_own = Path(self.place.text().strip()).name in ("", self._suggested)
        folder = self.path.parent if self.place.text().strip() else self._folder
        self._suggested = self._suggestion()
        typed = stem_of(self.path) + self._format.ending
        self.place.setText(str(folder / (self._suggested if is_own else typed)))
        self._tell()

    def accept(self) -> None:
        """Adds an ending that was forgotten, and asks before a mask that is there is replaced."""
        if not self._export.isEnabled():
            return
        ending = self._format.ending
        is_known = suffix_of(self.path) in MASK_ENDINGS or kind_by_name(self.path) is not None
        if ending and not is_known:
            self.place.setText(self.place.text().strip() + ending)
        text = f"{self.path.name} is there already. The mask in it will be replaced."
        if (
            self.path.is_file()
            and self.place.text() != self._agreed
            and ask_unsaved(self, text, "Replace") is not Answer.DISCARD
        ):
            return
        super().accept()

    def refuse(self, reasons: dict[Format, str]) -> None:
        """Takes away what the case can't be written as; chosen, it says why.

        Args:
            reasons: a sentence a format.
        """
        self._refused = reasons
        self._tell()

    def _tell(self) -> None:
        """Says what stands in the way or will be made, and who is named in what is written."""
        reason, is_named = self._refused.get(self._format, ""), bool(self.place.text().strip())
        self._export.setEnabled(is_named and not reason)
        self._warning.setText(reason or (_new_folders(self.path) if is_named else ""))
        self._warning.setVisible(bool(self._warning.text()))
        names = self.form in (MaskForm.SEG, MaskForm.RTSTRUCT)
        self.deidentify.setVisible(names)
        patient = names and not self.deidentify.isChecked()
        self._note.setText(
            "A manifest with the model, the seed and who set how many voxels is written beside the "
            f"mask. {_NAMES_PATIENT if patient else _NAMES_NOBODY} Research use only."
        )
        self._fit()

    def _fit(self) -> None:
        """As high as the note needs at this width; a dialog does not see to it by itself."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            self.resize(self.width(), layout.totalHeightForWidth(self.width()))

    def showEvent(self, event: QShowEvent) -> None:
        """The fonts are known by now."""
        super().showEvent(event)
        self._fit()

    def _browse(self) -> None:
        if self._is_folder():
            chosen = QFileDialog.getExistingDirectory(self, "Export to", str(self.path.parent))
            chosen = str(Path(chosen) / self._suggestion()) if chosen else ""
        else:
            chosen = QFileDialog.getSaveFileName(self, "Export to", str(self.path))[0]
            self._agreed = chosen
        if chosen:
            self.place.setText(chosen)
