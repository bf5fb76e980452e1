"""A slider for a share: by keys, click and drag."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tokenflow_tui import keymap

LEAST, MOST = 0.05, 1.0
VALUE_WIDTH = 5  # of " 100%"


class Slider(Widget, can_focus=True):
    """A share in whole percent, from LEAST to MOST."""

    BINDINGS: ClassVar[list[BindingType]] = list(keymap.SLIDER)
    DEFAULT_CSS = """
    Slider {
        height: 1;
        width: 1fr;
        min-width: 12;
        color: $foreground 80%;
        &:focus { color: $foreground; }
    }
    """

    value: reactive[float] = reactive(0.5)

    class Moved(Message):
        """By a person; setting `value` says nothing."""

        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

    def validate_value(self, value: float) -> float:
        return round(min(MOST, max(LEAST, value)), 2)

    def render(self) -> Content:
        length = self._length
        at = round((self.value - LEAST) / (MOST - LEAST) * (length - 1))
        thumb = "$accent" if self.has_focus else "$primary"
        return Content.from_markup(
            f"[$primary]{'━' * at}[/][{thumb}]●[/][$foreground 25%]{'─' * (length - 1 - at)}[/]"
            f"{self.value:>{VALUE_WIDTH}.0%}"
        )

    @property
    def _length(self) -> int:
        """Cells of the line that the thumb moves on."""
        return max(2, self.size.width - VALUE_WIDTH)

    def _move_to(self, value: float) -> None:
        before = self.value
        self.value = value
        if self.value != before:
            self.post_message(self.Moved(self.value))

    def action_move(self, by: float) -> None:
        self._move_to(self.value + by)

    def action_least(self) -> None:
        self._move_to(LEAST)

    def action_most(self) -> None:
        self._move_to(MOST)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._drag_to(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._drag_to(event.x)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _drag_to(self, x: int) -> None:
        self._move_to(LEAST + x / (self._length - 1) * (MOST - LEAST))
