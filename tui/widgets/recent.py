"""The latest requests, for the side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError
from tokenflow_tui.numbers import age
from tokenflow_tui.visible import visible

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

COUNT = 50
PREVIEW_CHARS = 22


class Recent(OptionList):
    app: TokenFlowApp
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.LIST)

    class Chosen(Message):
        def __init__(self, request_id: str) -> None:
            super().__init__()
            self.request_id = request_id

    def on_mount(self) -> None:
        self.refresh_recent()

    @work(exclusive=True, group="recent", exit_on_error=False)
    async def refresh_recent(self) -> None:
        try:
            page = await self.app.daemon.get("/api/history", limit=COUNT)
        except DaemonError:
            return  # the banner says it
        self.clear_options()
        self.add_options(
            Option(
                Content.from_markup(
                    "$preview [dim]$age[/]",
                    preview=_shortened(request.get("preview", "")) or request["kind"],
                    age=age(request["created_at"]),
                ),
                id=request["id"],
            )
            for request in page["requests"]
            if request["kind"] in ("generate", "select", "chat")
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id:
            self.post_message(self.Chosen(event.option.id))


def _shortened(text: str) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= PREVIEW_CHARS else f"{line[: PREVIEW_CHARS - 1]}…"
