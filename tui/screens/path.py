"""Name a file, to read it or to write it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from tokenflow_tui.files import PathSuggester

T = TypeVar("T")


class PathScreen(ModalScreen[T | None], Generic[T]):
    """Gives what `use` makes of the file; what keeps it from that (ValueError) is said, and the
    name can be corrected."""

    CSS = """
    PathScreen { align: center middle; background: $background 60%; }
    PathScreen #path {
        width: 72; max-width: 95%; height: auto; padding: 1 2;
        background: $surface; border: round $primary;
    }
    PathScreen Input { border: none; height: 1; padding: 0 1; background: $panel; }
    PathScreen Static { color: $text-error; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="path.close")
    ]

    def __init__(self, title: str, use: Callable[[Path], T], proposed: str = "") -> None:
        super().__init__()
        self._title, self._use, self._proposed = title, use, proposed

    def compose(self) -> ComposeResult:
        with Vertical(id="path"):
            yield Label(self._title, markup=False)
            yield Input(self._proposed, placeholder="path; → completes", suggester=PathSuggester())
            yield Static(id="problem", markup=False)

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            return
        try:
            made = self._use(Path(event.value.strip()).expanduser())
        except (ValueError, RuntimeError) as error:  # RuntimeError: ~ of a user that is not there
            self.query_one("#problem", Static).update(str(error))
        else:
            self.dismiss(made)
