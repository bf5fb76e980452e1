"""A text that one writes, kept on disk: nothing typed is ever lost."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widgets import TextArea

from tokenflow_tui import keymap
from tokenflow_tui.visible import visible

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

SAVE_AFTER_S = 0.4


class DraftArea(TextArea):
    """A TextArea whose text is kept on disk as the draft `name`."""

    app: TokenFlowApp
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.DRAFT)

    def __init__(self, name: str, placeholder: str) -> None:
        super().__init__(soft_wrap=True, show_line_numbers=False, placeholder=placeholder)
        self._draft_name = name

    def on_mount(self) -> None:
        self.text = self.app.state.draft(self._draft_name)
        self.move_cursor(self.document.end)
        self._saving = self.set_timer(SAVE_AFTER_S, self.save)

    def on_unmount(self) -> None:
        self.save()

    def on_text_area_changed(self) -> None:
        self._saving.stop()
        self._saving = self.set_timer(SAVE_AFTER_S, self.save)

    def get_line(self, line_index: int) -> Text:
        return Text(visible(self.document.get_line(line_index)), end="", no_wrap=True)

    def save(self) -> None:
        self.app.state.save_draft(self._draft_name, self.text)

    def action_edit(self) -> None:
        """In $VISUAL or $EDITOR; what is written there comes back."""
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not command:
            self.app.notify("Set $EDITOR to write there", severity="warning")
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "prompt.md")
            file.write_text(self.text, "utf-8")
            try:
                with self.app.suspend():
                    subprocess.run([*shlex.split(command), str(file)], check=True)
                self.text = file.read_text("utf-8").rstrip("\n")
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self.app.notify(f"{command}: {error}", severity="error")
        self.move_cursor(self.document.end)
        self.focus()
