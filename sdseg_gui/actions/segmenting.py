"""Segment slice, segment volume, cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PySide6.QtCore import QObject

from engine.domain.box import Box, full_box, slice_box
from engine.domain.case import Case
from engine.domain.label_map import Edit, Origin
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.volume import AXIS_PLANE
from engine.models.store import ModelEntry
from engine.models.suitability import mismatch, needs_box, slicing_axis
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.models import ASK, KEPT_BY_HAND, chosen_by_hand, does_not_fit, tell_no_model
from sdseg_gui.actions.registry import handles
from sdseg_gui.engine_door import SegmentSummary
from sdseg_gui.history import Step
from sdseg_gui.jobs import JobHandle
from sdseg_gui.notify import Choice


def can_segment(context: Context) -> bool:
    """With a case, and while no segmentation started by a command runs."""
    return context.document.case is not None and context.segmentation is None


def is_segmenting(context: Context) -> bool:
    """While a segmentation started by a command runs."""
    return context.segmentation is not None


@handles("segment.slice", can_segment)
def segment_slice(context: Context, model: str = "", over_hand: bool = False) -> None:
    """Proposes a mask for the shown slice."""
    _ask_then_segment(context, context.view.slice_index, model, over_hand, "Segment slice")


@handles("segment.volume", can_segment)
def segment_volume(context: Context, model: str = "", over_hand: bool = False) -> None:
    """Proposes a mask for every slice, or for those inside the box."""
    _ask_then_segment(context, None, model, over_hand, "Segment volume")


@handles("segment.cancel", is_segmenting)
def cancel(context: Context) -> None:
    """Drops an unfinished shape, else stops; what was found stays as one step to undo."""
    if context.canvas.cancel_shape():
        return
    if context.segmentation is not None:
        context.segmentation.cancel()
        context.notifier.say("Stopping ...")


def _ask_then_segment(
    context: Context, index: int | None, model: str, over_hand: bool, name: str
) -> None:
    """A model that was named is used at once; else one that does not fit is asked about."""
    case, entry = context.document.case, context.model(model)
    assert case is not None
    if entry is None and model:
        context.notifier.error(f"There is no model named {model}.")
        return
    if entry is None:
        tell_no_model(context, case)
        return
    chosen = entry

    def go() -> None:
        if can_segment(context) and context.document.case is case:
            _Segmentation(context, case, chosen, index, over_hand, name).start()

    if model:
        go()
        return
    reason = does_not_fit(context, chosen.name)
    if reason:
        text = f"{chosen.title} may not fit {case.name}: {reason}."
    elif needs_box(chosen.info, case.scan, case.box):
        field = chosen.info.preprocessing.field_mm or 0.0
        text = (
            f"{chosen.title} was trained on a field of {field:.0f} mm, and {case.name} is "
            "much larger. Drag a box around the place of interest first."
        )
        context.view.set_tool("box")
    elif context.choice is None:
        _measure_then_go(context, case, chosen, index, over_hand, name)
        return
    else:
        go()
        return
    context.notifier.show(text, "warning", (Choice("Segment anyway", go),), key=ASK)


def _measure_then_go(
    context: Context, case: Case, entry: ModelEntry, index: int | None, over_hand: bool, name: str
) -> None:
    """The choice is still being measured in the same worker: segment as soon as it is known."""
    by_hand = chosen_by_hand(context, case) is not None
    possible = (
        [entry] if by_hand else [e for e in context.models if not mismatch(e.info, case.scan)]
    )
    _Segmentation(context, case, entry, index, over_hand, name, possible=possible).start()


class _Segmentation(QObject):
    """One running segmentation: writes proposals as they come, as one undo step.

    The step is its own: while a person paints, it waits, and goes on in a step of its own. An undo
    stops it, and so does another case.
    """

    def __init__(
        self,
        context: Context,
        case: Case,
        entry: ModelEntry,
        index: int | None,
        over_hand: bool,
        name: str,
        *,
        possible: Sequence[ModelEntry] = (),
    ) -> None:
        """Of `possible` models the one that fits best is used, once that is measured."""
        super().__init__(context.document)
        self.context, self.case, self.entry = context, case, entry
        self.index, self.over_hand, self.name, self.possible = index, over_hand, name, possible
        self.kept_by_hand = 0
        self.taken_back = False
        self.waiting: list[Proposal] = []
        self.step: Step | None = None
        self.label_id = 0
        self.ending: Callable[[], None] | None = None  # what is left to do once all is written

    def start(self) -> None:
        """Submits the job."""
        context, document = self.context, self.context.document
        self.request = self._request(self.entry)
        job = context.engine.submit(f"{self.name} ({self.entry.title})", self._work)
        job.part.connect(self._take)
        job.done.connect(lambda outcome: self._end(lambda: self._done(outcome)))
        job.failed.connect(lambda error: self._end(lambda: self._failed(error)))
        job.cancelled.connect(lambda: self._end(self._cancelled))
        document.step_ended.connect(self._go_on)
        document.undoing.connect(self._take_back)
        document.case_opened.connect(self._leave)
        context.segmentation = self.job = job
        context.notifier.clear(ASK)
        context.notifier.clear(KEPT_BY_HAND)
        self.step = document.begin_step(self.name)
        if not self.possible:  # else another model, or none, may turn out to fit
            self._find_label()
        context.changed()

    def _request(self, entry: ModelEntry) -> SegmentRequest:
        """Along the axis that the model was trained on; of the shown slice alone if that is it."""
        case, index = self.case, self.index
        axis = slicing_axis(entry.info, case.scan)
        slices = (case.box or full_box(case.scan.grid.shape)).range_along(axis)
        if index is not None and axis == case.scan.plane:
            slices = range(index, index + 1)
        target = entry.info.targets[0].name
        return SegmentRequest(
            scan=case.scan, slices=slices, target=target, box=case.box, plane=axis
        )

    def _work(self, job: JobHandle) -> SegmentSummary | str:
        """In the worker thread; the first proposal leaves it after the model is settled."""
        door = self.context.door
        if self.possible:
            reason = self._settle(job)
            if reason:
                return reason
        return door.segment(self.request, self.entry, job.partial, job.progress, job.is_cancelled)

    def _settle(self, job: JobHandle) -> str:
        """Takes the model that fits best; why none does, as half a sentence, or ""."""
        scan, box = self.request.scan, self.request.box
        choice = self.context.door.choose(scan, box, self.possible, job.is_cancelled)
        found = next((entry for entry in self.possible if entry.name == choice.name), None)
        if found is None:  # of a model without a statistic nothing can be said against it
            return self.context.door.check_fit(scan, box, self.entry).reason
        if needs_box(found.info, scan, box):
            return "it is much larger than what the model has learnt from"
        self.entry, self.request = found, self._request(found)
        return ""

    # Writing

    def _find_label(self) -> None:
        """The target's label, which is added if it is missing, by now or again."""
        labels, name = self.case.labels, self.entry.info.targets[0].name
        found = labels.named(name)
        if found is None:
            labels = labels.added(name)
            found = labels.labels[-1]
            self.context.document.set_labels(labels, f"Add {name}")
        if found.id != self.label_id:
            self.label_id = found.id
            self.context.view.set_active_label(found.id)

    def _take(self, proposal: Proposal) -> None:
        self.waiting.append(proposal)
        self._write()

    def _write(self) -> None:
        """Writes what has come, unless somebody else's step is open."""
        document = self.context.document
        while self.waiting and document.case is self.case and document.step in (None, self.step):
            if document.step is None:
                self.step = document.begin_step(self.name)
            self._find_label()
            document.add(self._edit(self.waiting.pop(0)))

    def _go_on(self) -> None:
        """A step has ended, perhaps the one that was waited for."""
        self._write()
        self._try_to_end()

    def _take_back(self) -> None:
        """The user undoes: nothing more is to come, or the labels would come without their list."""
        if self.context.document.case is self.case:
            self.taken_back = True
            self.waiting.clear()
            self.job.cancel()

    def _leave(self) -> None:
        """Another case is shown; what was found until then has been kept with the old one."""
        self.job.cancel()

    def _edit(self, proposal: Proposal) -> Edit | None:
        """What a proposal changes: never a locked label, nor what a person set or erased."""
        case = self.case
        whole = _box_of(proposal, case)
        box = whole if self.index is None else _in_slice(whole, case.scan.plane, self.index)
        if box.is_empty:
            return None
        found = np.expand_dims(proposal.labels > 0, proposal.plane)[_inside(box, whole)]
        old = case.label_map.array[box.slices]
        origins = case.label_map.origins.read_box(box)
        values = np.where(found, np.uint8(self.label_id), np.uint8(0))
        # Where the model had put this label before and finds nothing now, it takes it back.
        concerned = found | (old == self.label_id)
        if not self.over_hand:
            by_hand = (origins == Origin.HAND) & concerned & (old != values)
            self.kept_by_hand += int(by_hand.sum())
            concerned &= origins != Origin.HAND
        return case.label_map.make_edit(
            box, concerned, values, Origin.MODEL, case.labels.locked_ids
        )

    # The end

    def _end(self, ending: Callable[[], None]) -> None:
        """The job has ended; what it found is perhaps still waiting for a stroke to end."""
        self.ending = ending
        self._write()
        self._try_to_end()

    def _try_to_end(self) -> None:
        document, ending = self.context.document, self.ending
        is_left = document.case is not self.case
        if ending is None or (self.waiting and not is_left):
            return
        self.ending = None
        document.step_ended.disconnect(self._go_on)
        document.undoing.disconnect(self._take_back)
        document.case_opened.disconnect(self._leave)
        if self.step is not None and not is_left:
            document.end_step(self.step)
        self.context.segmentation = None
        self.context.changed()
        ending()
        self.deleteLater()

    def _done(self, outcome: SegmentSummary | str) -> None:
        context = self.context
        if isinstance(outcome, str):
            self._ask(outcome)
            return
        context.session.note_model_use(outcome.model_use)
        context.notifier.say(self._report(outcome))
        for note in outcome.notes:
            context.notifier.show(note[0].upper() + note[1:] + ".", key="note")
        if self.kept_by_hand:
            self._tell_kept()
        context.document.job_finished.emit(outcome)

    def _report(self, outcome: SegmentSummary) -> str:
        slices = f"{outcome.slices} {'slice' if outcome.slices == 1 else 'slices'}"
        if self.index is not None and self.request.axis != self.case.scan.plane:
            slices = (
                f"slice {self.index} out of {outcome.slices} {AXIS_PLANE[self.request.axis]} ones"
            )
        return (
            f"{self.entry.title}: {slices} in {outcome.seconds:.1f} s on "
            f"the {outcome.model_use.device.upper()}"
        )

    def _ask(self, reason: str) -> None:
        context = self.context
        context.notifier.show(
            f"{self.entry.title} may not fit {self.case.name}: {reason}.",
            "warning",
            (Choice("Segment anyway", self._again),),
            key=ASK,
        )
        context.document.job_finished.emit(None)

    def _tell_kept(self) -> None:
        self.context.notifier.show(
            f"{self.kept_by_hand} voxels that you had set or erased by hand were kept.",
            choices=(Choice("Replace them too", self._over_hand),),
            key=KEPT_BY_HAND,
        )

    def _over_hand(self) -> None:
        self._repeat(over_hand=True)

    def _again(self) -> None:
        self._repeat(over_hand=self.over_hand)

    def _repeat(self, *, over_hand: bool) -> None:
        context = self.context
        if can_segment(context) and context.document.case is self.case:
            _Segmentation(context, self.case, self.entry, self.index, over_hand, self.name).start()

    def _failed(self, error: Exception) -> None:
        message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
        self.context.notifier.error(message, hint)
        self.context.document.job_finished.emit(error)

    def _cancelled(self) -> None:
        if self.taken_back:
            self.context.notifier.say("Stopped, because a step was undone.")
        elif self.context.document.case is self.case:
            self.context.notifier.say("Stopped; what was found so far stays and can be undone.")
        self.context.document.job_finished.emit(None)


def _box_of(proposal: Proposal, case: Case) -> Box:
    """The voxels of a proposal's region."""
    whole = slice_box(case.scan.grid.shape, proposal.plane, proposal.index)
    start, stop = list(whole.start), list(whole.stop)
    axes = [axis for axis in range(3) if axis != proposal.plane]
    for axis, part in zip(axes, proposal.region, strict=True):
        start[axis], stop[axis], _ = part.indices(case.scan.grid.shape[axis])
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _in_slice(box: Box, plane: int, index: int) -> Box:
    """The part of a box that lies in one slice."""
    start, stop = list(box.start), list(box.stop)
    start[plane], stop[plane] = max(start[plane], index), min(stop[plane], index + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _inside(part: Box, whole: Box) -> tuple[slice, ...]:
    """Where a part lies, counted from the start of the whole."""
    return tuple(
        slice(a - zero, b - zero)
        for a, b, zero in zip(part.start, part.stop, whole.start, strict=True)
    )


def stop(context: Context) -> None:
    """Stops a segmentation, because its mask is about to be replaced."""
    if context.segmentation is not None:
        context.segmentation.cancel()
        context.document.settle()
