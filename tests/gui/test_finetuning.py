"""Fine-tuning in the real window: a real child process, a real (tiny) model, real project files."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psutil
import pytest

from engine.io.project import read_project
from engine.models.schema import Lineage
from engine.models.store import list_models, read_entry, verify
from engine.system.paths import user_data_dir
from engine.training.plan import plan
from tests.engine.training.projects import picture_project
from tests.gui.helpers import held, notice, paint, segment, voxels
from tests.tiny_model import save_tiny

pytestmark = pytest.mark.timeout(400)  # a child that stands back waits where others work
PATIENCE_MS = 120_000
SECONDS = 1 / 60  # of a minute


@pytest.fixture
def learnt(window, idle, qtbot, tmp_path) -> Callable[..., Path]:
    """Opens a project of approved pictures with the tiny model, and waits for its cases."""

    def make(*names: str) -> Path:
        project = picture_project(tmp_path, names or ("a", "b", "c"))
        window.commands["project.open"].trigger(path=project)
        idle(window)
        window.segment_panel.model_chosen.emit("tiny")
        window.commands["project.save"].trigger()
        qtbot.waitUntil(lambda: not window.training.is_busy, timeout=PATIENCE_MS)
        return project

    return make


def children() -> list[psutil.Process]:
    own = psutil.Process().children(recursive=True)
    return [child for child in own if "finetune" in words(child)]


def words(process: psutil.Process) -> list[str]:
    """Its command line; empty where it ends while it is asked."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def until_it_learns(window, qtbot) -> None:
    news = lambda: window.context.finetune.news  # noqa: E731
    qtbot.waitUntil(lambda: news() is not None and news().step > 0, timeout=PATIENCE_MS)


def until_it_ends(window, qtbot) -> None:
    qtbot.waitUntil(lambda: not window.context.finetune.is_running, timeout=PATIENCE_MS)


def names() -> list[str]:
    return [entry.name for entry in list_models()[0] if not entry.built_in]


def test_a_new_model_comes_into_the_list_and_the_old_one_stays(window, qtbot, learnt) -> None:
    project = learnt()
    before = read_entry(user_data_dir() / "models" / "tiny")
    panel = window.finetune_panel
    assert panel.cases.text() == "2 cases to learn from, 1 to check with."
    window.commands["finetune.start"].trigger(minutes=3 * SECONDS)
    assert not window.commands["finetune.start"].enabled
    assert window.commands["finetune.cancel"].enabled and panel.cancel.isVisible()
    until_it_learns(window, qtbot)
    assert panel.curves.isVisible() and "left" in panel.bar.format()
    until_it_ends(window, qtbot)
    new = f"tiny-finetuned-{date.today().isoformat()}"
    assert names() == ["tiny", new]
    entry = next(e for e in window.context.models if e.name == new)
    assert entry.info.lineage.parent_sha256 == before.sha256 and verify(entry) == []
    assert read_entry(before.folder) == before and verify(before) == []
    text = notice(window)
    first, second = entry.info.scores.values()
    assert entry.title in text and f"{first:.3f}" in text and f"before {second:.3f}" in text
    assert sum(case.validation for case in read_project(project).cases) == 1
    assert not plan(project, before.info).is_new
    assert not any((user_data_dir() / "training").iterdir()) and not children()
    window.notice_bar.choose("Use it")
    assert window.context.chosen_model == new
    assert window.segment_panel._models.currentText() == entry.title


def test_cancel_leaves_nothing(window, qtbot, learnt) -> None:
    learnt()
    window.commands["finetune.start"].trigger(minutes=60)
    until_it_learns(window, qtbot)
    segment(window, qtbot)
    assert window.context.finetune.is_running and voxels(window) > 0
    assert children(), "the window works while the child learns"
    started = time.monotonic()
    window.commands["finetune.cancel"].trigger()
    until_it_ends(window, qtbot)
    assert time.monotonic() - started < 10 and not children()
    assert names() == ["tiny"] and not any((user_data_dir() / "training").iterdir())
    assert window.commands["finetune.start"].enabled and not window.finetune_panel.bar.isVisible()


def test_what_was_done_before_a_cancel_arrives_is_not_denied(window, qtbot, learnt) -> None:
    learnt()
    said: list[str] = []
    window.notifier.status.connect(said.append)
    base = read_entry(user_data_dir() / "models" / "tiny")
    with held(window.training):
        window.commands["finetune.start"].trigger()
        lineage = Lineage(parent_sha256=base.sha256)
        save_tiny(user_data_dir() / "models" / "new", 2, name="new", title="New", lineage=lineage)
        window.commands["finetune.cancel"].trigger()
    until_it_ends(window, qtbot)
    assert said[-1] == "It was done already: New is in the list."


def test_a_child_that_dies_is_reported_in_a_sentence(window, qtbot, learnt) -> None:
    learnt()
    window.commands["finetune.start"].trigger(minutes=60)
    until_it_learns(window, qtbot)
    for child in children():
        child.kill()
    until_it_ends(window, qtbot)
    assert "The fine-tuning ended early" in notice(window) and names() == ["tiny"]


def test_too_few_cases_are_refused_with_what_is_missing(window, qtbot, learnt) -> None:
    learnt("alone")
    panel = window.finetune_panel
    assert "Two cases" in panel.cases.text() and panel.cases.objectName() == "Warning"
    window.commands["finetune.start"].trigger()
    until_it_ends(window, qtbot)
    assert "only alone can be used" in notice(window) and not children()


def test_a_project_is_saved_first_if_the_user_agrees(window, qtbot, learnt, monkeypatch) -> None:
    project = learnt()
    window.document.undo()
    paint(window, 0)
    saved = project.read_bytes()
    window.commands["finetune.start"].trigger(minutes=3 * SECONDS)
    assert not window.context.finetune.is_running and project.read_bytes() == saved
    assert "saved project" in notice(window)
    window.notice_bar.choose("Save and start")
    assert window.context.finetune.is_running and not window.session.is_dirty
    window.commands["finetune.cancel"].trigger()
    until_it_ends(window, qtbot)


def test_closing_the_window_stops_the_child(window, qtbot, learnt) -> None:
    learnt()
    window.commands["finetune.start"].trigger(minutes=60)
    until_it_learns(window, qtbot)
    (child,) = children()
    assert window.shutdown(discard=True)
    assert not child.is_running() and names() == ["tiny"]
