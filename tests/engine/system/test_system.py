"""Saving, resources, children."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UserError
from engine.system.atomic import atomic_write, atomic_write_bytes, atomic_write_text
from engine.system.children import child_command, start_child
from engine.system.device import available_memory, has_display
from engine.system.paths import user_data_dir
from engine.system.resources import resource_path


def test_content_replaces_the_old_and_nothing_else_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    atomic_write_text(file, "old")
    atomic_write_text(file, "nüw")
    assert file.read_text(encoding="utf-8") == "nüw"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.nii.gz"
    atomic_write_bytes(file, b"old")

    def write_half() -> None:
        with atomic_write(file) as draft:
            draft.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "a.bin"
    atomic_write_bytes(file, b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.bin can't be saved: No space left on device"):
        atomic_write_bytes(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.txt can't be saved"):
        atomic_write_text(tmp_path / "none" / "b.txt", "x")


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_saved_file_has_ordinary_rights(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    atomic_write_text(file, "x")
    plain = tmp_path / "b.txt"
    plain.write_text("x")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_longest_names_can_be_saved(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 240 + ".nii.gz")
    atomic_write_bytes(file, b"x")
    assert file.read_bytes() == b"x"


def test_the_draft_keeps_the_ending(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.nii.gz") as draft:
        assert draft.name.endswith(".nii.gz")
    with atomic_write(tmp_path / "a.v2.png") as draft:
        assert draft.name.endswith(".png")


def test_resources_are_found_in_a_checkout_and_a_frozen_build(tmp_path, monkeypatch) -> None:
    assert resource_path("recipes").is_dir()
    (tmp_path / "resources" / "themes").mkdir(parents=True)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert resource_path("themes") == tmp_path / "resources" / "themes"
    with pytest.raises(UserError, match="nothing/here"):
        resource_path("nothing", "here")


def test_the_user_s_folder_can_be_chosen(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SDSEG_HOME", str(tmp_path / "home"))
    assert user_data_dir() == tmp_path / "home"
    monkeypatch.delenv("SDSEG_HOME")
    assert user_data_dir() != tmp_path / "home"


def test_children_start_the_same_program(monkeypatch) -> None:
    child = start_child(["commands"], stdout=subprocess.PIPE)
    text = child.communicate(timeout=60)[0].decode()
    assert child.returncode == 0 and "segment.slice" in text
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert child_command(["commands"]) == [sys.executable, "commands"]


def test_facts_about_the_computer(monkeypatch) -> None:
    assert 0 < available_memory() < 2**50
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert has_display()
