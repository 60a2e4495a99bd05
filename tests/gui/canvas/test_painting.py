"""Painting on the canvas: exact voxels for known paths of the pointer."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from PySide6.QtCore import Qt

from engine.domain.label_map import Origin
from engine.domain.labels import LabelList

CONTROL = Qt.KeyboardModifier.ControlModifier


def near(shape, spacing, start, end, radius) -> np.ndarray:
    """Pixels whose centre lies within `radius` of a line; slow, plain and independent."""
    found = np.zeros(shape, dtype=bool)
    first, last = (np.array(p) * spacing for p in (start, end))
    for row in range(shape[0]):
        for column in range(shape[1]):
            centre = np.array([row + 0.5, column + 0.5]) * spacing
            along = last - first
            part = (
                0.0
                if not along.any()
                else np.clip((centre - first) @ along / (along @ along), 0, 1)
            )
            found[row, column] = np.linalg.norm(centre - first - part * along) <= radius + 1e-9
    return found


def test_a_fast_stroke_has_no_gaps_and_exact_voxels(open_case) -> None:
    bench = open_case()
    bench.view.set_slice(2)
    bench.view.set_brush_diameter(7.0)
    bench.drag((8.5, 10.5), (30.5, 40.5))
    expected = near((40, 50), (1, 1), (8.5, 10.5), (30.5, 40.5), 3.5)
    assert (bench.labels[2] == expected).all()
    assert bench.labels[[0, 1, 3, 4]].sum() == 0
    assert (bench.case.label_map.origins.read(2)[expected] == Origin.HAND).all()


def test_anisotropic_pixels_give_a_round_brush_in_mm(open_case) -> None:
    bench = open_case(spacing=(1.0, 2.0, 0.5))
    bench.view.set_slice(0)
    bench.view.set_brush_diameter(9.0)
    bench.drag((20.5, 25.5))
    assert (bench.labels[0] == near((40, 50), (2.0, 0.5), (20.5, 25.5), (20.5, 25.5), 4.5)).all()


@pytest.mark.parametrize("plane", [1, 2])
def test_planes_that_are_not_axial(open_case, plane: int) -> None:
    bench = open_case(shape=(30, 24, 20), spacing=(1.0, 1.5, 2.0), plane=plane)
    bench.view.set_slice(7)
    bench.view.set_brush_diameter(6.0)
    bench.drag((12.5, 9.5), (20.5, 14.5))
    painted = bench.labels.take(7, axis=plane)
    spacing = (1.0, 2.0) if plane == 1 else (1.0, 1.5)
    assert (painted == near(painted.shape, spacing, (12.5, 9.5), (20.5, 14.5), 3.0)).all()
    assert bench.labels.sum() == painted.sum()
    assert bench.screen((29.5, 10)).y() < bench.screen((0.5, 10)).y()  # the head is up


def test_one_stroke_is_one_step_and_undo_restores(open_case) -> None:
    bench = open_case()
    bench.document.set_labels(LabelList().added("Liver"), "Add Liver")
    bench.view.set_active_label(1)
    bench.drag((10, 10), (12, 20), (30, 22), (31, 40))
    first = bench.labels.copy()
    bench.drag((20, 5), (20, 45), (25, 45))
    second = bench.labels.copy()
    bench.drag((10, 10), (31, 40), keys=CONTROL)
    assert bench.labels.sum() < second.sum()
    bench.document.undo()
    assert (bench.labels == second).all()
    bench.document.undo()
    assert (bench.labels == first).all()
    bench.document.undo()
    assert bench.labels.sum() == 0
    assert bench.case.label_map.origins.touched == []
    bench.document.redo()
    assert (bench.labels == first).all()


def test_the_first_stroke_of_a_case_adds_a_label(open_case) -> None:
    bench = open_case()
    assert len(bench.case.labels) == 0
    bench.drag((10, 10), (20, 20))
    assert [label.name for label in bench.document.case.labels] == ["Label 1"]
    assert bench.view.active_label == 1
    assert bench.labels.max() == 1


def test_control_erases_and_so_does_the_eraser(open_case) -> None:
    bench = open_case()
    bench.view.set_brush_diameter(10.0)
    bench.drag((20, 20), (20, 30))
    bench.drag((20, 20), keys=CONTROL)
    assert bench.labels[bench.view.slice_index][20, 20] == 0
    assert bench.labels[bench.view.slice_index][20, 30] == 1
    bench.view.set_tool("eraser")
    bench.drag((20, 20), (20, 32))
    assert bench.labels.sum() == 0


def test_nothing_is_written_into_a_locked_label(open_case) -> None:
    bench = open_case()
    bench.view.set_brush_diameter(10.0)
    bench.drag((20, 20), (20, 30))
    before = bench.labels.copy()
    labels = bench.case.labels.changed(1, locked=True).added("Other")
    bench.document.set_labels(labels, "Lock")
    bench.drag((10, 25), (30, 25))  # the active label is locked itself
    assert (bench.labels == before).all()
    bench.view.set_active_label(2)
    bench.drag((10, 25), (30, 25))
    assert (bench.labels[before == 1] == 1).all()
    assert (bench.labels == 2).any()
    bench.view.set_tool("eraser")
    bench.drag((20, 20), (20, 30))
    assert (bench.labels[before == 1] == 1).all()


def test_escape_takes_the_unfinished_stroke_back(open_case) -> None:
    bench = open_case()
    bench.drag((10, 10), (10, 20))
    before, name = bench.labels.copy(), bench.document.undo_name
    bench.press((30, 10))
    bench.move((30, 40))
    assert (bench.labels != before).any()
    assert bench.canvas.cancel_shape()
    bench.move((35, 40))
    bench.release((35, 40))
    assert (bench.labels == before).all()
    assert bench.document.undo_name == name
    assert not bench.canvas.cancel_shape()


def test_a_stroke_may_go_on_in_the_next_slice(open_case) -> None:
    bench = open_case()
    bench.view.set_slice(1)
    bench.view.set_brush_diameter(3.0)
    bench.press((10.5, 10.5))
    bench.wheel(-1, (10.5, 10.5))
    bench.move((30.5, 30.5))
    bench.release((30.5, 30.5))
    assert bench.labels[1][10, 10] == 1
    assert bench.labels[2][30, 30] == 1
    assert bench.labels[2][20, 20] == 0  # no line across slices
    bench.document.undo()
    assert bench.labels.sum() == 0


def test_unloaded_slices_stay_untouched(open_case) -> None:
    bench = open_case(loaded=np.array([True, True, False, True, True]))
    bench.view.set_slice(2)
    bench.drag((10, 10), (20, 20))
    assert bench.labels.sum() == 0
    assert not bench.document.can_undo
    assert bench.canvas.scene_view.hatch.isVisible()


def test_painting_shows_a_hidden_overlay(open_case) -> None:
    bench = open_case()
    bench.view.set_overlay(visible=False)
    bench.drag((10, 10), (20, 20))
    assert bench.view.overlay_visible


def test_true_survives_five_hundred_repaints(open_case, qapp) -> None:
    bench = open_case()
    bench.press((20, 10))
    gc.collect()
    before = sys.getrefcount(True)
    for turn in range(500):
        bench.move((20 + 8 * np.sin(turn), 10 + turn % 30))
        bench.canvas.scene_view.viewport().repaint()
        qapp.processEvents()
    bench.release((20, 10))
    gc.collect()
    assert abs(sys.getrefcount(True) - before) < 50
