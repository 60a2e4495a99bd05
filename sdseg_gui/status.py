"""The status line: what is being done, what is under the pointer, the model, the device."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QLabel, QMainWindow

from engine.domain.case import Case
from sdseg_gui.actions.context import Context
from sdseg_gui.notify import Notifier

MESSAGE_MS = 6000


class StatusLine:
    """Permanent fields on the right; on the left passing words, else what is under way."""

    def __init__(self, window: QMainWindow, context: Context, notifier: Notifier) -> None:
        self._context = context
        self._bar = window.statusBar()
        self._bar.setSizeGripEnabled(False)
        self._pointer, self._model = QLabel(), QLabel()
        for label, width in ((self._pointer, 330), (self._model, 0)):
            label.setObjectName("Faint")
            label.setMinimumWidth(width)
            label.setContentsMargins(10, 2, 10, 2)
            self._bar.addPermanentWidget(label)
        self._under_way = ""
        notifier.status.connect(self._say)
        context.under_way.changed.connect(self._follow)
        self._bar.messageChanged.connect(self._message_changed)

    def _say(self, text: str) -> None:
        self._bar.showMessage(text, MESSAGE_MS)

    def _follow(self, text: str) -> None:
        """How far something is; words that were said just now are left time to be read."""
        shown = self._bar.currentMessage()
        before, self._under_way = self._under_way, text
        if shown in ("", before):
            self._bar.showMessage(text)

    def _message_changed(self, shown: str) -> None:
        if not shown and self._under_way:
            self._bar.showMessage(self._under_way)

    def show_pointer(self, voxel: tuple[int, int, int] | None) -> None:
        """The value under the pointer; None clears."""
        case = self._context.document.case
        self._pointer.setText("" if case is None or voxel is None else describe(case, voxel))

    def refresh(self) -> None:
        """Model and device."""
        entry, use = self._context.model(), self._context.session.model_use
        name = entry.title if entry else "No model"
        self._model.setText(f"{name}  ·  {use.device.upper()}" if use else name)


def describe(case: Case, voxel: tuple[int, int, int]) -> str:
    """Position, real value and label of one voxel (k, j, i)."""
    k, j, i = voxel
    scan = case.scan
    stored = scan.array[k, j, i]
    if not scan.loaded[voxel[scan.plane]]:
        value = "not read"
    elif scan.is_colour:
        value = "RGB " + " ".join(str(int(v)) for v in stored)
    else:
        value = f"{float(scan.real(stored)):g} {scan.unit}".rstrip()
    label = case.labels.get(int(case.label_map.array[k, j, i]))
    place = f"({i}, {j})"
    if scan.grid.calibrated:
        at = np.array([i, j, k, 1.0])
        at[2 - scan.plane] = scan.place(voxel[scan.plane])
        x, y, z, _ = scan.grid.affine @ at
        place = f"({i}, {j}, {k})  {x:.1f} {y:.1f} {z:.1f} mm"
    return f"{place}   {value}" + (f"   {label.name}" if label else "")
