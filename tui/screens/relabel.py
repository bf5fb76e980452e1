"""Says what a request should have been classified as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError
from tokenflow_tui.screens.dialog import Dialog

TAKE_BACK = "take back"


@dataclass(frozen=True)
class Relabelled:
    """`category` None takes a correction back."""

    category: str | None


class Categories(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.LIST)


class RelabelScreen(Dialog[Relabelled]):
    """Gives Relabelled, or None."""

    TITLE = "Should have been"
    HINT = "enter applies · tab to the other · esc leaves it"

    categories = getters.query_one(Categories)

    def __init__(self, found: str, corrected: str) -> None:
        super().__init__()
        self._found, self._corrected = found, corrected

    def compose_box(self) -> ComposeResult:
        yield Categories()
        yield Label("Another")
        yield Input(placeholder="a category of your own")

    def on_mount(self) -> None:
        self.categories.focus()
        self._ask_categories()

    @work(exclusive=True, group="names", exit_on_error=False)
    async def _ask_categories(self) -> None:
        try:
            rankings = await self.app.daemon.get("/api/model-rankings")
        except DaemonError as error:
            self.app.notify(str(error), severity="error")
            return
        self.categories.add_options(
            Option(self._line(name, ranking["title"]), id=f"category {name}")
            for name, ranking in rankings.items()
        )
        if self._corrected:
            self.categories.add_option(Option("Take the correction back", id=TAKE_BACK))
        self.categories.highlighted = 0

    def _line(self, name: str, title: str) -> Content:
        note = "found" if name == self._found else "corrected" if name == self._corrected else ""
        return Content.from_markup(
            "$name [dim]$title[/]  [$accent]$note[/]", name=name.ljust(18), title=title, note=note
        )

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        chosen = event.option_id or ""
        self.dismiss(Relabelled(None if chosen == TAKE_BACK else chosen.removeprefix("category ")))

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(Relabelled(event.value.strip()))
