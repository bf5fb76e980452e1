"""Jump: a letter on everything that can be focused; the letter goes there."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class JumpScreen(ModalScreen[None]):
    CSS = """
    JumpScreen { background: $background 40%; layers: letters; }
    JumpScreen Static {
        layer: letters; width: 3; height: 1; background: $accent; color: $background;
        text-style: bold; text-align: center; position: absolute;
    }
    """

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._targets: dict[str, Widget] = dict(
            zip(LETTERS, (widget for widget in below.focus_chain if widget.region), strict=False)
        )

    def compose(self) -> ComposeResult:
        for letter, widget in self._targets.items():
            label = Static(letter)
            label.styles.offset = widget.region.offset
            yield label

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss()
        if target := self._targets.get(event.key):
            self.app.call_later(target.focus)
