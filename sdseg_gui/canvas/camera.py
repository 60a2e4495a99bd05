"""Which part of a slice is seen, and how large."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QTransform

from sdseg_gui.tools.geometry import SliceGeometry

_MARGIN = 10.0  # screen pixels left free around a fitted slice
_LARGEST_PIXEL = 96.0  # a pixel of the slice is never shown larger, in screen pixels
_SMALLEST_SLICE = 48.0  # the longer side of the slice is never shown smaller


@dataclass
class Camera:
    """Maps pixels of a slice to screen pixels, in true proportions.

    Attributes:
        shape: (rows, columns) of the slice.
        spacing: (row distance, column distance), in mm or pixels.
        rows_run_up: True if row 0 is at the bottom of the screen.
        size: (width, height) of the screen area.
        scale: screen pixels per mm.
        centre: (row, column) shown in the middle.
        is_fitted: True until a person zooms or pans; a fitted slice follows the window's size.
    """

    shape: tuple[int, int] = (1, 1)
    spacing: tuple[float, float] = (1.0, 1.0)
    rows_run_up: bool = False
    size: tuple[float, float] = (1.0, 1.0)
    scale: float = 1.0
    centre: tuple[float, float] = (0.5, 0.5)
    is_fitted: bool = True

    def look_at(self, geometry: SliceGeometry, rows_run_up: bool) -> None:
        """Turns to the slices of another case and fits them."""
        self.shape, self.spacing = geometry.slice_shape, geometry.pixel_spacing
        self.rows_run_up = rows_run_up
        self.fit()

    def resize(self, width: float, height: float) -> None:
        """The screen area has another size now."""
        self.size = (max(width, 1.0), max(height, 1.0))
        if self.is_fitted:
            self.fit()

    def fit(self) -> None:
        """Shows the whole slice, as large as it can be."""
        height, width = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        free_width = max(self.size[0] - 2 * _MARGIN, 1.0)
        free_height = max(self.size[1] - 2 * _MARGIN, 1.0)
        self.scale = min(free_width / width, free_height / height)
        self.centre = (self.shape[0] / 2, self.shape[1] / 2)
        self.is_fitted = True

    def zoom(self, factor: float, about: QPointF | None = None) -> None:
        """Enlarges by `factor`; the point of the slice under `about` stays where it is."""
        about = about or QPointF(self.size[0] / 2, self.size[1] / 2)
        row, column = self.to_slice(about)
        self.scale = min(max(self.scale * factor, self._lowest), self._highest)
        self.is_fitted = False
        now = self.to_screen(row, column)
        self.pan(about.x() - now.x(), about.y() - now.y())

    def pan(self, right: float, down: float) -> None:
        """Moves the slice by screen pixels; its edge never passes the middle of the screen."""
        row_step, column_step = self._steps
        row = self.centre[0] - down / row_step
        column = self.centre[1] - right / column_step
        self.centre = (min(max(row, 0.0), self.shape[0]), min(max(column, 0.0), self.shape[1]))
        self.is_fitted = False

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(height, width) of a slice's pixel on the screen, in screen pixels."""
        return self.spacing[0] * self.scale, self.spacing[1] * self.scale

    @property
    def magnification(self) -> float:
        """Screen pixels for each pixel of the slice, along the finer side."""
        return max(min(self.pixel_size), 1e-9)

    def transform(self) -> QTransform:
        """From (column, row) of the slice to the screen."""
        row_step, column_step = self._steps
        return QTransform(
            column_step, 0.0, 0.0, row_step,
            self.size[0] / 2 - self.centre[1] * column_step,
            self.size[1] / 2 - self.centre[0] * row_step,
        )  # fmt: skip

    def to_slice(self, point: QPointF) -> tuple[float, float]:
        """(row, column) under a point of the screen."""
        row_step, column_step = self._steps
        row = self.centre[0] + (point.y() - self.size[1] / 2) / row_step
        return row, self.centre[1] + (point.x() - self.size[0] / 2) / column_step

    def to_screen(self, row: float, column: float) -> QPointF:
        """Where (row, column) of the slice is on the screen."""
        return self.transform().map(QPointF(column, row))

    def slice_on_screen(self) -> QRectF:
        """The rectangle of the screen area that the slice takes, beyond its edges too."""
        rows, columns = self.shape
        return self.transform().mapRect(QRectF(0.0, 0.0, columns, rows))

    @property
    def _steps(self) -> tuple[float, float]:
        height, width = self.pixel_size
        return (-height if self.rows_run_up else height), width

    @property
    def _lowest(self) -> float:
        sides = [n * s for n, s in zip(self.shape, self.spacing, strict=True)]
        return _SMALLEST_SLICE / max(sides)

    @property
    def _highest(self) -> float:
        return max(_LARGEST_PIXEL / min(self.spacing), self._lowest)
