"""Slices, zoom, window, overlay, tools, labels, undo."""

from __future__ import annotations

from engine.domain.labels import Label
from engine.imaging.window_level import PRESETS, default_window
from sdseg_gui.actions.context import Context
from sdseg_gui.actions.registry import Condition, handles, has_case

BRUSH_STEP = 1.25


def _has_slices(context: Context) -> bool:
    return context.view.slice_count > 1


@handles("view.previous_slice", _has_slices)
def previous_slice(context: Context) -> None:
    """Slice before."""
    context.view.set_slice(context.view.slice_index - 1)


@handles("view.next_slice", _has_slices)
def next_slice(context: Context) -> None:
    """Slice behind."""
    context.view.set_slice(context.view.slice_index + 1)


@handles("view.first_slice", _has_slices)
def first_slice(context: Context) -> None:
    """First slice."""
    context.view.set_slice(0)


@handles("view.last_slice", _has_slices)
def last_slice(context: Context) -> None:
    """Last slice."""
    context.view.set_slice(context.view.slice_count - 1)


@handles("view.fit", has_case)
def fit(context: Context) -> None:
    """Whole slice."""
    context.canvas.fit()


@handles("view.zoom_in", has_case)
def zoom_in(context: Context) -> None:
    """Larger."""
    context.canvas.zoom_in()


@handles("view.zoom_out", has_case)
def zoom_out(context: Context) -> None:
    """Smaller."""
    context.canvas.zoom_out()


@handles("view.toggle_overlay", has_case, lambda context: context.view.overlay_visible)
def toggle_overlay(context: Context) -> None:
    """Shows or hides all labels."""
    context.view.set_overlay(visible=not context.view.overlay_visible)


@handles("view.outline", has_case, lambda context: context.view.outline_only)
def outline(context: Context) -> None:
    """Edges only, or filled."""
    context.view.set_overlay(outline=not context.view.outline_only)


def _is_grey(context: Context) -> bool:
    case = context.document.case
    return case is not None and not case.scan.is_colour


def _is_ct(context: Context) -> bool:
    case = context.document.case
    return case is not None and case.scan.unit == "HU"


def _bind_preset(name: str) -> None:
    @handles(f"view.window_preset.{name}", _is_grey)
    def use_preset(context: Context) -> None:
        """The preset's level and width."""
        if not _is_ct(context):
            context.notifier.say("Window presets are in HU; this scan may have other units.")
        context.view.set_window(*PRESETS[name])


for _name in PRESETS:
    _bind_preset(_name)


@handles("view.window_reset", _is_grey)
def reset_window(context: Context) -> None:
    """The window of the file, or of the picture's own values."""
    case = context.document.case
    assert case is not None
    context.view.set_window(*default_window(case.scan))


def _is_tool(name: str) -> Condition:
    return lambda context: context.view.tool == name


def _bind_tool(name: str) -> None:
    @handles(f"tool.{name}", has_case, _is_tool(name))
    def use_tool(context: Context) -> None:
        """Makes it the active tool."""
        context.view.set_tool(name)


for _tool in ("pan", "brush", "eraser", "box"):
    _bind_tool(_tool)


@handles("tool.smaller_brush", has_case)
def smaller_brush(context: Context) -> None:
    """Smaller by a fifth."""
    context.view.set_brush_diameter(context.view.brush_diameter / BRUSH_STEP)


@handles("tool.larger_brush", has_case)
def larger_brush(context: Context) -> None:
    """Larger by a quarter."""
    context.view.set_brush_diameter(context.view.brush_diameter * BRUSH_STEP)


def _has_box(context: Context) -> bool:
    return context.document.case is not None and context.document.case.box is not None


@handles("box.clear", _has_box)
def clear_box(context: Context) -> None:
    """Removes the box."""
    context.document.set_box(None)


@handles("edit.undo", lambda context: context.document.can_undo)
def undo(context: Context) -> None:
    """Takes the last step back."""
    name = context.document.undo_name
    context.document.undo()
    context.notifier.say(f"Undone: {name}")


@handles("edit.redo", lambda context: context.document.can_redo)
def redo(context: Context) -> None:
    """Makes the step again."""
    name = context.document.redo_name
    context.document.redo()
    context.notifier.say(f"Redone: {name}")


@handles("label.add", has_case)
def add_label(context: Context, name: str = "") -> None:
    """Adds a label and makes it the active one."""
    case = context.document.case
    assert case is not None
    labels = case.labels.added(name or f"Label {len(case.labels) + 1}")
    added = labels.labels[-1]
    context.document.set_labels(labels, f"Add {added.name}")
    context.view.set_active_label(added.id)


def _has_labels(context: Context) -> bool:
    return context.document.case is not None and len(context.document.case.labels) > 0


def _labels(context: Context) -> tuple[Label, ...]:
    case = context.document.case
    return case.labels.labels if case else ()


def _step_label(context: Context, step: int) -> None:
    labels = _labels(context)
    ids = [label.id for label in labels]
    place = ids.index(context.view.active_label) if context.view.active_label in ids else -step
    context.view.set_active_label(ids[(place + step) % len(ids)])


@handles("label.next", _has_labels)
def next_label(context: Context) -> None:
    """Next label."""
    _step_label(context, 1)


@handles("label.previous", _has_labels)
def previous_label(context: Context) -> None:
    """Label before."""
    _step_label(context, -1)
