"""Where one types a prompt: grows with the text, and Enter sends."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message

from tokenflow_tui import keymap
from tokenflow_tui.widgets.draft import DraftArea


class Composer(DraftArea):
    """A draft that is kept until it is sent."""

    BINDINGS: ClassVar[list[BindingType]] = list(keymap.COMPOSER)

    class Sent(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def action_send(self) -> None:
        if self.text.strip():
            self.post_message(self.Sent(self.text))

    def action_newline(self) -> None:
        self.insert("\n")

    def clear_sent(self) -> None:
        """The text has arrived where it was sent to."""
        self.text = ""
        self.save()
