"""The rows of the labels: kept while labels change, so that focus and typing are kept too."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QToolButton

from engine.domain.labels import LabelList
from tests.gui.helpers import open_path


def rows(window):
    return window.labels_panel._rows


def names(window) -> list[str]:
    return [row.findChild(QLineEdit).text() for row in rows(window)]


def give(window, *texts: str) -> LabelList:
    labels = LabelList()
    for text in texts:
        labels = labels.added(text)
    window.document.set_labels(labels, "Labels")
    return labels


def button(row, tip: str) -> QToolButton:
    return next(b for b in row.findChildren(QToolButton) if b.toolTip().startswith(tip))


def pictured(button: QToolButton) -> bytes:
    return bytes(button.icon().pixmap(20).toImage().constBits())


def test_a_row_stays_the_same_widget_whatever_changes_about_its_label(window, idle, pictures):
    open_path(window, idle, pictures)
    labels = give(window, "liver", "tumour", "vessel")
    before = list(rows(window))
    second = before[1]
    looks = [pictured(button(second, tip)) for tip in ("Change", "Show", "Lock")]
    changed = labels.changed(2, name="node", colour=(1, 2, 3), visible=False, locked=True)
    window.document.set_labels(changed, "Change")
    assert rows(window) == before and names(window) == ["liver", "node", "vessel"]
    assert second.active.accessibleName() == "Paint with node"
    now = [pictured(button(second, tip)) for tip in ("Change", "Show", "Lock")]
    assert all(a != b for a, b in zip(looks, now, strict=True))
    window.commands["edit.undo"].trigger()
    assert rows(window) == before and names(window) == ["liver", "tumour", "vessel"]
    assert [pictured(button(second, tip)) for tip in ("Change", "Show", "Lock")] == looks
    button(second, "Lock").click()
    assert window.document.case.labels.locked_ids == {2}


def test_typing_and_focus_outlast_a_change_of_other_labels(window, qtbot, idle, pictures):
    open_path(window, idle, pictures)
    labels = give(window, "liver", "tumour")
    field = rows(window)[1].findChild(QLineEdit)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "les")
    window.document.set_labels(labels.changed(1, visible=False).added("new"), "Change")
    qtbot.keyClicks(field, "ion")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert [label.name for label in window.document.case.labels] == ["liver", "lesion", "new"]


def test_rows_come_and_go_with_labels_and_the_active_one_is_marked(window, idle, pictures):
    open_path(window, idle, pictures)
    labels = give(window, "a", "b", "c", "d")
    window.view.set_active_label(3)
    window.document.set_labels(labels.removed(2), "Remove")
    assert names(window) == ["a", "c", "d"]
    assert [row.active.isChecked() for row in rows(window)] == [False, True, False]
    rows(window)[2].active.click()
    assert window.view.active_label == 4
    assert [row.active.isChecked() for row in rows(window)] == [False, False, True]
    window.view.set_active_label(0)
    assert not any(row.active.isChecked() for row in rows(window))


def test_a_name_half_typed_is_not_given_to_a_label_of_the_next_case(window, qtbot, idle, pictures):
    open_path(window, idle, pictures)
    give(window, "liver")
    window.commands["case.next"].trigger()
    idle(window)
    give(window, "liver")
    window.commands["case.previous"].trigger()
    idle(window)
    field = rows(window)[0].findChild(QLineEdit)
    field.setFocus()
    field.selectAll()
    field.insert("half")
    window.commands["case.next"].trigger()
    idle(window)
    assert names(window) == ["liver"]
    field.editingFinished.emit()
    assert window.document.case.labels.labels[0].name == "liver"
