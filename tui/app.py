"""The app: its modes, the daemon it speaks to, and whether that answers."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.screen import Screen
from textual.theme import Theme

from tokenflow_tui import keymap, launch
from tokenflow_tui.client import Daemon, DaemonError, Unreachable
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.screens.compress import CompressScreen
from tokenflow_tui.screens.history import HistoryScreen
from tokenflow_tui.state import State
from tokenflow_tui.visible import VisibleFilter
from tokenflow_tui.widgets.banner import Banner
from tokenflow_tui.widgets.topbar import TopBar

POLL_S = 5.0
# How long to wait before asking again where nobody answers: doubled each time.
BACK_OFF_S = (0.5, 8.0)
GC_THRESHOLDS = (5_000, 20, 100)

THEME = Theme(
    name="tokenflow",
    primary="#4fb3bf",
    secondary="#8f9bb3",
    accent="#f2b134",
    success="#7bc67b",
    warning="#f2b134",
    error="#e8646b",
    background="#14171c",
    surface="#1b1f26",
    panel="#232832",
    foreground="#dfe4ea",
    dark=True,
)


def _metrics_screen() -> Screen[None]:
    """Plotext takes a tenth of a second of the start, if it is imported there."""
    from tokenflow_tui.screens.metrics import MetricsScreen

    return MetricsScreen()


class TokenFlowApp(App[None]):
    """Speaks HTTP to one daemon; screens ask `self.app.daemon`."""

    TITLE = "TokenFlow"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-medium"), (120, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.APP)
    MODES: ClassVar = {
        "ask": AskScreen,
        "compress": CompressScreen,
        "history": HistoryScreen,
        "metrics": _metrics_screen,
    }
    DEFAULT_MODE = "ask"

    health: reactive[dict[str, Any] | None] = reactive(None)
    problem: reactive[str] = reactive("")
    today: reactive[dict[str, Any]] = reactive(dict)

    def __init__(self, url: str, state: State) -> None:
        super().__init__()
        self.daemon = Daemon(url, state.daemon_token)
        self.state = state
        self.next_try_at = 0.0
        self._visible_filter = VisibleFilter()
        self._try_now = asyncio.Event()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._visible_filter]

    def on_mount(self) -> None:
        self.register_theme(THEME)
        if self.state.settings.theme in self.available_themes:
            self.theme = self.state.settings.theme
        self.set_keymap(self.state.settings.keys)
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        self._watch_daemon()

    def on_ready(self) -> None:
        # What is there by now stays, and a full collection, which one would feel while typing (up
        # to 0.2 s beside a long answer, measured), comes seldom: after a freeze Python would else
        # think that little is there and collect all of it every second.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def on_unmount(self) -> None:
        await self.daemon.close()

    def notify(self, message: str, **how: Any) -> None:
        """As it stands: paths and errors have brackets in them that are no markup."""
        super().notify(message, **(how | {"markup": False}))

    def _keep_theme(self, theme: Theme) -> None:
        self.state.settings.theme = theme.name
        self.state.save_settings()

    @work(exclusive=True, group="health", exit_on_error=False)
    async def _watch_daemon(self) -> None:
        """Asks how the daemon is, for as long as the app runs: seldom while it answers, with
        growing pauses while it does not."""
        pause = BACK_OFF_S[0]
        while True:
            try:
                self.health = await self.daemon.get("/healthz")
                self.problem = ""
                pause = BACK_OFF_S[0]
                self.today = (await self.daemon.get("/api/metrics", days=1))["totals"]
                wait = POLL_S
            except Unreachable as error:
                self.health, self.problem = None, str(error)
                wait, pause = pause, min(2 * pause, BACK_OFF_S[1])
            except DaemonError as error:
                self.problem, wait = str(error), POLL_S
            self.next_try_at = time.monotonic() + wait
            self._refresh_status()
            try:
                await asyncio.wait_for(self._try_now.wait(), wait)
                pause = BACK_OFF_S[0]
            except TimeoutError:
                pass
            self._try_now.clear()

    def _refresh_status(self) -> None:
        for screen in self.screen_stack:
            for bar in screen.query(TopBar):
                bar.refresh_status()
            for banner in screen.query(Banner):
                banner.refresh_status()

    def check_daemon(self) -> None:
        """At once, instead of at the next turn."""
        self._try_now.set()

    def action_retry(self) -> None:
        self.check_daemon()
        if isinstance(self.screen, AskScreen):
            self.screen.ask_again()
        elif isinstance(self.screen, CompressScreen):
            self.screen.compress_again()

    def action_start_daemon(self) -> None:
        if self.health is not None:
            return
        try:
            launch.start_daemon(self.daemon.url)
        except OSError as error:
            self.notify(str(error), severity="error")
            return
        self.notify("Starting the daemon…")
        self.set_timer(0.7, self.check_daemon)

    def action_show(self, mode: str) -> None:
        if mode in self.MODES:
            self.switch_mode(mode)

    def action_help(self) -> None:
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def action_jump(self) -> None:
        from tokenflow_tui.screens.jump import JumpScreen

        self.push_screen(JumpScreen(self.screen))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Textual's own, and all that a key does here."""
        yield from super().get_system_commands(screen)
        for node, binding, enabled, _ in screen.active_bindings.values():
            if binding.id and binding.description and enabled:
                yield SystemCommand(
                    binding.description,
                    f"Key {self.get_key_display(binding)}",
                    partial(self.run_action, binding.action, node),
                )
