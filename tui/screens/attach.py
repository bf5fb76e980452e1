"""Attach a file: its text goes along with the next prompt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from tokenflow_tui.files import PathSuggester, read_text


class AttachScreen(ModalScreen[str | None]):
    """Gives the file's text with its name, or None."""

    CSS = """
    AttachScreen { align: center middle; background: $background 60%; }
    AttachScreen #attach {
        width: 72; max-width: 95%; height: auto; padding: 1 2;
        background: $surface; border: round $primary;
    }
    AttachScreen Input { border: none; height: 1; padding: 0 1; background: $panel; }
    AttachScreen Static { color: $text-error; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="attach.close")
    ]

    def compose(self) -> ComposeResult:
        with Vertical(id="attach"):
            yield Label("Attach the text of a file")
            yield Input(placeholder="path; → completes", suggester=PathSuggester())
            yield Static(markup=False)

    @on(Input.Submitted)
    def _read(self, event: Input.Submitted) -> None:
        file = Path(event.value.strip()).expanduser()
        try:
            text = read_text(file)
        except ValueError as error:
            self.query_one(Static).update(str(error))
            return
        # Longer than any in the file, so that none of them ends it.
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        self.dismiss(f"{file.name}:\n{fence}\n{text.rstrip()}\n{fence}")
