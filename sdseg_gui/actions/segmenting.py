"""Segment slice, segment volume, cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject

from engine.domain.box import full_box
from engine.domain.case import Case
from engine.domain.requests import Proposal, SegmentRequest
from engine.domain.volume import AXIS_PLANE
from engine.models.store import ModelEntry
from engine.models.suitability import mismatch, needs_box, slicing_axis
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.models import (
    ASK,
    KEPT_BY_HAND,
    NOTE,
    chosen_by_hand,
    does_not_fit,
    tell_no_model,
)
from sdseg_gui.actions.proposals import edit_of, names_of, target_of, with_labels
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


@dataclass(frozen=True)
class _Wish:
    """What is to be segmented.

    Attributes:
        name: of the command, and of the undo step.
        index: the slice; None is every slice, or those inside the box.
        target: of the model, "" for all its classes; None is what was chosen for the model.
        over_hand: True replaces what a person set or erased too.
    """

    name: str
    index: int | None = None
    target: str | None = None
    over_hand: bool = False


@handles("segment.slice", can_segment)
def segment_slice(
    context: Context, model: str = "", target: str | None = None, over_hand: bool = False
) -> None:
    """Proposes a mask for the shown slice.

    Args:
        context: of the window.
        model: name of the model, which is then used without asking; "" is the chosen one.
        target: one of its targets, "" for all its classes; None is what was chosen for it.
        over_hand: True replaces what a person set or erased too.
    """
    wish = _Wish("Segment slice", context.view.slice_index, target, over_hand)
    _ask_then_segment(context, model, wish)


@handles("segment.volume", can_segment)
def segment_volume(
    context: Context, model: str = "", target: str | None = None, over_hand: bool = False
) -> None:
    """Proposes a mask for every slice, or for those inside the box; see `segment_slice`."""
    _ask_then_segment(context, model, _Wish("Segment volume", None, target, over_hand))


@handles("segment.cancel", is_segmenting)
def cancel(context: Context) -> None:
    """Drops an unfinished shape, else stops; what was found stays as one step to undo."""
    if context.canvas.cancel_shape():
        return
    if context.segmentation is not None:
        context.segmentation.cancel()
        context.notifier.say("Stopping ...")


def _ask_then_segment(context: Context, model: str, wish: _Wish) -> None:
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
    if (model or context.choice is not None) and not _finds(context, chosen, wish.target):
        return

    def go() -> None:
        if can_segment(context) and context.document.case is case:
            _Segmentation(context, case, chosen, wish).start()

    if model:
        go()
        return
    text, answer = _doubt(context, case, chosen, wish)
    if text:
        context.notifier.show(text, "warning", (Choice(answer, go),), key=ASK)
    elif context.choice is None:
        _measure_then_go(context, case, chosen, wish)
    else:
        go()


def _doubt(context: Context, case: Case, entry: ModelEntry, wish: _Wish) -> tuple[str, str]:
    """What speaks against segmenting at once, and the answer that does it all the same; or ""."""
    doubts: list[str] = []
    reason = does_not_fit(context, entry.name)
    if reason:
        doubts.append(f"{entry.title} may not fit {case.name}: {reason}.")
    elif needs_box(entry.info, case.scan, case.box):
        field = entry.info.preprocessing.field_mm or 0.0
        context.view.set_tool("box")
        doubts.append(
            f"{entry.title} was trained on a field of {field:.0f} mm, and {case.name} is "
            "much larger. Drag a box around the place of interest first."
        )
    answer = "Segment anyway" if doubts else "Segment the others"
    missing = len(case.scan.missing)
    if wish.index is None and missing:
        lack = "1 slice is" if missing == 1 else f"{missing} slices are"
        doubts.append(f"{lack} missing in {case.name} and will stay empty.")
    return " ".join(doubts), answer


def _finds(context: Context, entry: ModelEntry, target: str | None) -> bool:
    """Whether a model can be asked for a target; says so if it can't."""
    names = [known.name for known in entry.info.targets]
    if not target or target in names:
        return True
    hint = f"It finds: {', '.join(names)}."
    context.notifier.error(f"{entry.title} does not find '{target}'.", hint)
    return False


