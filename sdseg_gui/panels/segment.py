"""The model, what it finds, the two buttons, and how far the work is."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QProgressBar, QPushButton, QWidget

from engine.models.schema import ModelInfo
from engine.models.store import ModelEntry
from sdseg_gui.panels.parts import column, faint, heading, set_warning


class SegmentPanel(QWidget):
    """Chooses the model and shows the progress; the buttons trigger commands.

    Signals:
        model_chosen: name of the model that the user picked.
        target_chosen: what that model is to find: name of a target, or "" for all its classes.
        asked: id of the command that a button stands for.
    """

    model_chosen = Signal(str)
    target_chosen = Signal(str)
    asked = Signal(str)

    def __init__(self, models: Sequence[ModelEntry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = column(self)
        layout.addWidget(heading("Model"))
        self._models = QComboBox()
        self._models.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._models.setAccessibleName("Model")
        self._entries: list[ModelEntry] | None = None
        self.set_models(models)
        self._models.activated.connect(self._picked)
        layout.addWidget(self._models)
        self._targets = QComboBox()
        self._targets.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._targets.setAccessibleName("What to find")
        self._targets.activated.connect(self._target_picked)
        self._targets.hide()
        self._shown: ModelInfo | None = None  # whose targets are listed
        layout.addWidget(self._targets)
        self._note = faint()
        layout.addWidget(self._note)
        row = QHBoxLayout()
        self.slice = QPushButton("Segment slice")
        self.slice.setObjectName("Primary")
        self.volume = QPushButton("Segment volume")
        for button, command in ((self.slice, "segment.slice"), (self.volume, "segment.volume")):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setProperty("command", command)
            button.clicked.connect(self._ask)
            row.addWidget(button)
        self.slice.setToolTip("Propose a mask for this slice (S)")
        self.volume.setToolTip("Propose a mask for every slice (Shift+S)")
        layout.addLayout(row)
        layout.addLayout(self._make_progress())
        self.show_idle()

    def _make_progress(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._bar = QProgressBar()
        self._bar.setTextVisible(True)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop; what was found stays (Esc)")
        self._cancel.setProperty("command", "segment.cancel")
        self._cancel.clicked.connect(self._ask)
        row.addWidget(self._bar, 1)
        row.addWidget(self._cancel)
        return row

    def _picked(self, index: int) -> None:
        self.model_chosen.emit(self._models.itemData(index))

    def _target_picked(self, index: int) -> None:
        self.target_chosen.emit(self._targets.itemData(index))

    def set_models(self, models: Sequence[ModelEntry]) -> None:
        """The installed models to choose from."""
        if models == self._entries:
            return
        self._entries = [*models]
        self._models.clear()
        self._models.addItem("No model", "")
        for entry in models:
            self._models.addItem(entry.title, entry.name)
            place = self._models.count() - 1
            self._models.setItemData(place, entry.info.kind, Qt.ItemDataRole.ToolTipRole)

    def _ask(self) -> None:
        self.asked.emit(self.sender().property("command"))

    def show_model(self, name: str, note: str, *, warns: bool = False) -> None:
        """Shows which model is chosen, and a word about it."""
        place = max(self._models.findData(name), 0)
        self._models.setCurrentIndex(place)
        title = self._models.currentText()  # a long one is cut in the box
        self._models.setToolTip(f"The model that proposes masks: {title}")
        self._note.setText(note)
        set_warning(self._note, warns)

    def show_targets(self, info: ModelInfo | None, chosen: str) -> None:
        """What the chosen model can be asked for; there is a choice only with several classes.

        Args:
            info: of the chosen model, or None for none.
            chosen: name of a target, or "" for all classes.
        """
        if info != self._shown:
            self._shown = info
            self._targets.clear()
            for text, name, parts in _rows(info) if info else ():
                self._targets.addItem(text, name)
                place = self._targets.count() - 1
                self._targets.setItemData(place, parts, Qt.ItemDataRole.ToolTipRole)
            self._targets.setVisible(self._targets.count() > 0)
        place = max(self._targets.findData(chosen), 0)
        self._targets.setCurrentIndex(place)
        parts = self._targets.itemData(place, Qt.ItemDataRole.ToolTipRole)
        self._targets.setToolTip(f"What to find: {parts}")

    def show_progress(self, done: int, total: int) -> None:
        """Slices done of all; a total of 0 means that it is getting ready."""
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._bar.setFormat(f"{done} of {total}" if total else "")
        self._bar.show()
        self._cancel.show()

    def show_idle(self) -> None:
        """Nothing runs."""
        self._bar.hide()
        self._cancel.hide()


def _rows(info: ModelInfo) -> list[tuple[str, str, str]]:
    """What a model of several classes can be asked for: text, target, names of the classes."""
    if len(info.classes) == 1:
        return []
    rows = [("All classes", "", info.class_ids)]
    rows += [(target.name, target.name, target.class_ids) for target in info.targets]
    return [
        (text, name, ", ".join(info.classes.get(n, str(n)) for n in ids))
        for text, name, ids in rows
    ]
