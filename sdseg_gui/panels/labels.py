"""The labels of the case: active, colour, visible, locked, name."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QHBoxLayout,
    QLineEdit,
    QRadioButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.domain.labels import Label
from sdseg_gui.document import Document
from sdseg_gui.panels.parts import column, faint, heading
from sdseg_gui.theme import icon, swatch
from sdseg_gui.view_state import ViewState


class LabelsPanel(QWidget):
    """One row a label.

    Signals:
        add_asked: the user wants another label.
    """

    add_asked = Signal()

    def __init__(self, document: Document, view: ViewState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document, self._view = document, view
        self._rows: list[_LabelRow] = []
        self.icons = {name: icon(name) for name in ("eye", "hidden", "lock", "unlock")}
        self._group = QButtonGroup(self)
        layout = column(self)
        head = QHBoxLayout()
        head.addWidget(heading("Labels"), 1)
        self._add = QToolButton()
        self._add.setIcon(icon("plus"))
        self._add.setToolTip("Add a label (L)")
        self._add.setAccessibleName("Add a label")
        self._add.clicked.connect(self.add_asked)
        head.addWidget(self._add)
        layout.addLayout(head)
        self._empty = faint("None yet. Segmenting adds its own; painting adds the first one.")
        layout.addWidget(self._empty)
        self._list = QVBoxLayout()
        self._list.setSpacing(2)
        layout.addLayout(self._list)
        document.case_opened.connect(self._show_case)
        document.labels_changed.connect(self._show_labels)
        view.active_label_changed.connect(self._mark_active)
        self._show_labels()

    def _show_case(self) -> None:
        """Labels of another case: what was half typed belongs to none of them."""
        for row in self._rows:
            row.drop_typed()
        self._show_labels()

    def _show_labels(self) -> None:
        """Gives each label a row; rows are kept, for making one takes as long as showing many."""
        case = self._document.case
        labels = case.labels.labels if case is not None else ()
        for row in self._rows[len(labels) :]:
            self._list.removeWidget(row)
            self._group.removeButton(row.active)
            row.hide()
            row.deleteLater()
        del self._rows[len(labels) :]
        for row, label in zip(self._rows, labels, strict=False):
            row.show_label(label)
        for label in labels[len(self._rows) :]:
            row = _LabelRow(label, self)
            self._rows.append(row)
            self._list.addWidget(row)
            self._group.addButton(row.active)
        self._empty.setVisible(not self._rows)
        self._add.setEnabled(case is not None)
        self._mark_active(self._view.active_label)

    def _mark_active(self, label_id: int) -> None:
        self._group.setExclusive(False)  # or the last one that was marked could not be unmarked
        for row in self._rows:
            row.mark(row.label.id == label_id)
        self._group.setExclusive(True)

    def activate(self, label: Label) -> None:
        """Makes a label the one that the brush paints."""
        self._view.set_active_label(label.id)

    def change(self, label: Label, what: str, **fields: object) -> None:
        """Changes fields of a label, as an undo step."""
        case = self._document.case
        if case is not None:
            self._document.set_labels(case.labels.changed(label.id, **fields), what)


class _LabelRow(QWidget):
    """Radio button, colour, name, visible, locked."""

    def __init__(self, label: Label, panel: LabelsPanel) -> None:
        super().__init__(panel)
        self.label, self._panel = label, panel
        self.active = QRadioButton()
        self.active.setToolTip("Paint with this label")
        self.active.toggled.connect(self._activate)
        self._colour = QToolButton()
        self._colour.setIconSize(QSize(14, 14))
        self._colour.setToolTip("Change the colour")
        self._colour.clicked.connect(self._pick_colour)
        self._name = QLineEdit()
        self._name.setFrame(False)
        self._name.setToolTip("Rename")
        self._name.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._name.editingFinished.connect(self._rename)
        self._shown = _switch("Show or hide this label")
        self._shown.clicked.connect(self._toggle_visible)
        self._locked = _switch("Lock: nothing writes into it")
        self._locked.clicked.connect(self._toggle_locked)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for widget in (self.active, self._colour, self._name, self._shown, self._locked):
            row.addWidget(widget, 1 if widget is self._name else 0)
        self._render(None)

    def show_label(self, label: Label) -> None:
        """Shows another label, or the same one changed; what does not differ is left alone."""
        before, self.label = self.label, label
        if label != before:
            self._render(before)

    def drop_typed(self) -> None:
        """Takes back a name that is being typed."""
        self._name.setText(self.label.name)

    def mark(self, is_active: bool) -> None:
        """Marks the label as the one that the brush paints."""
        if self.active.isChecked() != is_active:
            self.active.setChecked(is_active)

    def _render(self, before: Label | None) -> None:
        label, icons = self.label, self._panel.icons
        if before is None or (before.id, before.name) != (label.id, label.name):
            self._name.setText(label.name)
            self.active.setAccessibleName(f"Paint with {label.name}")
        if before is None or before.colour != label.colour:
            self._colour.setIcon(swatch(label.colour))
        if before is None or before.visible != label.visible:
            self._shown.setIcon(icons["eye" if label.visible else "hidden"])
        if before is None or before.locked != label.locked:
            self._locked.setIcon(icons["lock" if label.locked else "unlock"])

    def _activate(self, on: bool) -> None:
        if on:
            self._panel.activate(self.label)

    def _rename(self) -> None:
        name = self._name.text().strip()
        if not name:
            self._name.setText(self.label.name)
        elif name != self.label.name:
            self._panel.change(self.label, f"Rename {self.label.name}", name=name)

    def _pick_colour(self) -> None:
        chosen = QColorDialog.getColor(QColor(*self.label.colour), self, "Colour of the label")
        if chosen.isValid():
            rgb = (chosen.red(), chosen.green(), chosen.blue())
            self._panel.change(self.label, f"Colour of {self.label.name}", colour=rgb)

    def _toggle_visible(self) -> None:
        self._panel.change(
            self.label, f"Show or hide {self.label.name}", visible=not self.label.visible
        )

    def _toggle_locked(self) -> None:
        self._panel.change(
            self.label, f"Lock or unlock {self.label.name}", locked=not self.label.locked
        )


def _switch(tip: str) -> QToolButton:
    button = QToolButton()
    button.setIconSize(QSize(16, 16))
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
