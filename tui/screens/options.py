"""How the next prompts are sent: the model, compression, the system prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.validation import Function, Integer, Number
from textual.widgets import Footer, Input, Label, Static, TextArea

from tokenflow_tui.client import DaemonError

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp


def is_compress(value: str) -> bool:
    """off, auto, or the share of the tokens to keep."""
    if value in ("off", "auto"):
        return True
    try:
        return 0 < float(value) <= 1
    except ValueError:
        return False


class OptionsScreen(ModalScreen[None]):
    """Changes the settings as one types; what is not valid changes nothing."""

    app: TokenFlowApp
    CSS_PATH = "options.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+t", "close", "Close", id="options.close")
    ]

    model = getters.query_one("#model", Input)
    compress = getters.query_one("#compress", Input)
    temperature = getters.query_one("#temperature", Input)
    max_tokens = getters.query_one("#max-tokens", Input)
    system = getters.query_one("#system", TextArea)

    def compose(self) -> ComposeResult:
        settings = self.app.state.settings
        with Vertical(id="options"):
            yield Label("Model: auto, or the id of one")
            yield Input(settings.model, id="model", placeholder="auto")
            yield Static(id="models")
            yield Label("Compress: off, auto, or the share of the tokens to keep")
            yield Input(
                settings.compress,
                id="compress",
                suggester=SuggestFromList(["off", "auto", "0.5"]),
                validators=[Function(is_compress, "off, auto, or a number up to 1")],
            )
            yield Label("Temperature, 0 to 2")
            yield Input(f"{settings.temperature:g}", id="temperature", validators=[Number(0, 2)])
            yield Label("Tokens of an answer, at most")
            yield Input(str(settings.max_tokens), id="max-tokens", validators=[Integer(1)])
            yield Label("System prompt")
            yield TextArea(settings.system, id="system")
        yield Footer()

    def on_mount(self) -> None:
        self._suggest_models()

    @work(exclusive=True, exit_on_error=False)
    async def _suggest_models(self) -> None:
        try:
            listed = await self.app.daemon.get("/v1/models")
        except DaemonError:
            return
        names = [model["id"] for model in listed["data"]]
        self.model.suggester = SuggestFromList(["auto", *names], case_sensitive=False)
        self.query_one("#models", Static).update(", ".join(names), layout=True)

    @on(Input.Changed)
    def _take(self, event: Input.Changed) -> None:
        if event.validation_result is not None and not event.validation_result.is_valid:
            return
        settings, value = self.app.state.settings, event.value.strip()
        if event.input is self.model:
            settings.model = value or "auto"
        elif event.input is self.compress:
            settings.compress = value
        elif event.input is self.temperature:
            settings.temperature = float(value)
        elif event.input is self.max_tokens:
            settings.max_tokens = int(value)

    def action_close(self) -> None:
        self.app.state.settings.system = self.system.text.strip()
        self.app.state.save_settings()
        self.dismiss()
