"""Owns the open case and its history, and says what changed."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from engine.domain.box import Box, full_box
from engine.domain.case import Case
from engine.domain.label_map import Edit, LabelMap, Origin
from engine.domain.labels import LabelList
from engine.domain.review import ReviewState
from sdseg_gui.history import Change, History, Step


@dataclass(frozen=True)
class _LabelsChange:
    """The label list before and after."""

    old: LabelList
    new: LabelList
    nbytes: int = 500


@dataclass(frozen=True)
class _MapChange:
    """The whole label map before and after: a mask was opened."""

    old: LabelMap
    new: LabelMap

    @property
    def nbytes(self) -> int:
        """Memory of the one that is not shown."""
        return self.old.array.nbytes


@dataclass(frozen=True)
class _BoxChange:
    """The region of interest before and after."""

    old: Box | None
    new: Box | None
    nbytes: int = 200


@dataclass(frozen=True)
class _ReviewChange:
    """Review states before and after; rides along with the change that caused it."""

    old: tuple[ReviewState, dict[int, ReviewState]]
    new: tuple[ReviewState, dict[int, ReviewState]]
    nbytes: int = 500


class Document(QObject):
    """The open case; every change of its label map, labels and box goes through here."""

    case_opened = Signal()
    painted = Signal(object)  # Box of the voxels that may have changed
    labels_changed = Signal()
    box_changed = Signal()
    review_changed = Signal()
    history_changed = Signal()
    undoing = Signal()  # a step is about to be taken back; whoever has one open should let go
    step_ended = Signal()
    job_finished = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._case: Case | None = None
        self._history = History()
        self._step: Step | None = None
        self._revision = 0
        self._review_before: tuple[ReviewState, dict[int, ReviewState]] | None = None

    @property
    def case(self) -> Case | None:
        """The open case, or None."""
        return self._case

    @property
    def label_map(self) -> LabelMap | None:
        """The open case's label map, or None."""
        return self._case.label_map if self._case else None

    def open(self, case: Case | None, *, dirty: bool = False) -> None:
        """Shows another case, with an empty history.

        Args:
            case: None closes.
            dirty: True if the case holds work that is on no disk.
        """
        self.settle()
        self._case = case
        self._history = History()
        if dirty:
            self._history.mark_unsaved()
        self.case_opened.emit()
        self.history_changed.emit()

    def replace_label_map(self, label_map: LabelMap, labels: LabelList, name: str) -> None:
        """Takes over a whole label map with its labels, as an undo step.

        Args:
            label_map: of the scan's shape; the document owns it from now on.
            labels: what its values mean.
            name: of the step.
        """
        assert self._case is not None
        step = self.begin_step(name)
        old = self._case.label_map
        self.set_labels(labels, name)
        self._make(_MapChange(old, label_map))
        for index in {*old.origins.touched, *label_map.origins.touched}:
            self._case.slice_review[index] = ReviewState.CORRECTED
        self._case.review = ReviewState.CORRECTED
        self.end_step(step)

    # Steps. Whoever begins one holds on to it, and can so tell whether it is still the open one.

    def begin_step(self, name: str) -> Step:
        """Starts an undo step; what follows until `end_step` is taken back together."""
        self.settle()
        self._step = Step(name)
        self._review_before = self._review_state()
        return self._step

    @property
    def revision(self) -> int:
        """Grows with every change, also with those that undo and redo make."""
        return self._revision

    @property
    def step(self) -> Step | None:
        """The open step."""
        return self._step

    def add(self, edit: Edit | None) -> None:
        """Applies an edit inside the current step; None is ignored."""
        if edit is None or self._case is None:
            return
        if self._step is None:  # something else closed the step that this belongs to
            self.begin_step("Edit")
        self._note_review(edit)
        self._make(edit)

    def end_step(self, step: Step | None = None) -> None:
        """Closes the current step; one without changes leaves no trace.

        Args:
            step: closes this one only, and none that somebody else has begun since.
        """
        if self._step is None or (step is not None and step is not self._step):
            return
        step, self._step = self._step, None
        if step.changes:
            after, before = self._review_state(), self._review_before
            if before is not None and after is not None and after != before:
                step.changes.append(_ReviewChange(before, after))
                self.review_changed.emit()
            self._history.push(step)
            self.history_changed.emit()
        self.step_ended.emit()

    def cancel_step(self, step: Step | None = None) -> None:
        """Takes back what the current step did, and forgets it.

        Args:
            step: as for `end_step`.
        """
        if self._step is None or (step is not None and step is not self._step):
            return
        step, self._step = self._step, None
        for change in reversed(step.changes):
            self._carry_out(change, forward=False)
        if self._review_before is not None and self._case is not None:
            self._case.review, self._case.slice_review = self._review_before
        self.history_changed.emit()
        self.step_ended.emit()

    def settle(self) -> None:
        """Closes the open step, and those that its end gives rise to.

        Called before the case is kept, saved or left: what is written is then exactly a state of
        the history. A segmentation that had to wait for a stroke writes when the stroke ends.
        """
        while self._step is not None:
            self.end_step()

    def apply(self, edit: Edit | None, name: str) -> None:
        """One edit as a step of its own."""
        step = self.begin_step(name)
        self.add(edit)
        self.end_step(step)

    def set_labels(self, labels: LabelList, name: str) -> None:
        """Replaces the label list; part of the current step, or a step of its own."""
        if self._case is not None and labels != self._case.labels:
            self._change(_LabelsChange(self._case.labels, labels), name)

    def set_box(self, box: Box | None) -> None:
        """Sets or clears the region of interest; part of the current step, or one of its own."""
        if self._case is not None and box != self._case.box:
            name = "Set the box" if box is not None else "Remove the box"
            self._change(_BoxChange(self._case.box, box), name)

    def _change(self, change: Change, name: str) -> None:
        alone = self._step is None
        if alone:
            self.begin_step(name)
        self._make(change)
        if alone:
            self.end_step()

    def _make(self, change: Change) -> None:
        """Carries a change out as a part of the open step."""
        step = self._step
        assert step is not None
        step.changes.append(change)
        self._carry_out(change, forward=True)
        if len(step.changes) == 1:
            self.history_changed.emit()  # there is something to save and to undo

    # Undo and redo

    def undo(self) -> None:
        """Takes back the last step; an unfinished one is closed first."""
        self.undoing.emit()
        self.settle()
        step = self._history.pop_undo()
        if step is not None:
            for change in reversed(step.changes):
                self._carry_out(change, forward=False)
            self.history_changed.emit()

    def redo(self) -> None:
        """Makes the step that was taken back last again."""
        self.settle()
        step = self._history.pop_redo()
        if step is not None:
            for change in step.changes:
                self._carry_out(change, forward=True)
            self.history_changed.emit()

    def _carry_out(self, change: Change, *, forward: bool) -> None:
        case = self._case
        assert case is not None
        self._revision += 1
        if isinstance(change, Edit):
            (case.label_map.apply if forward else case.label_map.revert)(change)
            self.painted.emit(change.box)
        elif isinstance(change, _MapChange):
            case.label_map = change.new if forward else change.old
            self.painted.emit(full_box(case.label_map.shape))
        elif isinstance(change, _LabelsChange):
            case.labels = change.new if forward else change.old
            self.labels_changed.emit()
        elif isinstance(change, _BoxChange):
            case.box = change.new if forward else change.old
            self.box_changed.emit()
        elif isinstance(change, _ReviewChange):
            review, slices = change.new if forward else change.old
            case.review, case.slice_review = review, dict(slices)
            self.review_changed.emit()

    @property
    def can_undo(self) -> bool:
        """True if there is a step to take back."""
        return bool(self.undo_name)

    @property
    def can_redo(self) -> bool:
        """True if there is a step to make again."""
        return bool(self._history.redo_name)

    @property
    def undo_name(self) -> str:
        """Name of the step that undo takes back, or ""."""
        return self._step.name if self._step and self._step.changes else self._history.undo_name

    @property
    def redo_name(self) -> str:
        """Name of the step that redo makes again, or ""."""
        return self._history.redo_name

    @property
    def history(self) -> History:
        """For figures about its size."""
        return self._history

    @property
    def is_dirty(self) -> bool:
        """True if the case holds changes that are not saved."""
        return self._history.is_dirty or bool(self._step and self._step.changes)

    def mark_saved(self) -> None:
        """The present state is on disk."""
        self._history.mark_saved()
        self.history_changed.emit()

    def mark_unsaved(self) -> None:
        """The project on disk does not hold the present state any more."""
        self._history.mark_unsaved()
        self.history_changed.emit()

    # Review states

    def _review_state(self) -> tuple[ReviewState, dict[int, ReviewState]] | None:
        return (self._case.review, dict(self._case.slice_review)) if self._case else None

    def _note_review(self, edit: Edit) -> None:
        """A person's edit makes its slices corrected; a model's makes them proposed."""
        case = self._case
        assert case is not None
        for index in edit.box.range_along(case.label_map.plane):
            old = case.slice_review.get(index, ReviewState.NEW)
            case.slice_review[index] = _after(old, edit.origin)
        case.review = _after(case.review, edit.origin)


def _after(state: ReviewState, origin: Origin) -> ReviewState:
    return state.after_edit() if origin is Origin.HAND else state.after_proposal()
