"""Who gets a press, a drag or a turn of the wheel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from math import exp

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent

from sdseg_gui.canvas.slice_view import SliceView
from sdseg_gui.document import Document
from sdseg_gui.tools.base import Pointer, Tool
from sdseg_gui.view_state import ViewState

Button = Qt.MouseButton
Key = Qt.Key
_HANDLE_REACH = 7.0  # screen pixels
_NOTCH = 120  # what Qt counts for one click of a wheel
_ZOOM_STEP = 1.2
_BRUSH_STEP = 1.12
_WINDOW_DRAG = 300.0  # screen pixels that move the level by one width, or e-fold the width


class Drag(Enum):
    """What the pressed button does."""

    NONE = auto()
    TOOL = auto()
    PAN = auto()
    WINDOW = auto()


class MouseRouter(QObject):
    """Sends what the mouse does to the tool, the camera or the view state."""

    hovered = Signal()  # the pointer, a modifier or the kind of drag changed
    # Python empties a window that is garbage before Qt takes it apart and sends it last events;
    # they find this.
    _handlers: Mapping[QEvent.Type, Callable[..., bool]] = {}

    def __init__(
        self,
        canvas: SliceView,
        document: Document,
        view: ViewState,
        tools: Mapping[str, Tool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas, self._document, self._view, self._tools = canvas, document, view, tools
        self._drag = Drag.NONE
        self._button = Button.NoButton
        self._tool: Tool | None = None
        self._at: QPointF | None = None
        self._modifiers = Qt.KeyboardModifier.NoModifier
        self._held: set[int] = set()
        self._turned = 0
        self._handlers = {
            QEvent.Type.MouseButtonPress: self._press,
            QEvent.Type.MouseButtonDblClick: self._press,
            QEvent.Type.MouseMove: self._move,
            QEvent.Type.MouseButtonRelease: self._release,
            QEvent.Type.Wheel: self._wheel,
            QEvent.Type.Enter: self._enter,
            QEvent.Type.Leave: self._leave,
            QEvent.Type.KeyPress: self._key_press,
            QEvent.Type.KeyRelease: self._key_release,
            QEvent.Type.FocusOut: self._focus_out,
        }
        canvas.viewport().installEventFilter(self)
        canvas.installEventFilter(self)

    @property
    def drag(self) -> Drag:
        """What is going on."""
        return self._drag

    @property
    def pans_next(self) -> bool:
        """True if a left drag would pan."""
        return Key.Key_Space in self._held or self._view.tool == "pan"

    @property
    def current_tool(self) -> Tool | None:
        """The tool that a left press would reach."""
        return self._tools.get(self._view.tool)

    def pointer(self) -> Pointer | None:
        """Where the mouse is, or None if it is elsewhere or no case is open."""
        if self._at is None or self._document.case is None:
            return None
        camera = self._canvas.look()
        row, column = camera.to_slice(self._at)
        height, width = camera.pixel_size
        return Pointer(
            row,
            column,
            bool(self._modifiers & Qt.KeyboardModifier.ControlModifier),
            bool(self._modifiers & Qt.KeyboardModifier.ShiftModifier),
            (_HANDLE_REACH / height, _HANDLE_REACH / width),
        )

    def at(self) -> QPointF | None:
        """Where the mouse is on the screen area."""
        return self._at

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Takes what concerns the mouse; everything else goes its way."""
        handler = self._handlers.get(event.type())
        # While a window goes, Qt still sends Leave and FocusOut to a view whose scene is gone.
        if handler is None or not self._canvas.is_alive():
            return False
        is_key = isinstance(event, QKeyEvent) or event.type() == QEvent.Type.FocusOut
        if (watched is self._canvas) != is_key:
            return False  # mouse events count on the viewport only, keys on the view only
        return handler(event)

    def _press(self, event: QMouseEvent) -> bool:
        self._note(event)
        if self._drag is Drag.NONE and self._document.case is not None:
            self._drag = self._drag_for(event.button())
            self._button = event.button()
            self._tool = self.current_tool if self._drag is Drag.TOOL else None
            pointer = self.pointer()
            if self._tool is not None and pointer is not None:
                self._tool.press(pointer)
            self.hovered.emit()
        return True

    def _drag_for(self, button: Qt.MouseButton) -> Drag:
        if button == Button.MiddleButton or (button == Button.LeftButton and self.pans_next):
            return Drag.PAN
        if button == Button.RightButton or (
            button == Button.LeftButton and Key.Key_W in self._held
        ):
            return Drag.NONE if self._is_colour() else Drag.WINDOW
        return Drag.TOOL if button == Button.LeftButton else Drag.NONE

    def _move(self, event: QMouseEvent) -> bool:
        before = self._at
        self._note(event)
        moved = event.position() - (before or event.position())
        pointer = self.pointer()
        if self._drag is Drag.TOOL and self._tool is not None and pointer is not None:
            self._tool.move(pointer)
        elif self._drag is Drag.PAN:
            self._canvas.look().pan(moved.x(), moved.y())
            self._canvas.apply_camera()
        elif self._drag is Drag.WINDOW:
            self._drag_window(moved)
        self.hovered.emit()
        return True

    def _release(self, event: QMouseEvent) -> bool:
        self._note(event)
        if self._drag is not Drag.NONE and event.button() == self._button:
            pointer, tool = self.pointer(), self._tool
            self._drag, self._tool = Drag.NONE, None
            if tool is not None and pointer is not None:
                tool.release(pointer)
            self.hovered.emit()
        return True

    def _drag_window(self, moved: QPointF) -> None:
        """To the right widens, down raises the level."""
        level, width = self._view.window
        self._view.set_window(
            level + moved.y() * width / _WINDOW_DRAG, width * exp(moved.x() / _WINDOW_DRAG)
        )

    def _wheel(self, event: QWheelEvent) -> bool:
        if self._document.case is None:
            return True
        self._at, self._modifiers = event.position(), event.modifiers()
        # Some systems turn a wheel with Shift into a sideways one.
        delta = event.angleDelta().y() or event.angleDelta().x()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        notches = delta / _NOTCH
        if shift and not control:
            self._view.set_brush_diameter(self._view.brush_diameter * _BRUSH_STEP**notches)
        elif control or self._view.slice_count <= 1:
            self._canvas.look().zoom(_ZOOM_STEP**notches, event.position())
            self._canvas.apply_camera()
        else:
            self._turn_slices(delta)
        self.hovered.emit()
        return True

    def _turn_slices(self, delta: int) -> None:
        """Towards the reader is onward; small turns of a touchpad add up."""
        if self._turned * delta < 0:
            self._turned = 0
        self._turned += delta
        notches = int(self._turned / _NOTCH)
        self._turned -= notches * _NOTCH
        if notches:
            last = self._view.slice_count - 1
            self._view.set_slice(min(max(self._view.slice_index - notches, 0), last))

    def _enter(self, event: QEvent) -> bool:
        self.hovered.emit()
        return False

    def _leave(self, event: QEvent) -> bool:
        self._at = None
        self.hovered.emit()
        return False

    def _key_press(self, event: QKeyEvent) -> bool:
        if event.key() in (Key.Key_Control, Key.Key_Shift):
            self._modifiers |= _modifier(event)
            self.hovered.emit()
            return False
        if event.key() in (Key.Key_Space, Key.Key_W) and self._document.case is not None:
            self._held.add(event.key())
            self.hovered.emit()
            return True
        if event.key() == Key.Key_Delete:
            tool = self.current_tool
            return tool is not None and tool.delete()
        return False

    def _key_release(self, event: QKeyEvent) -> bool:
        if event.key() in (Key.Key_Control, Key.Key_Shift):
            self._modifiers &= ~_modifier(event)
            self.hovered.emit()
        elif event.key() in self._held and not event.isAutoRepeat():
            self._held.discard(event.key())
            self.hovered.emit()
            return True
        return False

    def _focus_out(self, event: QEvent) -> bool:
        self._held.clear()
        self.hovered.emit()
        return False

    def _note(self, event: QMouseEvent) -> None:
        self._at, self._modifiers = event.position(), event.modifiers()

    def _is_colour(self) -> bool:
        case = self._document.case
        return case is not None and case.scan.is_colour


def _modifier(event: QKeyEvent) -> Qt.KeyboardModifier:
    """The modifier that a key is; Qt's own flags lag behind the key by one event."""
    if event.key() == Key.Key_Control:
        return Qt.KeyboardModifier.ControlModifier
    return Qt.KeyboardModifier.ShiftModifier
