"""The main window: layout, and the wiring between its parts."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeyEvent
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QMainWindow,
    QVBoxLayout,
    QWidget,
)

from engine.domain.manifest import RESEARCH_USE
from engine.models.store import list_models
from sdseg_gui.actions.cases import open_paths
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.finetuning import count_cases, describe
from sdseg_gui.actions.models import (
    box_has_changed,
    choose_for_case,
    does_not_fit,
    set_model,
)
from sdseg_gui.actions.opening import show_case, stop_opening
from sdseg_gui.actions.projects import may_leave
from sdseg_gui.canvas.slice_canvas import SliceCanvas
from sdseg_gui.dialogs.unsaved import Answer, ask_unsaved
from sdseg_gui.document import Document
from sdseg_gui.engine_door import EngineDoor
from sdseg_gui.finetune_state import FinetuneState
from sdseg_gui.jobs import Job, JobRunner
from sdseg_gui.menus import WindowCommand, build_commands, build_toolbar, is_typing
from sdseg_gui.notify import NoticeBar, Notifier
from sdseg_gui.panels.cases import CasesPanel
from sdseg_gui.panels.display import DisplayPanel
from sdseg_gui.panels.finetune import FinetunePanel
from sdseg_gui.panels.labels import LabelsPanel
from sdseg_gui.panels.parts import TallColumn
from sdseg_gui.panels.segment import SegmentPanel
from sdseg_gui.session import Session
from sdseg_gui.settings import Settings
from sdseg_gui.status import StatusLine
from sdseg_gui.theme import icon
from sdseg_gui.view_state import ViewState

APPLICATION = "SDSeg Studio"
RUNNERS = ("loader", "reader", "engine", "thumbnails", "training")
BOX_REST_MS = 300  # a box that was not touched for so long is measured


class MainWindow(QMainWindow):
    """See docs/architecture.md for who talks to whom."""

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle(APPLICATION)
        self.setWindowIcon(icon("app"))
        self.setAcceptDrops(True)
        self.resize(1360, 860)
        self.settings = Settings()
        self.notifier = Notifier(self)
        self.document = Document(self)
        self.view = ViewState(self)
        self.session = Session(self.document, self)
        runners = [JobRunner(name, self) for name in RUNNERS]
        self.loader, self.reader, self.engine, self.thumbnails, self.training = runners
        self.canvas = SliceCanvas(self.document, self.view, self)
        models, self._broken = list_models()
        self.context = Context(
            window=self,
            document=self.document,
            view=self.view,
            session=self.session,
            settings=self.settings,
            notifier=self.notifier,
            canvas=self.canvas,
            loader=self.loader,
            reader=self.reader,
            engine=self.engine,
            training=self.training,
            finetune=FinetuneState(self),
            door=EngineDoor(),
            models=models,
        )
        self._closed = False
        self._shown_job: Job | None = None
        self._build()
        self.commands: dict[str, WindowCommand] = build_commands(self, self.context)
        build_toolbar(self, self.commands)
        self._connect()
        self._greet()
        self._restore_layout()
        self.refresh()

    @property
    def is_busy(self) -> bool:
        """True while a file is loaded or written, or the engine works or is about to."""
        runners = (self.loader, self.reader, self.engine)
        return any(runner.is_busy for runner in runners) or self._box_rest.isActive()

    # Layout

    def _build(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.notice_bar = NoticeBar(self.notifier)
        column.addWidget(self.notice_bar)
        column.addWidget(self.canvas, 1)
        self.setCentralWidget(centre)
        self.cases_panel = CasesPanel(self.session, self.document, self.thumbnails)
        self.cases_panel.setMinimumWidth(210)
        self._dock("Cases", "cases", self.cases_panel, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.segment_panel = SegmentPanel(self.context.models)
        self.labels_panel = LabelsPanel(self.document, self.view)
        side = QWidget()
        stack = QVBoxLayout(side)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(6)
        stack.addWidget(self.segment_panel)
        stack.addWidget(self.labels_panel)
        stack.addWidget(DisplayPanel(self.document, self.view))
        self.finetune_panel = FinetunePanel(self.context.finetune)
        stack.addWidget(self.finetune_panel)
        stack.addStretch(1)
        self.side = TallColumn(side, 300)
        self._dock("Segment", "side", self.side, Qt.DockWidgetArea.RightDockWidgetArea)
        self.status_line = StatusLine(self, self.context, self.notifier)

    def _dock(self, title: str, name: str, widget: QWidget, side: Qt.DockWidgetArea) -> None:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        dock.setTitleBarWidget(QWidget())
        dock.setWidget(widget)
        self.addDockWidget(side, dock)

    def _restore_layout(self) -> None:
        geometry, state = self.settings.layout
        if not geometry.isEmpty():
            self.restoreGeometry(geometry)
            self.restoreState(state)

    def _greet(self) -> None:
        """The first-start notice is a bar, never a box that must be clicked away."""
        for error in self._broken:
            self.notifier.show(error.message, "warning")
        if not self.settings.notice_seen:
            self.notifier.show(
                f"{RESEARCH_USE} Check every mask before you rely on it.", key="research"
            )

    # Wiring

    def _connect(self) -> None:
        self.context.listeners.append(self.refresh)
        document, view = self.document, self.view
        for signal in (
            document.case_opened,
            document.labels_changed,
            document.box_changed,
            document.history_changed,
            view.slice_changed,
            view.tool_changed,
            view.overlay_changed,
            self.session.cases_changed,
            self.session.current_changed,
            self.session.state_changed,
            self.loader.changed,
            self.reader.changed,
            self.engine.changed,
        ):
            signal.connect(self.refresh)
        self._box_rest = QTimer(self, singleShot=True, interval=BOX_REST_MS)
        document.box_changed.connect(self._box_changed)
        document.case_opened.connect(self._box_rest.stop)
        self._box_rest.timeout.connect(self._measure_box)
        self.canvas.pointer_moved.connect(self.status_line.show_pointer)
        self.cases_panel.chosen.connect(self._show_case)
        self.cases_panel.remove_asked.connect(self._remove_case)
        self.labels_panel.add_asked.connect(self._add_label)
        self.segment_panel.asked.connect(self._trigger)
        self.segment_panel.model_chosen.connect(self._choose_model)
        self.segment_panel.target_chosen.connect(self._choose_target)
        self.finetune_panel.asked.connect(self._trigger)
        self.context.finetune.told.connect(self._refresh_finetune_panel)
        self.notice_bar.closed.connect(self._notice_closed)
        QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]

    def _trigger(self, command_id: str) -> None:
        self.commands[command_id].trigger()

    def _show_case(self, index: int) -> None:
        show_case(self.context, index)

    def _remove_case(self, index: int) -> None:
        self.commands["case.remove"].trigger(row=index)

    def _add_label(self) -> None:
        self.commands["label.add"].trigger()

    def _choose_model(self, name: str) -> None:
        set_model(self.context, name)

    def _choose_target(self, name: str) -> None:
        self.context.targets[self.context.chosen_model] = name
        self.refresh()

    def _box_changed(self) -> None:
        box_has_changed(self.context)
        self._box_rest.start()

    def _measure_box(self) -> None:
        choose_for_case(self.context)
        self.refresh()

    def _notice_closed(self, notice: object) -> None:
        if getattr(notice, "key", "") == "research":
            self.settings.notice_seen = True

    def refresh(self, *_: object) -> None:
        """Brings menus, buttons, title and panels up to date."""
        if self._closed:
            return
        for command in self.commands.values():
            command.refresh()
        self.status_line.refresh()
        self._refresh_title()
        self._refresh_segment_panel()
        self._refresh_finetune_panel()

    def _refresh_title(self) -> None:
        case, project = self.document.case, self.session.project_path
        names = [case.name if case else "", project.name if project else "", APPLICATION]
        read_only = " (read-only)" if self.session.read_only else ""
        self.setWindowTitle(" - ".join(name for name in names if name) + read_only + "[*]")
        self.setWindowModified(self.session.is_dirty)

    def _refresh_segment_panel(self) -> None:
        context, panel = self.context, self.segment_panel
        note, warns = self._model_note()
        panel.set_models(context.models)
        panel.show_model(context.chosen_model, note, warns=warns)
        entry, name = context.model(), context.chosen_model
        panel.show_targets(entry.info if entry else None, context.targets.get(name, ""))
        panel.slice.setEnabled(self.commands["segment.slice"].enabled)
        panel.volume.setEnabled(self.commands["segment.volume"].enabled)
        job = context.segmentation
        if job is None:
            panel.show_idle()
        elif job is not self._shown_job:
            panel.show_progress(0, 0)
            job.progressed.connect(panel.show_progress)
        self._shown_job = job

    def _refresh_finetune_panel(self, *_: object) -> None:
        context, panel = self.context, self.finetune_panel
        count_cases(context)
        base, cases, warns, more = describe(context)
        panel.show_plan(base, cases, warns=warns, tip=more)
        can_start = self.commands["finetune.start"].enabled and context.model() is not None
        panel.show_running(context.finetune.is_running, can_start=can_start)

    def _model_note(self) -> tuple[str, bool]:
        """A word about the chosen model, and whether it is a warning."""
        context = self.context
        case, entry = self.document.case, context.model()
        if case is None:
            return "Open a case; the model that suits it is chosen.", False
        if context.is_loading:
            return "The case is still being read; a model can be asked when it is there.", False
        if entry is None:
            return "No installed model suits this case. Draw by hand, or choose one.", True
        reason = does_not_fit(context, entry.name)
        if reason:
            return f"May not fit: {reason}.", True
        if context.choice is None:
            return "Looking whether it suits this case ...", False
        return f"Made for: {entry.info.kind}.", False

    # Keys, drops, closing

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Lets text fields have single letters that would otherwise be commands."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            plain = event.modifiers() in (
                Qt.KeyboardModifier.NoModifier,
                Qt.KeyboardModifier.ShiftModifier,
            )
            if plain and event.key() != Qt.Key.Key_Escape and is_typing():
                event.accept()
                return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc drops an unfinished shape, else stops an opening.

        While a segmentation runs, its command takes the key.
        """
        if event.key() == Qt.Key.Key_Escape and (
            self.canvas.cancel_shape() or stop_opening(self.context)
        ):
            event.accept()
            return
        super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files may be dropped."""
        if event.mimeData().hasUrls():
            event.setDropAction(Qt.DropAction.CopyAction)  # a move might remove the files
            event.accept()

    def dropEvent(self, event: QDropEvent) -> None:
        """Opens what was dropped."""
        paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        open_paths(self.context, paths)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Closes only after unsaved work was dealt with."""
        event.ignore()
        if self._closed or (self._may_stop_learning() and may_leave(self.context)):
            self._end()
            event.accept()

    def _may_stop_learning(self) -> bool:
        """Asks before a fine-tuning that runs is lost."""
        if not self.context.finetune.is_running:
            return True
        text = (
            "A model is being fine-tuned. Closing the program stops that, and nothing of it stays."
        )
        return ask_unsaved(self, text, "Stop and close") is Answer.DISCARD

    def shutdown(self, discard: bool = False) -> bool:
        """Stops the workers and closes.

        Args:
            discard: True loses unsaved work without asking.

        Returns:
            False if the user chose to stay.
        """
        if not discard and not may_leave(self.context):
            return False
        self._end()
        self.close()
        return True

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.hide()  # a worker that imports torch takes seconds to stop
        QApplication.instance().removeEventFilter(self)  # type: ignore[union-attr]
        self.settings.save_layout(self.saveGeometry(), self.saveState())
        self.settings.sync()
        self._box_rest.stop()
        self.engine.cancel_all()
        self.training.cancel_all()
        self.thumbnails.shutdown()
        self.reader.cancel_all()
        self.loader.shutdown()
        self.reader.shutdown()
        self.engine.shutdown()
        self.training.shutdown()
        self.session.close()
