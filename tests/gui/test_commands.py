"""The command table: complete, bound, without clashes."""

from __future__ import annotations

from collections import Counter

from PySide6.QtGui import QKeySequence

from engine.system.resources import resource_path
from sdseg_gui.actions.all import BINDINGS
from sdseg_gui.commands import BY_ID, COMMANDS, MENUS
from sdseg_gui.menus import TOOLBAR

PROMISED = [
    "case.open",
    "case.next",
    "case.previous",
    "project.open",
    "project.save",
    "segment.slice",
    "segment.volume",
    "segment.cancel",
    "edit.undo",
    "edit.redo",
    "tool.brush",
    "tool.eraser",
    "view.next_slice",
    "view.previous_slice",
    "view.toggle_overlay",
    "view.window_preset.soft_tissue",
    "view.window_preset.lung",
    "view.window_preset.liver",
    "view.window_preset.bone",
    "view.window_preset.brain",
    "export.mask",
    "finetune.start",
    "finetune.cancel",
]


def test_every_promised_id_is_there() -> None:
    assert set(PROMISED) <= set(BY_ID)


def test_every_command_is_bound_exactly_once() -> None:
    assert set(BINDINGS) == set(BY_ID) and len(BY_ID) == len(COMMANDS)


def test_every_command_can_be_found_and_explains_itself() -> None:
    for command in COMMANDS:
        assert command.menu in MENUS and command.tip and "&" in command.title, command.id
        if command.icon:
            assert resource_path("icons", f"{command.icon}.svg").exists()
    assert all(name in BY_ID for group in TOOLBAR for name in group)


def test_no_key_means_two_things() -> None:
    keys = Counter(QKeySequence(key).toString() for c in COMMANDS for key in c.keys)
    assert "" not in keys
    assert [key for key, count in keys.items() if count > 1] == []


def test_mnemonics_of_a_menu_differ() -> None:
    for menu in MENUS:
        letters = [c.title[c.title.index("&") + 1].lower() for c in COMMANDS if c.menu == menu]
        assert [x for x, n in Counter(letters).items() if n > 1] == [], menu
