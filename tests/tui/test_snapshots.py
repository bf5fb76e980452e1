"""Every screen as a picture: `pytest tests/tui/test_snapshots.py --snapshot-update` accepts what
is there now, and snapshot_report.html shows what has changed.

The clock stands still on both sides, and the daemon has a port that can be drawn.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from urllib.parse import SplitResult

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, TextArea

from tests.conftest import Daemon, config_in
from tests.tui.conftest import SMALL, WIDE, shown, until
from tests.tui.stage import fill
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.state import State
from tokenflowd.services import Services
from tokenflowd.store import Store

NOW = datetime(2026, 3, 12, 15, 4, tzinfo=UTC)
Setup = Callable[[Pilot[None]], Awaitable[None]]
Look = Callable[[Setup, tuple[int, int]], bool]


class StoppedClock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return NOW.astimezone(tz)


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "UTC")
        time.tzset()
        patched.setattr("tokenflow_tui.numbers.datetime", StoppedClock)
        patched.setattr("tokenflowd.api.metrics.datetime", StoppedClock)
        patched.setattr(
            "tokenflow_tui.widgets.topbar.urlsplit",
            lambda _: SplitResult("http", "127.0.0.1:8000", "", "", ""),
        )
        yield
    time.tzset()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "tokenflow.db")
    fill(store, NOW)
    store.close()
    daemon = Daemon(Services(config_in(home)))
    yield f"http://127.0.0.1:{daemon.port}"
    daemon.close()


@pytest.fixture
def look(snap_compare: Callable[..., bool], url: str, tmp_path: Path) -> Look:
    """Whether the screen looks as it did, after `setup` has led there."""

    def compare(setup: Setup, size: tuple[int, int]) -> bool:
        async def run_before(pilot: Pilot[None]) -> None:
            app = pilot.app
            assert isinstance(app, TokenFlowApp)
            await until(pilot, lambda: app.health and app.today)
            await setup(pilot)
            for typed in (*app.screen.query(TextArea), *app.screen.query(Input)):
                typed.cursor_blink = False
            await pilot.pause()

        app = TokenFlowApp(url, State(tmp_path / "tui"))
        return snap_compare(app, terminal_size=size, run_before=run_before)

    return compare


sizes = pytest.mark.parametrize("size", [SMALL, WIDE], ids=["small", "wide"])


@sizes
def test_ask(look: Look, size: tuple[int, int]) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: pilot.app.screen.query_one(OptionList).option_count)

    assert look(setup, size)


@sizes
def test_ask_with_an_answer(look: Look, size: tuple[int, int]) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        recent = pilot.app.screen.query_one(OptionList)
        await until(pilot, lambda: recent.option_count)
        recent.highlighted = 3
        recent.action_select()
        await until(pilot, lambda: "AI" in shown(pilot.app) and "first token" in shown(pilot.app))

    assert look(setup, size)


@sizes
def test_compress(look: Look, size: tuple[int, int]) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await until(pilot, lambda: "Never drop" in shown(pilot.app))

    assert look(setup, size)


@sizes
def test_history(look: Look, size: tuple[int, int]) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        await pilot.press("f4")
        await until(pilot, lambda: "loaded" in shown(pilot.app))
        if size == WIDE:
            await until(pilot, lambda: "took" in shown(pilot.app))

    assert look(setup, size)


@sizes
@pytest.mark.parametrize("key", ["1", "3"])
def test_metrics(look: Look, size: tuple[int, int], key: str) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        await pilot.press("f5", key)
        unit = {"1": "hour", "3": "day"}[key]
        await until(pilot, lambda: f"Requests by {unit}" in shown(pilot.app))

    assert look(setup, size)


def test_metrics_as_tables(look: Look) -> None:
    async def setup(pilot: Pilot[None]) -> None:
        await pilot.press("f5")
        await until(pilot, lambda: "Requests by day" in shown(pilot.app))
        await pilot.press("t")
        await until(pilot, lambda: "Models" in shown(pilot.app))

    assert look(setup, SMALL)
