"""What the window knows of fine-tuning: the cases there are, and the run that is going on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from engine.domain.training_news import TrainingNews
from engine.errors import UserError
from sdseg_gui.jobs import Job

if TYPE_CHECKING:
    from engine.training.plan import Plan

MINUTES = 15
# Project, how often it was saved or loaded, and the model's hash.
PlanKey = tuple[Path, int, str]


class FinetuneState(QObject):
    """Lives in the GUI thread.

    Signals:
        started: a run begins.
        told: news of the run.

    Attributes:
        minutes: how long a run learns.
        key: what `plan` and `fault` were asked for, or are being asked for.
        plan: whom the saved project would be learned from, or None.
        fault: why it can't be learned from, or None.
        job: of the run that is going on, or None.
        news: the last of that run, or None.
    """

    started = Signal()
    told = Signal(object)  # TrainingNews

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.minutes = MINUTES
        self.key: PlanKey | None = None
        self.plan: Plan | None = None
        self.fault: UserError | None = None
        self.job: Job | None = None
        self.news: TrainingNews | None = None

    @property
    def is_running(self) -> bool:
        """True from the start of a run to its end."""
        return self.job is not None

    def ask(self, key: PlanKey | None) -> None:
        """The answer for another project, state of it, or model is not known yet."""
        self.key, self.plan, self.fault = key, None, None

    def begin(self) -> None:
        """A run begins."""
        self.news = None
        self.started.emit()

    def tell(self, news: TrainingNews) -> None:
        """Passes news on."""
        self.news = news
        self.told.emit(news)
