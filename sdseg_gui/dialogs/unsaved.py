"""The question before work would be lost."""

from __future__ import annotations

from enum import Enum, auto

from PySide6.QtWidgets import QMessageBox, QWidget


class Answer(Enum):
    """What the user wants done with unsaved work."""

    SAVE = auto()
    DISCARD = auto()
    CANCEL = auto()


def ask_save(parent: QWidget) -> Answer:
    """Save, discard or stay."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Unsaved work")
    box.setText("There are masks or labels that are not saved.")
    box.setInformativeText("Save the project before it is closed?")
    buttons = QMessageBox.StandardButton
    box.setStandardButtons(buttons.Save | buttons.Discard | buttons.Cancel)
    box.setDefaultButton(buttons.Save)
    answers = {buttons.Save: Answer.SAVE, buttons.Discard: Answer.DISCARD}
    return answers.get(buttons(box.exec()), Answer.CANCEL)


def ask_unsaved(parent: QWidget, text: str, verb: str) -> Answer:
    """DISCARD if the user agrees to lose something, else CANCEL."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle(verb)
    box.setText(text)
    agree = box.addButton(verb, QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    return Answer.DISCARD if box.clickedButton() is agree else Answer.CANCEL
