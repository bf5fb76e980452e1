"""Asks an earlier prompt again, otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from textual import getters, on, work
from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.validation import Function
from textual.widgets import Input, Label, Static

from tokenflow_tui.client import DaemonError
from tokenflow_tui.screens.dialog import Dialog
from tokenflow_tui.screens.options import is_compress


@dataclass(frozen=True)
class Rerun:
    model: str
    compress: str


class RerunScreen(Dialog[Rerun]):
    """Gives the settings to ask with, or None."""

    TITLE = "Ask again with"
    HINT = "→ completes · enter asks · esc leaves it"

    model = getters.query_one("#model", Input)
    compress = getters.query_one("#compress", Input)

    def compose_box(self) -> ComposeResult:
        settings = self.app.state.settings
        yield Label("Model: auto, or the id of one", classes="-first")
        yield Input(settings.model, id="model")
        yield Static(classes="names", markup=False)
        yield Label("Compress: off, auto, or the share of the tokens to keep")
        yield Input(
            settings.compress,
            id="compress",
            suggester=SuggestFromList(["off", "auto", "0.5"]),
            validators=[Function(is_compress, "off, auto, or a number up to 1")],
        )

    def on_mount(self) -> None:
        self._suggest_models()

    @work(exclusive=True, group="names", exit_on_error=False)
    async def _suggest_models(self) -> None:
        try:
            listed = await self.app.daemon.get("/v1/models")
        except DaemonError:
            return  # names can be typed, too
        names = ["auto", *(model["id"] for model in listed["data"] if model["id"] != "auto")]
        self.model.suggester = SuggestFromList(names, case_sensitive=False)
        self.query_one(".names", Static).update(", ".join(names))

    @on(Input.Submitted)
    def _apply(self) -> None:
        if self.compress.is_valid:
            self.dismiss(Rerun(self.model.value.strip() or "auto", self.compress.value.strip()))
