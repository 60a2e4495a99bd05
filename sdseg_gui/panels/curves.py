"""The live curves of a training run: Dice on the validation cases above, the loss below."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from engine.domain.training_news import TrainingNews
from sdseg_gui.theme import ACCENT, FAINT, GROUND, LINE, WARNING

HEIGHT = 150
AXIS_WIDTH = 34
MOST_POINTS = 400  # of the loss; older ones are thinned out
SMOOTHING = 0.9


class CurvesView(pyqtgraph.GraphicsLayoutWidget):
    """Against the time of the run, from its start to its end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setBackground(GROUND)
        self.setFixedHeight(HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Curves of the fine-tuning")
        self.setToolTip(
            "Above: Dice on the validation cases at the network's size, dashed that of the model "
            "it started from. Below: the loss."
        )
        layout: Any = self.ci.layout
        layout.setContentsMargins(2, 6, 8, 2)
        layout.setSpacing(2)
        self._dice_plot = _plot(self, 0)
        self._loss_plot = _plot(self, 1)
        self._loss_plot.setXLink(self._dice_plot)
        layout.setRowStretchFactor(0, 3)
        layout.setRowStretchFactor(1, 2)
        dashed = pyqtgraph.mkPen(FAINT, width=1, style=Qt.PenStyle.DashLine)
        self._base_line = pyqtgraph.InfiniteLine(angle=0, pen=dashed)
        self._dice_plot.addItem(self._base_line)
        points = {"symbol": "o", "symbolSize": 4, "symbolPen": None, "symbolBrush": QColor(ACCENT)}
        pen = pyqtgraph.mkPen(ACCENT, width=2)
        self._dice_line = self._dice_plot.plot(antialias=True, pen=pen, **points)
        self._loss_line = self._loss_plot.plot(antialias=True, pen=pyqtgraph.mkPen(WARNING))
        self.forget()

    def forget(self) -> None:
        """Forgets all points."""
        self._dice: list[tuple[float, float]] = []
        self._loss: list[tuple[float, float]] = []
        self._base: float | None = None
        self._smooth: float | None = None
        self._draw()

    @property
    def has_points(self) -> bool:
        """True once there is something to look at."""
        return bool(self._dice or self._loss)

    def add(self, news: TrainingNews) -> None:
        """Takes the figures of a run's news."""
        place = 100.0 * news.share
        if news.base_dice is not None and self._base is None:
            self._base = news.base_dice
            self._dice.append((0.0, news.base_dice))
        if news.val_dice is not None:
            self._dice.append((place, news.val_dice))
        if news.loss is not None and math.isfinite(news.loss):
            before = self._smooth if self._smooth is not None else news.loss
            self._smooth = SMOOTHING * before + (1.0 - SMOOTHING) * news.loss
            self._loss.append((place, self._smooth))
            if len(self._loss) > MOST_POINTS:
                self._loss = self._loss[::2]
        self._draw()

    def figures(self) -> str:
        """The newest figures, with the colours of their curves, as rich text."""
        parts: list[str] = []
        if len(self._dice) > 1:
            parts.append(_coloured(ACCENT, f"Dice {self._dice[-1][1]:.3f}"))
        if self._base is not None:
            parts.append(f"before {self._base:.3f}" if parts else f"Dice before {self._base:.3f}")
        if self._smooth is not None:
            parts.append(_coloured(WARNING, f"loss {self._smooth:.3f}"))
        return " &nbsp;".join(parts)

    def _draw(self) -> None:
        self._base_line.setVisible(self._base is not None)
        self._base_line.setValue(self._base or 0.0)
        for line, points in ((self._dice_line, self._dice), (self._loss_line, self._loss)):
            line.setData([x for x, _ in points], [y for _, y in points])
        _show_range(self._dice_plot, [y for _, y in self._dice], 0.02)
        _show_range(self._loss_plot, [y for _, y in self._loss], 0.05)


def _coloured(colour: str, text: str) -> str:
    return f'<span style="color:{colour}">{text}</span>'


def _show_range(plot: Any, values: list[float], room: float) -> None:
    """Fits the axis, and names the lowest and the highest value alone: there is little room."""
    axis = plot.getAxis("left")
    if not values:
        axis.setTicks([[]])
        return
    low, high = min(values), max(values)
    room = max(room, 0.15 * (high - low))
    plot.setYRange(low - room, high + room, padding=0)
    close = high - low < room  # the two would be written over each other
    axis.setTicks([[(y, f"{y:.2f}") for y in ((high,) if close else (low, high))]])


def _plot(view: pyqtgraph.GraphicsLayoutWidget, row: int) -> Any:
    grid: Any = view.ci
    plot = grid.addPlot(row=row, col=0)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setXRange(0.0, 100.0, padding=0.01)
    for name in ("left", "bottom"):
        axis = plot.getAxis(name)
        axis.setPen(LINE)
        axis.setTextPen(FAINT)
        axis.setStyle(tickLength=-3)
        axis.enableAutoSIPrefix(False)
    plot.getAxis("left").setWidth(AXIS_WIDTH)
    plot.getAxis("bottom").setStyle(showValues=False)
    plot.getAxis("bottom").setTicks([[]])
    return plot
