"""History: every request, found by its words, read, copied, asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, Static
from textual.worker import Worker

from tokenflow_tui import keymap
from tokenflow_tui.client import DaemonError, Unreachable
from tokenflow_tui.clipboard import copy
from tokenflow_tui.files import write_text
from tokenflow_tui.filters import Filters
from tokenflow_tui.matches import matches_of
from tokenflow_tui.request import Request, answer, as_markdown, plain, prompt
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.screens.compress import CompressScreen
from tokenflow_tui.screens.dialog import ConfirmScreen
from tokenflow_tui.screens.filter import FilterScreen
from tokenflow_tui.screens.relabel import Relabelled, RelabelScreen
from tokenflow_tui.screens.rerun import Rerun, RerunScreen
from tokenflow_tui.widgets.banner import Banner
from tokenflow_tui.widgets.detail import Detail
from tokenflow_tui.widgets.requests import RequestList
from tokenflow_tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp

PAGE = 100
# How long the hands rest before the daemon is asked.
TYPED_S = 0.12
MOVED_S = 0.06
NOTHING_YET = "[b]Nothing here yet.[/]\n\nAsk something ([b]F2[/]) or compress a text ([b]F3[/]): \
every request is kept, to be found again."


class SearchInput(Input):
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.SEARCH)


class HistoryScreen(Screen[None]):
    app: TokenFlowApp
    CSS_PATH = Path(__file__).with_suffix(".tcss")
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.HISTORY)

    words = getters.query_one(SearchInput)
    requests = getters.query_one(RequestList)
    detail = getters.query_one(Detail)

    def __init__(self) -> None:
        super().__init__()
        self._filters = Filters()
        self._next_before: str | None = None
        self._problem = ""  # why the list is not what it should be
        self._is_loaded = False
        self._paging: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("history")
        yield Banner()
        with Horizontal(id="search"):
            yield Static("/", classes="slash")
            yield SearchInput(placeholder="search prompts and answers")
            yield Static(id="state")
        with Container(id="panes"):
            with Container(id="list"):
                yield RequestList()
                yield Static(id="nothing")
            yield Detail()
        yield Footer()

    def on_mount(self) -> None:
        self.requests.focus()
        self.watch(self.app, "health", self._daemon_answered, init=False)

    def on_screen_resume(self) -> None:
        if self._is_loaded:
            self._load_newer()
        else:
            self._load()

    def _daemon_answered(self, health: dict[str, Any] | None) -> None:
        """Every few seconds, as long as it does."""
        if health is None or not self.is_current:
            return
        if self._problem or not self._is_loaded:
            self._load()
        else:
            self._load_newer()

    # The list

    def _load(self, pause: float = 0.0) -> None:
        self._paging = self._load_first(pause)

    @work(exclusive=True, group="page", exit_on_error=False)
    async def _load_first(self, pause: float) -> None:
        """What is wanted now, instead of what is shown; a later call ends this one."""
        await asyncio.sleep(pause)
        query = self.words.value.strip()
        page = await self._page("")
        if page is None:
            return
        self._is_loaded = True
        self._next_before = page["next_before"]
        self.requests.show(page["requests"], matches_of(query))
        self._show_state()

    @on(RequestList.NearEnd)
    def _load_older(self) -> None:
        if self._next_before and (self._paging is None or self._paging.is_finished):
            self._paging = self._load_next(self._next_before)

    @work(exclusive=True, group="page", exit_on_error=False)
    async def _load_next(self, before: str) -> None:
        page = await self._page(before)
        if page is None:
            return
        self._next_before = page["next_before"]
        self.requests.append(page["requests"])
        self._show_state()

    @work(exclusive=True, group="newer", exit_on_error=False)
    async def _load_newer(self) -> None:
        """What has come since, above what is shown."""
        wanted = (self.words.value, self._filters)
        is_still = not wanted[0].strip() and self._paging and self._paging.is_finished
        page = await self._page("") if is_still else None
        if page is None or wanted != (self.words.value, self._filters):
            return
        known = self.requests.rows[0]["id"] if self.requests.rows else ""
        newer = list(takewhile(lambda row: row["id"] != known, page["requests"]))
        if len(newer) == len(page["requests"]):  # a gap, or nothing was there
            self._next_before = page["next_before"]
            self.requests.show(newer, None)
        elif newer:
            self.requests.prepend(newer)
        else:
            self.requests.redraw()
        self._show_state()

    async def _page(self, before: str) -> dict[str, Any] | None:
        """None when there is none, which is then said."""
        try:
            page: dict[str, Any] = await self.app.daemon.get(
                "/api/history",
                limit=PAGE,
                before=before,
                q=self.words.value.strip(),
                **self._filters.parameters(),
            )
        except DaemonError as error:
            self._problem = str(error)
            self._show_state()
            if isinstance(error, Unreachable):
                self.app.check_daemon()
            return None
        self._problem = ""
        return page

    def _show_state(self) -> None:
        count, words = len(self.requests.rows), self.words.value.strip()
        more = "+" if self._next_before else ""
        parts = []
        if self._filters != Filters():
            parts.append(
                Content.from_markup(
                    "[$accent]$filters[/]  [dim][@click=screen.clear_filters]x clears[/][/]",
                    filters=str(self._filters),
                )
            )
        if self._problem:
            parts.append(Content.from_markup("[$warning]not up to date[/]"))
        elif count:
            is_all = not words and self._filters == Filters()
            what = "found" if not is_all else "loaded" if more else "in all"
            parts.append(Content.from_markup(f"[dim]{count:,}{more} {what}[/]"))
        self.query_one("#state", Static).update(Content("  ").join(parts))
        nothing = self.query_one("#nothing", Static)
        nothing.display = not count
        self.requests.set_class(not count, "-empty")
        nothing.update(self._why_nothing(words))

    def _why_nothing(self, words: str) -> Content:
        if self._problem:
            return Content.from_markup(
                "[$warning]$problem[/]\n\n[dim]It is asked again; ctrl+r asks now.[/]",
                problem=self._problem,
            )
        if not words and self._filters == Filters():
            return Content.from_markup(NOTHING_YET)
        ways = [
            "[b]esc[/] clears the search" if words else "",
            "[b]x[/] the filters" if self._filters != Filters() else "",
        ]
        return Content.from_markup(
            f"Nothing found for [b]$what[/].\n\n{', '.join(filter(None, ways))}",
            what=" · ".join(filter(None, (words, str(self._filters)))),
        )

    # Search and filters

    @on(Input.Changed)
    def _typed(self) -> None:
        self._load(TYPED_S)

    @on(Input.Submitted)
    def action_to_list(self) -> None:
        self.requests.focus()

    def action_search(self) -> None:
        self.remove_class("-reading")
        self.words.focus()

    def action_back(self) -> None:
        """A step back: from the detail, from a search, from the search's line."""
        if self.has_class("-reading"):
            self.remove_class("-reading")
            self.requests.focus()
        elif self.words.value and not self.detail.has_focus:
            self.words.value = ""
        else:
            self.requests.focus()

    def action_filter(self) -> None:
        self.app.push_screen(FilterScreen(self._filters), self._filter)

    def action_clear_filters(self) -> None:
        self._filter(Filters())

    def _filter(self, filters: Filters | None) -> None:
        if filters is not None and filters != self._filters:
            self._filters = filters
            self._load()

    def action_reload(self) -> None:
        self.app.check_daemon()
        self._load()

    # The detail

    @on(RequestList.Highlighted)
    def _follow(self) -> None:
        row, shown = self.requests.row, self.detail.request
        if row is None:
            self.workers.cancel_group(self, "detail")
            self.detail.show(None)
            self.remove_class("-reading")
        elif self.has_class("-narrow") and not self.has_class("-reading"):
            return  # it is not seen
        else:
            self._show_detail(row["id"], MOVED_S if shown else 0.0)

    def on_resize(self) -> None:
        row, shown = self.requests.row, self.detail.request
        if row and (shown is None or shown["id"] != row["id"]):
            self._follow()

    @work(exclusive=True, group="detail", exit_on_error=False)
    async def _show_detail(self, request_id: str, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            request = await self._get(request_id)
        except DaemonError:
            return  # the banner says it; what is shown stays
        self.detail.show(request, self.requests.matches)

    @on(RequestList.Opened)
    def _read(self) -> None:
        self.add_class("-reading")
        self._follow()
        self.call_after_refresh(self.detail.focus)

    async def _get(self, request_id: str) -> Request:
        request: Request = await self.app.daemon.get(f"/api/history/{request_id}")
        return request

    # What keys do with the request under the cursor

    def _do(self, what: Callable[[Request], Awaitable[None]]) -> None:
        """With all of it, once it is there."""
        if self.requests.row is not None:
            self._with_request(self.requests.row["id"], what)

    @work(exclusive=True, group="act", exit_on_error=False)
    async def _with_request(
        self, request_id: str, what: Callable[[Request], Awaitable[None]]
    ) -> None:
        try:
            await what(await self._get(request_id))
        except DaemonError as error:
            self.notify(str(error), severity="error")

    def action_copy_answer(self) -> None:
        self._do(self._copy_answer)

    async def _copy_answer(self, request: Request) -> None:
        copy(self.app, answer(request))

    def action_copy_prompt(self) -> None:
        self._do(self._copy_prompt)

    async def _copy_prompt(self, request: Request) -> None:
        copy(self.app, prompt(request))

    def action_export(self) -> None:
        self._do(self._export)

    async def _export(self, request: Request) -> None:
        """As Markdown, into the folder where the app was started."""
        file = Path.cwd() / f"tokenflow-{request['id']}.md"
        try:
            write_text(file, as_markdown(request), replace=True)
        except ValueError as error:
            self.notify(str(error), severity="error")
            return
        self.notify(f"Written to {file}")

    def action_rerun(self) -> None:
        self._do(self._rerun)

    async def _rerun(self, request: Request) -> None:
        if request["kind"] == "compress":
            await self._compress(request)
            return
        await self.app.switch_mode("ask")
        ask = self.app.screen_stack[0]
        if not isinstance(ask, AskScreen):
            return
        if ask.is_answering:
            self.notify("The answer before is still coming: esc stops it", severity="warning")
        elif ask.composer.text.strip() not in ("", prompt(request).strip()):
            self.notify("Your draft is here: send it or clear it first", severity="warning")
        else:
            ask.action_new()
            ask.ask(prompt(request))

    def action_rerun_otherwise(self) -> None:
        if self.requests.row and self.requests.row["kind"] == "compress":
            self.action_compress()  # which has a slider for it
        elif self.requests.row:
            self.app.push_screen(RerunScreen(), self._rerun_with)

    def _rerun_with(self, wanted: Rerun | None) -> None:
        if wanted is None:
            return
        settings = self.app.state.settings
        settings.model, settings.compress = wanted.model, wanted.compress
        self.app.state.save_settings()
        self.action_rerun()

    def action_compress(self) -> None:
        self._do(self._compress)

    async def _compress(self, request: Request) -> None:
        await self.app.switch_mode("compress")
        screen = self.app.screen_stack[0]
        if isinstance(screen, CompressScreen):
            screen.set_text(prompt(request))

    def action_delete(self) -> None:
        row = self.requests.row
        if row is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._delete(row["id"])

        about = " ".join(plain(row.get("preview", "")).split()) or row["id"]
        self.app.push_screen(ConfirmScreen(f"Delete this {row['kind']} request?", about), answered)

    @work(group="delete", exit_on_error=False)
    async def _delete(self, request_id: str) -> None:
        try:
            await self.app.daemon.delete(f"/api/history/{request_id}")
        except DaemonError as error:
            self.notify(str(error), severity="error")
            return
        self.requests.remove_row(request_id)
        self._show_state()

    def action_relabel(self) -> None:
        row = self.requests.row
        if row is None:
            return
        if "category" not in row:
            self.notify("It was not classified, so it has no category", severity="warning")
            return

        def chosen(relabelled: Relabelled | None) -> None:
            if relabelled is not None:
                self._relabel(row["id"], relabelled.category)

        dialog = RelabelScreen(row["category"], row.get("corrected_category") or "")
        self.app.push_screen(dialog, chosen)

    @work(exclusive=True, group="relabel", exit_on_error=False)
    async def _relabel(self, request_id: str, category: str | None) -> None:
        path = f"/api/history/{request_id}/category"
        try:
            if category is None:
                await self.app.daemon.delete(path)
            else:
                await self.app.daemon.put(path, {"category": category})
        except DaemonError as error:
            self.notify(str(error), severity="error")
            return
        self.requests.update_row(request_id, corrected_category=category)
        self._follow()
        self.notify(
            f"Prompts like this are {category} from now on"
            if category
            else "The correction is taken back"
        )
