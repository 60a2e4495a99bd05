"""Fine-tuning: a model learns from the corrected cases of the project, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from engine.domain.review import ReviewState
from engine.domain.training_news import TrainingNews
from engine.errors import UserError
from engine.models.store import ModelEntry, list_models
from engine.system.following import Message, follow_child
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.models import set_model
from sdseg_gui.actions.projects import save_project
from sdseg_gui.actions.registry import handles
from sdseg_gui.jobs import Job, JobHandle
from sdseg_gui.notify import Choice

if TYPE_CHECKING:
    from engine.training.plan import Plan

KEY = "finetune"
COUNTING = "Counting the cases"
LOOKED_AT = (ReviewState.CORRECTED, ReviewState.APPROVED)
STAGES = {
    "reading": "Reading the cases and the model ...",
    "training": "Learning. You can go on working meanwhile.",
    "scoring": "Checking the new model on the validation cases ...",
}


def can_finetune(context: Context) -> bool:
    """With cases, and while no fine-tuning runs."""
    return bool(context.session.items) and not context.finetune.is_running


def is_finetuning(context: Context) -> bool:
    """While a fine-tuning runs."""
    return context.finetune.is_running


@handles("finetune.start", can_finetune)
def start(context: Context, model: str = "", minutes: float = 0.0) -> None:
    """Fine-tunes a model on the saved project; unsaved work must be saved first, which is offered.

    Args:
        context: of the window.
        model: name of the model to start from; "" is the chosen one.
        minutes: of learning; 0 is what the panel says.
    """
    entry, session = context.model(model), context.session
    context.document.settle()
    if entry is None:
        text = f"There is no model named {model}." if model else "No model is chosen."
        context.notifier.error(text, "Choose the one that is to learn.")
    elif session.project_path is None or session.is_dirty:
        context.notifier.show(
            "A model learns from the saved project, and there is work that is not saved.",
            choices=(Choice("Save and start", lambda: _save_then(context, model, minutes)),),
            key=KEY,
        )
    elif session.read_only:
        context.notifier.error(
            f"{session.project_path.name} is open in another window.",
            "Start the fine-tuning there, or save the project under another name.",
        )
    else:
        _Finetuning(context, entry, session.project_path, minutes or context.finetune.minutes)


def _save_then(context: Context, model: str, minutes: float) -> None:
    if save_project(context) and can_finetune(context):
        start(context, model, minutes)


@handles("finetune.cancel", is_finetuning)
def cancel(context: Context) -> None:
    """Stops the fine-tuning; nothing of it stays."""
    if context.finetune.job is not None:
        context.finetune.job.cancel()
        context.notifier.say("Stopping the fine-tuning ...")


class _Finetuning(QObject):
    """One run: looks at the cases, keeps the validation split in the project, follows the child."""

    def __init__(self, context: Context, entry: ModelEntry, project: Path, minutes: float) -> None:
        super().__init__(context.document)
        self.context, self.entry, self.project, self.minutes = context, entry, project, minutes
        context.notifier.clear(KEY)
        context.notifier.clear("error")
        context.finetune.begin()
        door, info = context.door, entry.info
        self._submit(COUNTING, lambda _job: door.plan_finetuning(project, info), self._freeze)

    def _submit(
        self, name: str, work: Callable[[JobHandle], Any], done: Callable[[Any], None]
    ) -> Job:
        job = self.context.training.submit(name, work)
        job.done.connect(done)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._cancelled)
        self.context.finetune.job = job
        self.context.changed()
        return job

    def _freeze(self, plan: Plan) -> None:
        """Notes the validation cases in the project, so that no later run learns from them."""
        session = self.context.session
        if session.project_path != self.project:
            self._failed(UserError("Another project was opened before the fine-tuning started."))
            return
        if plan.is_new:
            for place in plan.places:
                session.items[place].validation = True
            try:
                session.save(self.project)
            except UserError as error:
                self._failed(error)
                return
        job = self._submit(f"Fine-tuning {self.entry.title}", self._work, self._done)
        job.part.connect(self.context.finetune.tell)

    def _work(self, job: JobHandle) -> Message:
        """In the worker thread."""
        words = ["finetune", str(self.project.absolute()), "--news"]
        words += ["--model", str(self.entry.folder.absolute()), "--minutes", str(self.minutes)]
        return follow_child(
            words,
            lambda message: job.partial(TrainingNews.from_json(message)),
            job.is_cancelled,
            "The fine-tuning",
        )

    # The end

    def _end(self) -> None:
        self.context.models[:] = list_models()[0]
        self.context.finetune.job = None
        self.context.finetune.news = None
        self.context.changed()
        self.deleteLater()

    def _done(self, report: Message) -> None:
        context = self.context
        name, title = report["model"]["name"], report["model"]["title"]
        after, before, count = report["dice"], report["base_dice"], report["val_cases"]
        cases = "case" if count == 1 else "cases"
        better = "" if after > before else " It is no better."
        context.notifier.show(
            f"{title} is in the list of models: Dice {after:.3f} on {count} validation {cases}, "
            f"before {before:.3f}.{better}",
            "info" if after > before else "warning",
            (Choice("Use it", lambda: set_model(context, name)),),
            key=KEY,
        )
        self._end()

    def _failed(self, error: UserError) -> None:
        self.context.notifier.error(error.message, error.hint)
        self._end()

    def _cancelled(self) -> None:
        known = {entry.sha256 for entry in self.context.models}
        self._end()
        made = [
            entry
            for entry in self.context.models
            if entry.sha256 not in known and entry.info.lineage.parent_sha256 == self.entry.sha256
        ]
        if made:  # the child was done before it heard of it
            self.context.notifier.say(f"It was done already: {made[0].title} is in the list.")
        else:
            self.context.notifier.say("The fine-tuning was stopped; nothing was changed.")


# What the panel shows


def count_cases(context: Context) -> None:
    """Lets the worker look at the saved project, if something has changed since it did."""
    state, entry, session = context.finetune, context.model(), context.session
    if state.is_running:
        return
    path = session.project_path
    key = None if path is None or entry is None else (path, session.times_saved, entry.sha256)
    if key == state.key:
        return
    state.ask(key)
    if key is None or entry is None:
        return
    project, info, door = key[0], entry.info, context.door
    job = context.training.submit(
        COUNTING, lambda _job: door.plan_finetuning(project, info), newest_wins=True
    )

    def take(plan: Plan | None, fault: UserError | None) -> None:
        if state.key == key:
            state.plan, state.fault = plan, fault
            context.changed()

    job.done.connect(lambda plan: take(plan, None))
    job.failed.connect(lambda error: take(None, error))


def describe(context: Context) -> tuple[str, str, bool, str]:
    """(line about the model, line about the cases, whether something is missing, more of it)."""
    state, entry = context.finetune, context.model()
    base = "Choose the model that is to learn."
    if entry is not None:
        base = f"A copy of {entry.title} learns from your corrections."
    if state.is_running:
        stage = state.news.stage if state.news else "reading"
        return base, STAGES[stage], False, ""
    if not context.session.items:
        return "A model learns from the cases that you correct.", "", False, ""
    if state.fault is not None:
        return base, state.fault.message, True, state.fault.hint
    if state.plan is None:
        return base, _not_counted(context), False, ""
    return base, *_counted(state.plan, context.session.is_dirty)


def _not_counted(context: Context) -> str:
    if context.finetune.key is not None:
        return "Counting the cases ..."
    count = sum(_is_looked_at(context, place) for place in range(len(context.session.items)))
    if not count:
        return "No case is corrected or approved yet."
    cases = "1 case is" if count == 1 else f"{count} cases are"
    return f"{cases} corrected or approved. The project is saved before it starts."


def _is_looked_at(context: Context, place: int) -> bool:
    item = context.session.items[place]
    current = context.document.case if place == context.session.current else None
    work = current or item.left or item.entry
    return work is not None and work.review in LOOKED_AT


def _counted(plan: Plan, dirty: bool) -> tuple[str, bool, str]:
    learn, check = len(plan.train), len(plan.val)
    text = f"{learn} {'case' if learn == 1 else 'cases'} to learn from, {check} to check with"
    if plan.left_out:
        text += f", {len(plan.left_out)} left out"
    text += "; unsaved work comes on top." if dirty else "."
    lines = [f"Learns from: {', '.join(plan.train)}", f"Checks with: {', '.join(plan.val)}"]
    lines += [f"Left out: {name} {reason}" for name, reason in plan.left_out]
    if plan.unlearned:
        lines.append(f"Labels that the model does not know: {', '.join(plan.unlearned)}")
    return text, False, "\n".join(lines)
