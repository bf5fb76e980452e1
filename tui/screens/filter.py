"""Which requests of the history are shown."""

from __future__ import annotations

from textual import getters, on, work
from textual.app import ComposeResult
from textual.content import Content
from textual.style import Style
from textual.suggester import SuggestFromList
from textual.validation import Function
from textual.widgets import Input, Label, Static

from tokenflow_tui.client import DaemonError
from tokenflow_tui.filters import KINDS, SPANS, Filters, is_since
from tokenflow_tui.screens.dialog import Dialog

RECENT_DAYS = 30
MAX_NAMES = 12
FIELDS = {"kind": "Kind", "category": "Category", "model": "Model", "since": "Since, or a date"}


class FilterScreen(Dialog[Filters]):
    """Gives other filters, or None."""

    TITLE = "Show only"
    HINT = "→ completes · enter applies · esc leaves it"

    kind = getters.query_one("#kind", Input)
    since = getters.query_one("#since", Input)

    def __init__(self, filters: Filters) -> None:
        super().__init__()
        self._filters = filters

    def compose_box(self) -> ComposeResult:
        validators = {
            "kind": Function(lambda value: value in ("", *KINDS), "no such kind"),
            "since": Function(is_since, "today, 7 days, 30 days, or 2026-01-31"),
        }
        for name, title in FIELDS.items():
            yield Label(title, classes="-first" if name == "kind" else "")
            yield Input(
                getattr(self._filters, name),
                id=name,
                placeholder="all",
                validators=validators.get(name),
                valid_empty=True,
            )
            yield Static(classes="names", id=f"{name}-names")

    def on_mount(self) -> None:
        self._suggest("kind", list(KINDS))
        self._suggest("since", list(SPANS))
        self._ask_names()

    @work(exclusive=True, group="names", exit_on_error=False)
    async def _ask_names(self) -> None:
        try:
            rankings = await self.app.daemon.get("/api/model-rankings")
            self._suggest("category", list(rankings))
            metrics = await self.app.daemon.get("/api/metrics", days=RECENT_DAYS)
        except DaemonError:
            return  # names can be typed, too
        used = [model["model"] for model in metrics["models"] if model["model"]]
        self._suggest("model", list(dict.fromkeys(used)))

    def _suggest(self, field: str, names: list[str]) -> None:
        self.query_one(f"#{field}", Input).suggester = SuggestFromList(names, case_sensitive=False)
        links = [
            Content.styled(name, Style.from_meta({"@click": ("screen.pick", (field, name))}))
            for name in names[:MAX_NAMES]
        ]
        self.query_one(f"#{field}-names", Static).update(Content("  ").join(links))

    def action_pick(self, field: str, name: str) -> None:
        self.query_one(f"#{field}", Input).value = name

    @on(Input.Submitted)
    def _apply(self) -> None:
        fields = {name: self.query_one(f"#{name}", Input) for name in FIELDS}
        for field in fields.values():
            if not field.is_valid:
                field.focus()
                return
        self.dismiss(Filters(**{name: field.value.strip() for name, field in fields.items()}))
