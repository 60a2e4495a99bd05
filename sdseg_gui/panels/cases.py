"""The list of cases, with a thumbnail and the review state of each."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import qimage2ndarray
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QIcon, QKeySequence, QPainter, QPixmap
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStackedWidget, QVBoxLayout, QWidget

from engine.domain.case import Case
from engine.errors import Cancelled, UserError
from engine.imaging.orientation import as_shown
from engine.imaging.overlay import draw_overlay
from engine.imaging.window_level import default_window, to_8bit
from engine.io import open_case, open_middle
from engine.io.kinds import Kind, kind_by_name
from sdseg_gui.commands import BY_ID
from sdseg_gui.document import Document
from sdseg_gui.jobs import JobHandle, JobRunner
from sdseg_gui.panels.parts import faint
from sdseg_gui.session import CaseItem, Session
from sdseg_gui.theme import icon

THUMBNAIL = 48


class CasesPanel(QWidget):
    """Shows all cases; a click opens one.

    Signals:
        chosen: index of the case that the user picked.
        remove_asked: index of one that is to go from the list.
    """

    chosen = Signal(int)
    remove_asked = Signal(int)

    def __init__(
        self,
        session: Session,
        document: Document,
        reader: JobRunner,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._document, self._reader = session, document, reader
        self._icons: dict[tuple[Path, str], QIcon] = {}
        self._list = QListWidget()
        self._list.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self._list.setUniformItemSizes(True)
        self._list.setAccessibleName("Cases")
        self._list.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._list.addAction(self._remove_action())
        self._list.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        empty = faint(
            "No case is open.\n\nDrop a picture, a folder or a DICOM series into the window, or "
            "press Ctrl+O."
        )
        empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        empty.setContentsMargins(14, 10, 14, 10)
        self._pages = QStackedWidget()
        self._pages.addWidget(empty)
        self._pages.addWidget(self._list)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 2, 6)
        layout.addWidget(self._pages)
        self._list.itemClicked.connect(self._clicked)
        self._list.itemActivated.connect(self._clicked)
        session.cases_changed.connect(self._rebuild)
        session.current_changed.connect(self._select)
        document.review_changed.connect(self._refresh_current)
        document.history_changed.connect(self._history_changed)

    def _remove_action(self) -> QAction:
        """In the context menu of a row, and by its key while the list has the keyboard."""
        action = QAction(BY_ID["case.remove"].plain_title, self._list)
        action.setShortcut(QKeySequence("Del"))
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(self._ask_to_remove)
        return action

    def _ask_to_remove(self) -> None:
        row, shown = self._list.currentRow(), self._session.current
        if row < 0:
            return
        self.remove_asked.emit(row)
        if row != shown and self._list.count():  # the same key again means the row that came there
            self._list.setCurrentRow(min(row, self._list.count() - 1))

    def _clicked(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self._list.row(item))

    def _rebuild(self) -> None:
        self._list.clear()
        for case in self._session.items:
            is_shown = case is self._session.current_item
            work = self._document.case if is_shown else case.left or case.entry
            review = work.review.value if work else "new"
            shown = self._icons.get(_key(case), _blank())
            item = QListWidgetItem(shown, _text(case, review))
            item.setToolTip(_tip(case))
            item.setSizeHint(QSize(120, THUMBNAIL + 10))
            self._list.addItem(item)
        self._read_missing()
        self._pages.setCurrentIndex(1 if self._session.items else 0)
        if self._session.current >= 0:
            self._list.setCurrentRow(self._session.current)

    def _read_missing(self) -> None:
        """Thumbnails of pictures and series that were not opened yet, in the background."""
        keys = [
            _key(item)
            for item in self._session.items
            if _key(item) not in self._icons
            and (item.summary or kind_by_name(item.path) is Kind.PICTURE)
        ]
        if keys:
            job = self._reader.submit(
                "Thumbnails", lambda handle: _read_pictures(keys, handle), newest_wins=True
            )
            job.part.connect(self._take_picture)

    def _take_picture(self, found: tuple[tuple[Path, str], NDArray[np.uint8]]) -> None:
        key, picture = found
        self._icons[key] = _icon(picture)
        for row, item in enumerate(self._session.items):
            if _key(item) == key and row < self._list.count():
                self._list.item(row).setIcon(self._icons[key])

    def _select(self, index: int) -> None:
        if not 0 <= index < self._list.count():
            return
        self._list.setCurrentRow(index)
        self._refresh_current()

    def _history_changed(self) -> None:
        if self._document.step is None:  # drawing the thumbnail would hold up the start of a stroke
            self._refresh_current()

    def _refresh_current(self) -> None:
        case, item = self._document.case, self._list.item(self._session.current)
        row = self._session.current_item
        if case is None or item is None or row is None:
            return
        self._icons[_key(row)] = _icon(small_picture(case))
        item.setIcon(self._icons[_key(row)])
        item.setText(_text(row, case.review.value))
        item.setToolTip(_tip(row))


def _key(item: CaseItem) -> tuple[Path, str]:
    return item.path, item.series


def _text(item: CaseItem, review: str) -> str:
    """Name, and below it the review state and what a series is; its size is for the tooltip."""
    known = item.summary.splitlines()[:-1]
    state = [review] if review != "new" else []
    return "\n".join([item.name, *known[:-1], " · ".join([*state, *known[-1:]])]).rstrip("\n")


def _tip(item: CaseItem) -> str:
    return f"{item.name}\n{item.summary}" if item.summary else item.name


def small_picture(case: Case) -> NDArray[np.uint8]:
    """The slice with most of the mask, or the middle one, small: uint8 [rows, columns, 3]."""
    scan = case.scan
    touched = [n for n in case.label_map.origins.touched if scan.loaded[n]]
    index = touched[len(touched) // 2] if touched else scan.slice_count // 2
    step = max(1, max(scan.slice_shape) // (THUMBNAIL * 4))
    level, width = default_window(scan)
    picture = to_8bit(
        scan.slice(index)[::step, ::step],
        1.0 if scan.is_colour else scan.slope,
        0.0 if scan.is_colour else scan.intercept,
        level,
        width,
        inverted=scan.inverted,
    )
    labels = case.label_map.slice(index)[::step, ::step]
    return np.ascontiguousarray(as_shown(draw_overlay(picture, labels, case.labels), scan.plane))


def thumbnail(picture: NDArray[np.uint8]) -> QPixmap:
    """A small picture in a black square."""
    image = qimage2ndarray.array2qimage(picture)
    small = QPixmap.fromImage(image).scaled(
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    square = _blank_pixmap()
    painter = QPainter(square)
    painter.drawPixmap((THUMBNAIL - small.width()) // 2, (THUMBNAIL - small.height()) // 2, small)
    painter.end()
    return square


def _icon(picture: NDArray[np.uint8]) -> QIcon:
    """The same picture in the selected row, where Qt would tint it."""
    pixmap = thumbnail(picture)
    made = QIcon(pixmap)
    made.addPixmap(pixmap, QIcon.Mode.Selected)
    return made


def _read_pictures(keys: list[tuple[Path, str]], job: JobHandle) -> None:
    """In the worker: small pictures of plain pictures and of series, one after the other."""
    for path, series in keys:
        if job.is_cancelled():
            raise Cancelled
        with contextlib.suppress(UserError):  # it is named when the user opens it
            is_picture = kind_by_name(path) is Kind.PICTURE
            case = open_case(path) if is_picture else open_middle(path, series)
            job.partial(((path, series), small_picture(case)))


def _blank_pixmap() -> QPixmap:
    pixmap = QPixmap(THUMBNAIL, THUMBNAIL)
    pixmap.fill(Qt.GlobalColor.black)
    return pixmap


def _blank() -> QIcon:
    """Stands for a volume that was not opened yet, and for a picture that is being read."""
    return icon("segment-volume")
