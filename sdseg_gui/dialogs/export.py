"""Where and how a mask is exported."""

from __future__ import annotations

from pathlib import Path

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
from engine.io.kinds import file_stem

NIFTI, NRRD, PNG, SEG = ".nii.gz", ".nrrd", ".png", ".dcm"


class ExportDialog(QDialog):
    """Format, place and overlay; refuses nothing, the writer does.

    Args:
        case: whose mask it is.
        folder: the place that is offered.
    """

    def __init__(self, case: Case, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export mask")
        self.setMinimumWidth(520)
        self._case = case
        self.format = QComboBox()
        self.format.addItem("NIfTI, on the scan's own grid (.nii.gz)", NIFTI)
        self.format.addItem("NRRD, with the labels' names as 3D Slicer reads them (.nrrd)", NRRD)
        one = case.scan.slice_count == 1
        self.format.addItem("PNG" if one else "PNG, a file for each slice (folder)", PNG)
        self.format.setCurrentIndex(2 if case.scan.is_picture else 0)
        if case.scan.stored.format == "dicom":
            self.format.addItem("DICOM SEG, for the archive; names the patient (.dcm)", SEG)
        self.place = QLineEdit(str(folder / self._suggestion()))
        self.overlay = QCheckBox("Also write a coloured overlay picture")
        browse = QPushButton("Browse ...")
        browse.clicked.connect(self._browse)
        self.format.currentIndexChanged.connect(self._rename)
        row = QHBoxLayout()
        row.addWidget(self.place)
        row.addWidget(browse)
        note = QLabel(
            "A manifest with the model, the seed and who set how many voxels is written beside the "
            "mask. It holds no patient data. Research use only."
        )
        note.setObjectName("Faint")
        note.setWordWrap(True)
        buttons = QDialogButtonBox()
        buttons.addButton("Export", QDialogButtonBox.ButtonRole.AcceptRole).setObjectName("Primary")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout(self)
        form.setContentsMargins(18, 18, 18, 14)
        form.setVerticalSpacing(12)
        form.addRow("Format", self.format)
        form.addRow("To", row)
        form.addRow("", self.overlay)
        form.addRow(note)
        form.addRow(buttons)

    @property
    def path(self) -> Path:
        """Where to write."""
        return Path(self.place.text())

    def _suggestion(self) -> str:
        stem = f"{file_stem(self._case.name)}_mask"
        ending = self.format.currentData()
        return stem if ending == PNG and self._case.scan.slice_count > 1 else stem + ending

    def _rename(self) -> None:
        self.place.setText(str(self.path.parent / self._suggestion()))

    def _browse(self) -> None:
        if self.format.currentData() == PNG and self._case.scan.slice_count > 1:
            chosen = QFileDialog.getExistingDirectory(self, "Export to", str(self.path.parent))
            chosen = str(Path(chosen) / self._suggestion()) if chosen else ""
        else:
            chosen = QFileDialog.getSaveFileName(self, "Export to", str(self.path))[0]
        if chosen:
            self.place.setText(chosen)
