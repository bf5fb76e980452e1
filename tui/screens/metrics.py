"""Metrics: what was asked, saved and paid over a period, and how quick the answers were."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError, Unreachable
from tokenflow_tui.figures import FIGURES, PERIODS, buckets, short
from tokenflow_tui.numbers import dollars, tokens
from tokenflow_tui.widgets.banner import Banner
from tokenflow_tui.widgets.card import Card
from tokenflow_tui.widgets.figures_table import Column, FiguresTable, Row
from tokenflow_tui.widgets.plot import Plot
from tokenflow_tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

REFRESH_S = 10.0
RETRY_S = 2.0
# Long periods of a long history take the daemon a second: asking may take a tenth of its time.
PAUSE_PER_COST = 10.0
# The plot beside the chosen one, where there is room for two.
BESIDE = next(figure for figure in FIGURES if figure.name == "first-token")
BESIDE_ITSELF = next(figure for figure in FIGURES if figure.name == "requests")


def _times(title: str, name: str) -> Column:
    def of_row(row: Row) -> str:
        median, slow = row[f"median_{name}_ms"], row[f"p95_{name}_ms"]
        if median is None:
            return "–"
        if slow >= 1000:
            return f"{median / 1000:.1f} / {slow / 1000:.1f} s"
        return f"{median:.0f} / {slow:.0f} ms"

    return Column(title, of_row)


MODELS = (
    Column("model", lambda row: row["model"], is_number=False),
    Column("answers", lambda row: tokens(row["answers"])),
    _times("first token", "ttft"),
    _times("answer", "latency"),
    Column("tok/s", lambda row: f"{row['tokens_per_s'] or 0:.0f}"),
    Column("cost", lambda row: dollars(row["cost_usd"] or 0)),
    Column("in", lambda row: short(row["prompt_tokens"] or 0)),
    Column("out", lambda row: short(row["completion_tokens"] or 0)),
    Column("provider", lambda row: row["provider"], is_number=False),
)
CATEGORIES = (
    Column("category", lambda row: row["category"], is_number=False),
    Column("requests", lambda row: tokens(row["requests"])),
    _times("first token", "ttft"),
    _times("answer", "latency"),
    Column("cost", lambda row: dollars(row["cost_usd"] or 0)),
    Column("saved", lambda row: short(row["saved_tokens"] or 0)),
    Column("errors", lambda row: tokens(row["errors"])),
    Column("corrected", lambda row: tokens(row["corrected"])),
)


class MetricsScreen(Screen[None]):
    app: TokenFlowApp
    CSS_PATH = "metrics.tcss"
    AUTO_FOCUS = ""
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.METRICS)

    plot = getters.query_one("#plot", Plot)
    beside = getters.query_one("#beside", Plot)
    models = getters.query_one("#models", FiguresTable)
    categories = getters.query_one("#categories", FiguresTable)

    def __init__(self) -> None:
        super().__init__()
        self._period = PERIODS[2]
        self._figure = FIGURES[0]
        self._shown = self._period  # what `_summary` is of
        self._summary: dict[str, Any] | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield TopBar("metrics")
        yield Banner()
        with Horizontal(id="head"):
            yield Static(id="periods")
            yield Static(id="state")
        with Grid(id="cards"):
            for figure in FIGURES:
                yield Card(figure)
        yield Static(id="nothing")
        with Horizontal(id="plots"):
            for name in ("plot", "beside"):
                with Vertical(id=f"{name}-box"):
                    yield Static(id=f"{name}-title", classes="title")
                    yield Plot(id=name)
        with Horizontal(id="tables"):
            yield FiguresTable(MODELS, "Models, median / p95", id="models")
            yield FiguresTable(CATEGORIES, "Categories, median / p95", id="categories")
        yield Footer()

    def on_mount(self) -> None:
        self._show()

    def on_screen_resume(self) -> None:
        self._watch()

    def on_screen_suspend(self) -> None:
        self.workers.cancel_group(self, "metrics")

    # What is shown

    @work(exclusive=True, group="metrics", exit_on_error=False)
    async def _watch(self) -> None:
        """Asks for as long as the screen is looked at."""
        while True:
            started, period = time.monotonic(), self._period
            try:
                self._summary = await self.app.daemon.get("/api/metrics", days=period.days)
                self._shown, self._problem, pause = period, "", REFRESH_S
            except Unreachable:  # the banner says why
                self._problem, pause = "not refreshed", RETRY_S
            except DaemonError as error:
                self._problem, pause = f"not refreshed: {error}", RETRY_S
            cost = time.monotonic() - started
            self._show()
            await asyncio.sleep(max(pause, PAUSE_PER_COST * cost))

    def _show(self) -> None:
        self._show_head()
        summary = self._summary
        is_empty = summary is None or not summary["totals"]["requests"]
        self.set_class(is_empty, "-empty")
        if summary is None:
            self.query_one("#nothing", Static).update("" if self._problem else "…")
            return
        if is_empty:
            self.query_one("#nothing", Static).update(self._advice())
        series = buckets(summary, self._shown.days)
        for card in self.query(Card):
            card.show(summary, series)
            card.set_class(card.figure is self._figure, "-chosen")
        beside = BESIDE_ITSELF if self._figure is BESIDE else BESIDE
        for plot, figure in ((self.plot, self._figure), (self.beside, beside)):
            mean = "" if figure.is_sum else ", mean"
            title = f"{figure.title}{mean} by {self._shown.unit}"
            self.query_one(f"#{plot.id}-title", Static).update(title)
            plot.show(figure, series, self._shown.unit)
        self.models.show(summary["models"])
        self.categories.show(summary["categories"])

    def _show_head(self) -> None:
        periods = [
            Content.from_markup(
                "[b $primary on $panel] $title [dim]$key[/] [/]"
                if period is self._period
                else f"[@click=screen.period('{period.key}')] $title [dim]$key[/] [/]",
                title=period.title,
                key=period.key,
            )
            for period in PERIODS
        ]
        self.query_one("#periods", Static).update(Content(" ").join(periods))
        self.query_one("#state", Static).update(Content(self._problem))

    def _advice(self) -> Content:
        return Content.from_markup(
            "[b]Nothing in the last $period.[/]\n\n"
            "Ask something [dim]([/]F2[dim])[/] or compress a text [dim]([/]F3[dim])[/], "
            "point any OpenAI client at $url, or choose a longer period.",
            period=self._shown.title,
            url=f"{self.app.daemon.url}/v1",
        )

    # What keys do

    def action_period(self, key: str) -> None:
        self._period = next(period for period in PERIODS if period.key == key)
        self._show_head()
        self._watch()

    def action_figure(self, step: int) -> None:
        self._figure = FIGURES[(FIGURES.index(self._figure) + step) % len(FIGURES)]
        self._show()

    @on(Card.Chosen)
    def _choose(self, chosen: Card.Chosen) -> None:
        self._figure = chosen.figure
        self._show()

    def action_tables(self) -> None:
        """To the tables and back; where everything is shown, only the focus goes."""
        self.toggle_class("-tables")
        self.set_focus(self.models if self.has_class("-tables") else None)

    def action_refresh(self) -> None:
        self.app.check_daemon()
        self._watch()
