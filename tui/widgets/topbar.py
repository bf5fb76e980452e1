"""The line at the top: where one is, and how the daemon does."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from tokenflow_tui import keymap
from tokenflow_tui.numbers import dollars, tokens

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

# Below, the line has no room for what was saved.
FULL_WIDTH = 92


class TopBar(Horizontal):
    """Every screen's first line. `mode` is the one that is shown."""

    app: TokenFlowApp

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def compose(self) -> ComposeResult:
        yield Static(Content.from_markup("[b $primary]TokenFlow[/]"), classes="brand")
        for mode, key, title in keymap.MODES:
            link = Content.from_markup(
                f"[@click=app.show('{mode}')]{title}[/] [dim]{key.partition(',')[0].upper()}[/]"
            )
            yield Static(link, classes="mode -current" if mode == self._mode else "mode")
        yield Static(classes="status")

    def on_resize(self) -> None:
        self.refresh_status()

    def refresh_status(self) -> None:
        """Where nothing has changed, nothing is laid out anew, which one would feel in typing."""
        status, says = self.query_one(".status", Static), self._status()
        if says != status.content:
            status.update(says)

    def _status(self) -> Content:
        port = f":{urlsplit(self.app.daemon.url).port or 80}"
        health = self.app.health
        if health is None:
            return Content.from_markup("[$error]○[/] [dim]$port[/]", port=port)
        light = "[$success]●[/]" if health["status"] == "ok" else "[$warning]●[/]"
        today = self.app.today
        if not today or self.app.size.width < FULL_WIDTH:
            return Content.from_markup(f"{light} [dim]$port[/]", port=port)
        return Content.from_markup(
            f"{light} [dim]$port ·[/] $saved [dim]tokens saved in 24 h ·[/] $cost",
            port=port,
            saved=tokens(today["saved_tokens"]),
            cost=dollars(today["cost_usd"]),
        )
