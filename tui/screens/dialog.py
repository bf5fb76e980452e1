"""Small dialogs over a screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Static

from tokenflow_tui import keymap

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp


class Dialog(ModalScreen[ScreenResultType]):
    """A box with a title; escape leaves it and gives None."""

    app: TokenFlowApp
    CSS_PATH = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.DIALOG)
    TITLE = ""
    HINT = "enter applies · esc leaves it"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self.title
            yield from self.compose_box()
            yield Static(self.HINT, classes="hint", markup=False)

    def compose_box(self) -> ComposeResult:
        yield from ()


class ConfirmScreen(Dialog[bool]):
    """Yes or no."""

    BINDINGS: ClassVar[list[BindingType]] = list(keymap.CONFIRM)
    HINT = "y yes · n no"

    def __init__(self, question: str, about: str) -> None:
        super().__init__()
        self.title = question
        self._about = about

    def compose_box(self) -> ComposeResult:
        yield Static(Content(self._about), classes="about")
