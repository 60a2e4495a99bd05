"""Which model is used for the open case."""

from __future__ import annotations

from engine.domain.case import Case
from engine.models.suitability import mismatch
from sdseg_gui.actions.context import Context
from sdseg_gui.engine_door import ModelChoice
from sdseg_gui.notify import Choice

NO_MODEL = "no-model"
ASK = "segment"  # a question before a segmentation starts
KEPT_BY_HAND = "hand"  # what a person set was kept
NOTE = "note"  # what a segmentation had to say
OF_A_SEGMENTATION = (NO_MODEL, ASK, KEPT_BY_HAND, NOTE)


def choose_for_case(context: Context) -> None:
    """Preselects the model that suits the open case, unless the user chose one.

    Modality and colour decide first, at once; then the engine measures in the background.
    """
    case = context.document.case
    if case is None or context.is_loading:  # measured once all is there
        return
    possible = [entry for entry in context.models if not mismatch(entry.info, case.scan)]
    for key in (NO_MODEL, ASK, KEPT_BY_HAND):  # they speak of what was shown before
        context.notifier.clear(key)
    context.choice = None
    by_hand = chosen_by_hand(context, case)
    if by_hand is not None:
        context.chosen_model = by_hand
    elif possible and context.chosen_model not in {entry.name for entry in possible}:
        context.chosen_model = possible[0].name
    if not possible:
        _take_choice(context, case, ModelChoice(""))
        return
    scan, box, door = case.scan, case.box, context.door
    job = context.engine.submit(
        "Choosing the model",
        lambda handle: door.choose(scan, box, possible, handle.is_cancelled),
        newest_wins=True,
    )
    job.done.connect(lambda choice: _take_choice(context, case, choice))
    job.failed.connect(lambda error: context.notifier.error(error.message, error.hint))


def chosen_by_hand(context: Context, case: Case) -> str | None:
    """The model that the user chose for the open case, "" for none; None if they did not choose.

    What was chosen for another case, or stands in the project, counts where modality and colour
    are right.
    """
    installed = {entry.name: entry for entry in context.models}
    item = context.session.current_item
    if item is not None and item.model is not None and item.model in {"", *installed}:
        return item.model
    entry = installed.get(context.session.model)
    return entry.name if entry and not mismatch(entry.info, case.scan) else None


def box_has_changed(context: Context) -> None:
    """What was measured holds no longer; `choose_for_case` is to follow when the box is at rest."""
    context.choice = None
    context.notifier.clear(ASK)


def _take_choice(context: Context, case: Case, choice: ModelChoice) -> None:
    if context.document.case is not case:
        return
    context.choice = choice
    if chosen_by_hand(context, case) is None:
        context.chosen_model = choice.name
        if not choice.name:
            tell_no_model(context, case)
    context.changed()


def tell_no_model(context: Context, case: Case) -> None:
    """Says that nothing fits, and what can be done."""
    context.notifier.show(
        f"No installed model was made for a picture like {case.name}. You can draw the mask by "
        "hand, or choose a model yourself.",
        "warning",
        (Choice("Draw by hand", lambda: context.view.set_tool("brush")),),
        key=NO_MODEL,
    )


def set_model(context: Context, name: str) -> None:
    """The user chose a model."""
    context.chosen_model = name
    context.session.choose_model(name)
    context.notifier.clear(NO_MODEL)
    context.changed()


def does_not_fit(context: Context, name: str) -> str:
    """Why a model does not fit the open case, as half a sentence; "" if it does or nobody knows."""
    case = context.document.case
    entry = context.model(name)
    if case is None or entry is None:
        return ""
    reason = mismatch(entry.info, case.scan)
    if reason:
        return reason
    result = context.choice.results.get(name) if context.choice else None
    return result.reason if result is not None and not result.fits else ""