def _measure_then_go(context: Context, case: Case, entry: ModelEntry, wish: _Wish) -> None:
    """The choice is still being measured in the same worker: segment as soon as it is known."""
    by_hand = chosen_by_hand(context, case) is not None
    possible = (
        [entry] if by_hand else [e for e in context.models if not mismatch(e.info, case.scan)]
    )
    _Segmentation(context, case, entry, wish, possible=possible).start()


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
        wish: _Wish,
        *,
        possible: Sequence[ModelEntry] = (),
    ) -> None:
        """Of `possible` models the one that fits best is used, once that is measured."""
        super().__init__(context.document)
        self.context, self.case, self.entry = context, case, entry
        self.wish, self.possible = wish, possible
        self.targets = dict(context.targets)  # as they are now; the worker looks at them later
        self.kept_by_hand = 0
        self.taken_back = False
        self.waiting: list[Proposal] = []
        self.step: Step | None = None
        self.label_ids: dict[int, int] = {}  # value in a proposal -> label id
        self.ending: Callable[[], None] | None = None  # what is left to do once all is written

    def start(self) -> None:
        """Submits the job."""
        context, document = self.context, self.context.document
        self.request = self._request(self.entry)
        job = context.engine.submit(f"{self.wish.name} ({self.entry.title})", self._work)
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
        self.step = document.begin_step(self.wish.name)
        if not self.possible:  # else another model, or none, may turn out to fit
            self._find_labels()
        context.changed()

    def _request(self, entry: ModelEntry) -> SegmentRequest:
        """Along the axis that the model was trained on; of the shown slice alone if that is it."""
        case, index = self.case, self.wish.index
        chosen = self.wish.target
        if chosen is None:
            chosen = self.targets.get(entry.name)
        axis = slicing_axis(entry.info, case.scan)
        slices = (case.box or full_box(case.scan.grid.shape)).range_along(axis)
        if index is not None and axis == case.scan.plane:
            slices = range(index, index + 1)
        target = target_of(entry.info, chosen)
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

    def _find_labels(self) -> None:
        """The labels of what is looked for; those that are missing are added, by now or again."""
        names, view = names_of(self.entry.info, self.request.target), self.context.view
        labels = with_labels(self.case.labels, names.values())
        added = [label.name for label in labels.labels[len(self.case.labels) :]]
        if added:
            self.context.document.set_labels(labels, f"Add {' and '.join(added)}")
        found = {value: labels.named(name) for value, name in names.items()}
        ids = {value: label.id for value, label in found.items() if label is not None}
        if ids != self.label_ids:
            self.label_ids = ids
            if view.active_label not in ids.values():
                view.set_active_label(next(iter(ids.values())))

    def _take(self, proposal: Proposal) -> None:
        self.waiting.append(proposal)
        self._write()

    def _write(self) -> None:
        """Writes what has come, unless somebody else's step is open."""
        document = self.context.document
        while self.waiting and document.case is self.case and document.step in (None, self.step):
            if document.step is None:
                self.step = document.begin_step(self.wish.name)
            self._find_labels()
            edit, kept = edit_of(
                self.case,
                self.waiting.pop(0),
                self.label_ids,
                index=self.wish.index,
                over_hand=self.wish.over_hand,
            )
            self.kept_by_hand += kept
            document.add(edit)

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
            context.notifier.show(note[0].upper() + note[1:] + ".", key=NOTE)
        if self.kept_by_hand:
            self._tell_kept()
        context.document.job_finished.emit(outcome)

    def _report(self, outcome: SegmentSummary) -> str:
        index = self.wish.index
        slices = f"{outcome.slices} {'slice' if outcome.slices == 1 else 'slices'}"
        if index is not None and self.request.axis != self.case.scan.plane:
            slices = f"slice {index} out of {outcome.slices} {AXIS_PLANE[self.request.axis]} ones"
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
        self._repeat(replace(self.wish, over_hand=True))

    def _again(self) -> None:
        self._repeat(self.wish)

    def _repeat(self, wish: _Wish) -> None:
        context = self.context
        if can_segment(context) and context.document.case is self.case:
            _Segmentation(context, self.case, self.entry, wish).start()

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


def stop(context: Context) -> None:
    """Stops a segmentation, because its mask is about to be replaced."""
    if context.segmentation is not None:
        context.segmentation.cancel()
        context.document.settle()
