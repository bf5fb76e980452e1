"""A text that is read, not written: the keys of lists scroll it."""

from __future__ import annotations

from textual.scroll_view import ScrollView


class Reading(ScrollView, can_focus=True):
    """What `keymap.LIST` asks for."""

    def action_cursor_down(self) -> None:
        self.scroll_down(animate=False)

    def action_cursor_up(self) -> None:
        self.scroll_up(animate=False)

    def action_first(self) -> None:
        self.scroll_home(animate=False)

    def action_last(self) -> None:
        self.scroll_end(animate=False)
