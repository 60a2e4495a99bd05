"""Opening a mask of the case that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QFileDialog

from engine.domain.case import Case
from engine.domain.label_map import LabelMap, Origin
from engine.domain.labels import LabelList
from engine.errors import Choice as Asked
from engine.errors import ChoiceNeeded, UserError
from engine.io import read_mask
from engine.io.beside import masks_beside
from engine.io.kinds import OPENED
from engine.io.manifests import labels_named
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.registry import handles, has_case
from sdseg_gui.actions.segmenting import stop
from sdseg_gui.dialogs.unsaved import Answer, ask_unsaved
from sdseg_gui.notify import Choice

MOST_OFFERED = 3  # masks beside a case
_YES = 255


@handles("case.open_mask", has_case)
def open_mask(context: Context, path: str | Path = "", discard: bool = False) -> None:
    """Reads a mask of the open case, to go on correcting it."""
    case = context.document.case
    assert case is not None
    chosen = (
        str(path)
        or QFileDialog.getOpenFileName(
            context.window,
            "Open mask",
            str(case.source.parent),
            f"Masks ({' '.join(f'*{ending}' for ending in (*OPENED, '.json'))});;All (*)",
        )[0]
    )
    if not chosen:
        return
    if not discard and not _may_replace(context, case):
        return
    stop(context)
    _Opening(context, case, Path(chosen), discard).start({})


def _may_replace(context: Context, case: Case) -> bool:
    """Asks where the case has a mask already."""
    if not case.label_map.array.any():
        return True
    text = "The mask of this case will be replaced."
    return ask_unsaved(context.window, text, "Replace") is Answer.DISCARD


def offer_masks_beside(context: Context, case: Case) -> None:
    """Looks, in the background, for masks beside a case without one, and offers them in a bar."""
    if case.label_map.array.any():
        return
    job = context.loader.submit("Looking for masks", lambda _job: masks_beside(case))
    job.done.connect(lambda found: _offer(context, case, found))


def _offer(context: Context, case: Case, found: list[Path]) -> None:
    if not found or context.document.case is not case or case.label_map.array.any():
        return
    choices = tuple(
        Choice(f"Open {path.name}", _Opening(context, case, path, discard=False).begin)
        for path in found[:MOST_OFFERED]
    )
    count = "A mask lies" if len(found) == 1 else f"{len(found)} masks lie"
    context.notifier.show(f"{count} beside {case.name}.", "info", choices, key="mask")


class _Opening:
    """One mask on its way into a case; what only a person can tell is asked in a bar."""

    def __init__(self, context: Context, case: Case, path: Path, discard: bool) -> None:
        self._context, self._case, self._path, self._discard = context, case, path, discard
        self._revision = context.document.revision

    def begin(self) -> None:
        """Reads the mask, if its case is still shown."""
        is_shown = self._context.document.case is self._case
        if is_shown and _may_replace(self._context, self._case):
            self._revision = self._context.document.revision
            self._go_on({})

    def start(self, answers: dict[str, Any]) -> None:
        """Reads the mask in the background, with what was answered so far."""
        job = self._context.loader.submit(
            "Opening the mask", lambda _job: _read(self._path, self._case, answers)
        )
        job.done.connect(self._opened)
        job.failed.connect(lambda error: self._failed(error, answers))
        self._context.changed()

    def _opened(self, found: _Found) -> None:
        if self._discard or self._context.document.revision == self._revision:
            _take_mask(self._context, self._case, found)
        else:
            _ask_to_take_mask(self._context, self._case, found)

    def _failed(self, error: UserError, answers: dict[str, Any]) -> None:
        notifier = self._context.notifier
        if not isinstance(error, ChoiceNeeded):
            notifier.error(error.message, error.hint)
            return
        choices = tuple(self._answer(error.about, one, answers) for one in error.choices)
        notifier.show(error.message, "warning", choices, key="mask")

    def _answer(self, about: str, one: Asked, answers: dict[str, Any]) -> Choice:
        value = float(one.key) if about == "threshold" else one.key
        text = one.text[:1].upper() + one.text[1:]
        return Choice(text, lambda: self._go_on({**answers, about: value}))

    def _go_on(self, answers: dict[str, Any]) -> None:
        if self._context.document.case is self._case:
            self.start(answers)


@dataclass(frozen=True)
class _Found:
    """A mask that was read; `remarks` say what its reading changed."""

    label_map: LabelMap
    labels: LabelList
    remarks: tuple[str, ...]


def _ask_to_take_mask(context: Context, case: Case, found: _Found) -> None:
    """The case was changed while its mask was read."""
    if context.document.case is not case:
        return
    context.notifier.show(
        f"{case.name} was changed while the mask was being opened. The mask would replace it all.",
        "warning",
        (Choice("Replace", lambda: _take_mask(context, case, found)),),
        key="mask",
    )


def _read(path: Path, case: Case, answers: dict[str, Any]) -> _Found:
    remarks: list[str] = []
    values, labels = read_mask(path, case, tell=remarks.append, **answers)
    if labels is None:
        values, labels = _without_names(values)
    label_map = LabelMap(case.scan.grid.shape, case.scan.plane, values)
    for index in range(case.scan.slice_count):  # who drew it is not known; no model may replace it
        drawn = (label_map.slice(index) > 0) * np.uint8(Origin.HAND)
        label_map.origins.write(index, drawn)
    return _Found(label_map, labels, tuple(remarks))


def _without_names(values: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], LabelList]:
    """Values and labels of a mask that names none; 255 alone is how many programs write "yes"."""
    counts = np.zeros(256, dtype=np.int64)
    for part in values:
        counts += np.bincount(part.reshape(-1), minlength=256)
    used = (np.flatnonzero(counts[1:]) + 1).tolist()
    if used == [_YES]:
        values, used = values // np.uint8(_YES), [1]
    return values, labels_named({value: f"Label {value}" for value in used})


def _take_mask(context: Context, case: Case, found: _Found) -> None:
    if context.document.case is not case:
        return
    stop(context)
    context.notifier.clear("mask")
    context.document.replace_label_map(found.label_map, found.labels, "Open mask")
    first = next(iter(found.labels), None)
    context.view.set_active_label(first.id if first else 0)
    context.notifier.say("Mask opened")
    if found.remarks:
        context.notifier.show(" ".join(found.remarks), "warning", key="mask")
    context.changed()
