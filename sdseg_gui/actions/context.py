"""What every action may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from PySide6.QtWidgets import QWidget

from engine.models.store import ModelEntry
from sdseg_gui.document import Document
from sdseg_gui.engine_door import EngineDoor, ModelChoice
from sdseg_gui.finetune_state import FinetuneState
from sdseg_gui.jobs import Job, JobRunner
from sdseg_gui.notify import Notifier
from sdseg_gui.session import CaseItem, Session
from sdseg_gui.settings import Settings
from sdseg_gui.under_way import UnderWay
from sdseg_gui.view_state import ViewState

REMOVAL = "removal"  # key of the bar that asks whether a row may go


class Canvas(Protocol):
    """What actions need of the canvas."""

    def fit(self) -> None:
        """Shows the whole slice."""
        ...

    def zoom_in(self) -> None:
        """Larger."""
        ...

    def zoom_out(self) -> None:
        """Smaller."""
        ...

    def cancel_shape(self) -> bool:
        """Drops an unfinished shape; True if there was one."""
        ...


class Reader(Protocol):
    """What actions need of the reading of a series."""

    def go_on(self) -> None:
        """Reads what is left."""
        ...

    def pause(self) -> None:
        """Stops for a while."""
        ...


@dataclass(eq=False)
class Context:
    """The parts of the window that actions work on.

    Attributes:
        window: parent of dialogs.
        loader, reader, engine, training: the worker threads for files, for the slices of the open
            series, for the model, and for the child process that fine-tunes one.
        under_way: what is being done for long, and how far it is.
        finetune: what is known of fine-tuning.
        models: installed models.
        chosen_model: name of the model to use, or "" before one is chosen.
        targets: what the user chose to find, by the model's name; "" is all classes.
        choice: what was measured for the open case, or None while it is not known.
        segmentation: the segmentation started by a command that runs now, or None.
        failed_row: the row that was asked for last, if it could not be opened, or None.
        asked_row: the row that may go, as a bar asks, or None.
        reading: what reads the slices that the open case still lacks, or None.
    """

    window: QWidget
    document: Document
    view: ViewState
    session: Session
    settings: Settings
    notifier: Notifier
    canvas: Canvas
    loader: JobRunner
    reader: JobRunner
    engine: JobRunner
    training: JobRunner
    finetune: FinetuneState
    door: EngineDoor
    models: list[ModelEntry]
    under_way: UnderWay = field(default_factory=UnderWay)
    chosen_model: str = ""
    targets: dict[str, str] = field(default_factory=dict[str, str])
    choice: ModelChoice | None = None
    segmentation: Job | None = None
    failed_row: int | None = None
    asked_row: CaseItem | None = None
    reading: Reader | None = None
    listeners: list[Listener] = field(default_factory=list)

    @property
    def is_loading(self) -> bool:
        """True while slices of the open case are not read yet."""
        case = self.document.case
        return case is not None and not case.scan.is_complete

    def model(self, name: str = "") -> ModelEntry | None:
        """The installed model of this name, or the chosen one."""
        wanted = name or self.chosen_model
        return next((entry for entry in self.models if entry.name == wanted), None)

    def forget_rows(self) -> None:
        """The list of cases is another one: what was asked or said of a row of the old one goes."""
        self.failed_row = self.asked_row = None
        self.notifier.clear(REMOVAL)

    def changed(self) -> None:
        """Tells menus and panels that something they show may have changed."""
        for listener in self.listeners:
            listener()


class Listener(Protocol):
    """Called when the context changed."""

    def __call__(self) -> None:
        """Looks anew."""
        ...
