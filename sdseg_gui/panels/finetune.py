"""Fine-tuning: what is learned from, for how long, how far it is, and whether it helps."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QSpinBox, QWidget

from engine.domain.training_news import TrainingNews
from sdseg_gui.commands import BY_ID
from sdseg_gui.finetune_state import FinetuneState
from sdseg_gui.panels.curves import CurvesView
from sdseg_gui.panels.parts import column, faint, heading, set_warning

MOST_MINUTES = 600
STEPS = 1000  # of the progress bar


class FinetunePanel(QWidget):
    """Shows what the fine-tuning says; the buttons trigger commands.

    Signals:
        asked: id of the command that a button stands for.
    """

    asked = Signal(str)

    def __init__(self, state: FinetuneState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        layout = column(self)
        layout.addWidget(heading("Fine-tune"))
        self.base = faint()
        self.cases = faint()
        layout.addWidget(self.base)
        layout.addWidget(self.cases)
        layout.addLayout(self._make_start())
        layout.addLayout(self._make_progress())
        self.figures = faint()
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.curves = CurvesView()
        layout.addWidget(self.figures)
        layout.addWidget(self.curves)
        self.clear()
        self.show_running(False)
        state.started.connect(self.clear)
        state.told.connect(self.show_news)

    def _make_start(self) -> QHBoxLayout:
        self.minutes = QSpinBox()
        self.minutes.setRange(1, MOST_MINUTES)
        self.minutes.setSuffix(" minutes")
        self.minutes.setValue(self._state.minutes)
        self.minutes.setMinimumHeight(28)
        self.minutes.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.minutes.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.minutes.setAccessibleName("Minutes of learning")
        self.minutes.setToolTip("How long it learns; reading and checking come on top")
        self.minutes.valueChanged.connect(self._set_minutes)
        self.start = QPushButton("Fine-tune")
        self.start.setToolTip(_tip("finetune.start"))
        self.start.clicked.connect(self._start)
        row = QHBoxLayout()
        row.addWidget(self.minutes, 1)
        row.addWidget(self.start, 1)
        return row

    def _make_progress(self) -> QHBoxLayout:
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(_tip("finetune.cancel"))
        self.cancel.clicked.connect(self._cancel)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        return row

    def _set_minutes(self, minutes: int) -> None:
        self._state.minutes = minutes

    def _start(self) -> None:
        self.asked.emit("finetune.start")

    def _cancel(self) -> None:
        self.asked.emit("finetune.cancel")

    def show_plan(self, base: str, cases: str, *, warns: bool, tip: str = "") -> None:
        """What would be done.

        Args:
            base: a line about the model it starts from.
            cases: a line about the cases, or what is missing.
            warns: True if something is missing.
            tip: more about the cases.
        """
        self.base.setText(base)
        self.cases.setText(cases)
        self.cases.setToolTip(tip)
        set_warning(self.cases, warns)
        self.cases.setVisible(bool(cases))

    def show_running(self, running: bool, *, can_start: bool = False) -> None:
        """Whether it runs; the curves of the last run stay until the next one starts."""
        self.bar.setVisible(running)
        self.cancel.setVisible(running)
        self.minutes.setVisible(not running)
        self.start.setVisible(not running)
        self.start.setEnabled(can_start)

    def clear(self) -> None:
        """Forgets the last run."""
        self.bar.setRange(0, 0)
        self.bar.setFormat("")
        self.figures.hide()
        self.curves.forget()
        self.curves.hide()

    def show_news(self, news: TrainingNews) -> None:
        """Takes what the run tells."""
        if news.stage == "training" and news.seconds_left is not None:
            self.bar.setRange(0, STEPS)
            self.bar.setValue(round(news.share * STEPS))
            self.bar.setFormat(_left(news.seconds_left))
        else:  # nobody knows how long it takes
            self.bar.setRange(0, 0)
        self.curves.add(news)
        if self.curves.has_points:
            self.figures.setText(self.curves.figures())
            self.figures.show()
            self.curves.show()


def _tip(command_id: str) -> str:
    command = BY_ID[command_id]
    return f"{command.tip} ({command.keys[0]})"


def _left(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d} left"
