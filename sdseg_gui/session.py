"""The cases being worked on, and the project file that remembers them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QLockFile, QObject, Signal

from engine.domain.case import Case
from engine.domain.manifest import ModelUse
from engine.domain.review import ReviewState
from engine.errors import UserError
from engine.io.project import (
    CaseEntry,
    ProjectFile,
    bare_entry,
    entry_of,
    read_project,
    write_project,
)
from engine.io.selection import split_selection
from sdseg_gui.document import Document


@dataclass(eq=False)
class CaseItem:
    """One row of the case list.

    Attributes:
        path: the scan's file or folder.
        name: what the list shows.
        summary: what else is known before it is opened: size and description of a series.
        entry: the work on it as it was when the case was left; None if there is none yet.
        left: the case as it was left, until it is packed into `entry`.
        dirty: True if that work is on no disk.
        sample: "picture" or "volume" for a built-in case.
        series: of a DICOM folder with several, or "".
        model: name of the model that the user chose for it, "" for none, None for the automatic
            choice.
        model_use: which model proposed for it last, or None.
        validation: belongs to the frozen validation split, which no model learns from.
    """

    path: Path
    name: str
    entry: CaseEntry | None = None
    left: Case | None = None
    dirty: bool = False
    sample: str = ""
    series: str = ""
    summary: str = ""
    model: str | None = None
    model_use: ModelUse | None = None
    validation: bool = False


class Session(QObject):
    """Case list, current case and project.

    Signals:
        cases_changed: the list is another one.
        current_changed: another row is the current one.
        state_changed: project path or dirty state may have changed.
    """

    cases_changed = Signal()
    current_changed = Signal(int)
    state_changed = Signal()

    def __init__(self, document: Document, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.items: list[CaseItem] = []
        self.current = -1
        self.project_path: Path | None = None
        self.read_only = False
        self.model = ""
        self.times_saved = 0  # or loaded: what is on the disk may be another state
        self._list_dirty = False  # the project on disk has other cases, or another model
        self._lock: QLockFile | None = None
        document.history_changed.connect(self.state_changed)

    @property
    def current_item(self) -> CaseItem | None:
        """The row of the open case."""
        return self.items[self.current] if 0 <= self.current < len(self.items) else None

    @property
    def is_dirty(self) -> bool:
        """True if anything would be lost by closing."""
        changed = self._document.is_dirty or any(item.dirty for item in self.items)
        return changed or self._list_dirty

    def set_items(self, items: list[CaseItem]) -> None:
        """A new list of cases; the old one's work must have been dealt with before."""
        self.items = items
        self.current = -1
        self._forget_project()
        self.cases_changed.emit()
        self.state_changed.emit()

    def add_items(self, items: list[CaseItem], *, behind_current: bool = False) -> list[int]:
        """Adds cases; those that are in the list already stay as they are.

        Args:
            items: the cases.
            behind_current: puts a single one behind the case that is shown, else they come last.

        Returns:
            Where each of them is in the list.
        """
        known: dict[Path, list[int]] = {}
        for n, item in enumerate(self.items):
            known.setdefault(item.path.absolute(), []).append(n)
        places: list[int] = []
        for item in items:
            same = known.setdefault(item.path.absolute(), [])
            place = next((n for n in same if _same_series(self.items[n], item)), len(self.items))
            if place == len(self.items):
                place = self.current + 1 if behind_current else place
                same.append(place)
                self.items.insert(place, item)
                self._note_list_changed()
            places.append(place)
        self.cases_changed.emit()
        return places

    def has_work(self, item: CaseItem) -> bool:
        """True if a row holds labels, a box or a review state, saved or not."""
        case = self._document.case if item is self.current_item else item.left
        work = case or item.entry
        return work is not None and (
            len(work.labels) > 0 or work.box is not None or work.review is not ReviewState.NEW
        )

    def is_unsaved(self, item: CaseItem) -> bool:
        """True if work on a row is on no disk."""
        return item.dirty or (item is self.current_item and self._document.is_dirty)

    def remove(self, index: int) -> None:
        """Takes a row from the list, with the work on it; its file stays."""
        if index == self.current:
            self.close_case()
        del self.items[index]
        if index < self.current:
            self.current -= 1
        self._note_list_changed()
        self.cases_changed.emit()
        self.state_changed.emit()

    def keep_current(self) -> CaseItem | None:
        """Remembers the open case's work in its row, before another case is shown.

        Returns:
            The row, if there is something to pack; nothing changes the case any more.
        """
        self._document.settle()
        case, item = self._document.case, self.current_item
        if case is None or item is None or not (self._document.is_dirty or item.entry is not None):
            return None
        item.dirty = item.dirty or self._document.is_dirty
        item.left = case
        return item

    def take_packed(self, item: CaseItem, case: Case, entry: CaseEntry) -> None:
        """A case that was left has been packed, perhaps after it was shown again."""
        if item.left is case:
            item.entry, item.left = entry, None

    def show_case(self, index: int, case: Case) -> None:
        """The case of a row was opened."""
        item = self.items[index]
        item.name = case.name
        item.series = case.scan.stored.series or item.series
        item.left = None
        self.current = index
        self._document.open(case, dirty=item.dirty)
        self.current_changed.emit(index)
        self.state_changed.emit()

    def close_case(self) -> None:
        """Shows no case; the work on it was kept in its row before."""
        self.current = -1
        self._document.open(None)
        self.current_changed.emit(-1)
        self.state_changed.emit()

    def note_model_use(self, use: ModelUse) -> None:
        """Remembers which model proposed for the open case."""
        item = self.current_item
        if item is not None:
            item.model_use = use

    @property
    def model_use(self) -> ModelUse | None:
        """Which model proposed for the open case last."""
        item = self.current_item
        return item.model_use if item is not None else None

    def choose_model(self, name: str) -> None:
        """The user chose a model for the open case, and for the project; "" is none."""
        if self.current_item is not None:
            self.current_item.model = name
        self.model = name
        self._note_list_changed()
        self.state_changed.emit()

    def _note_list_changed(self) -> None:
        """Cases that were only looked at are nothing to save, as long as there is no project."""
        self._list_dirty = self.project_path is not None

    # Projects

    def save(self, path: Path) -> None:
        """Writes the project; on failure everything stays as it is, unsaved.

        Raises:
            UserError: the disk refused, or another window has the project open.
        """
        lock = None if self.read_only and path == self.project_path else self._lock_for(path)
        if lock is None:
            raise UserError(
                f"{path.name} is open in another window and is read-only here.",
                hint="Save it under another name.",
            )
        self.keep_all()
        entries = [_entry(item) for item in self.items]
        project = ProjectFile(cases=entries, current=max(self.current, 0), model=self.model)
        with ExitStack() as failed:
            if lock is not self._lock:
                failed.callback(lock.unlock)
            write_project(path, project)
            failed.pop_all()
        self._hold(lock)
        self.project_path = path
        self.read_only = False
        for item in self.items:
            item.dirty = False
        self._list_dirty = False
        self.times_saved += 1
        self._document.mark_saved()
        self.state_changed.emit()

    def keep_all(self) -> None:
        """The open case's present state goes into its row, changed or not."""
        self._document.settle()
        case, item = self._document.case, self.current_item
        if case is not None and item is not None:
            item.dirty = item.dirty or self._document.is_dirty
            item.entry = entry_of(case)

    def load(self, path: Path) -> int:
        """Reads a project.

        Returns:
            Index of the case to open, -1 if the project has none.

        Raises:
            UserError: it can't be read; the session stays as it was.
        """
        project = read_project(path)
        lock = self._lock_for(path)
        if lock is self._lock:
            self._lock = None  # it is kept while the cases change
        items = [
            CaseItem(
                Path(entry.source),
                entry.name,
                entry,
                series=entry.series,
                model=entry.model,
                model_use=entry.model_use,
                validation=entry.validation,
            )
            for entry in project.cases
        ]
        self._document.open(None)
        self.set_items(items)
        self.project_path = path
        self.read_only = lock is None
        self._lock = lock
        self.model = project.model
        self.times_saved += 1
        self.state_changed.emit()
        return min(project.current, len(items) - 1)

    def _lock_for(self, path: Path) -> QLockFile | None:
        """The lock of a project, perhaps the one we have; None if another window has it.

        Where no lock can be made, since the folder may not be written, writing will say so.
        """
        if path == self.project_path and self._lock is not None:
            return self._lock
        lock = QLockFile(str(path) + ".lock")
        lock.setStaleLockTime(0)
        taken = not lock.tryLock(100) and lock.error() is QLockFile.LockError.LockFailedError
        return None if taken else lock

    def _hold(self, lock: QLockFile) -> None:
        """Keeps a lock, and gives the one before back."""
        if self._lock is not None and self._lock is not lock:
            self._lock.unlock()
        self._lock = lock

    def _forget_project(self) -> None:
        if self._lock is not None:
            self._lock.unlock()
        self._lock = None
        self.project_path = None
        self.read_only = False
        self._list_dirty = False

    def close(self) -> None:
        """Gives the project's lock back."""
        self._forget_project()


def _same_series(one: CaseItem, other: CaseItem) -> bool:
    """Of one source; series and time point may be known, or not be chosen yet."""
    (series, time), (other_series, other_time) = map(split_selection, (one.series, other.series))
    same = not series or not other_series or series == other_series
    return same and (time is None or other_time is None or time == other_time)


def _entry(item: CaseItem) -> CaseEntry:
    """A row as it is saved."""
    if item.left is not None:  # the worker has not come to it yet
        item.entry, item.left = entry_of(item.left), None
    entry = item.entry or bare_entry(item.path, item.name, item.series)
    kept = {"model": item.model, "model_use": item.model_use, "validation": item.validation}
    return entry.model_copy(update=kept)
