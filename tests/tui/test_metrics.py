"""Metrics: the figures of a period, as cards, plots and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.program import Program
from tests.store.rows import classification, compression, generation, write
from tests.tui.conftest import MEDIUM, SMALL, WIDE, Drive, shown, until
from tests.upstream import Upstream
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.figures import buckets
from tokenflow_tui.screens.metrics import MetricsScreen
from tokenflowd.store import Store, iso_time


@pytest.fixture(scope="module")
def program(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """With one answer of today, two of ten days ago and one of half a year ago."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "tokenflow.db")
    now = datetime.now(UTC)
    for days, model in ((0, "today"), (10, "lately"), (10, "lately"), (180, "long-ago")):
        answer = generation(model=model, ttft_ms=100.0 + days, cost_usd=0.25)
        write(store, replace(answer, created_at=iso_time(now - timedelta(days=days))))
    write(store, classification(category="reasoning"), compression())
    store.close()
    program = Program(home, provider)
    program.start()
    yield program
    program.close()


@pytest.fixture
def empty(provider: Upstream, tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "home").mkdir()
    program = Program(tmp_path / "home", provider)
    program.start()
    yield program
    program.close()


def card(app: TokenFlowApp, name: str) -> str:
    """What is written on it, but for its sparkline."""
    return " ".join(str(part.render()) for part in app.screen.query(f"#{name} Static"))


def has_requests(app: TokenFlowApp, count: int) -> bool:
    return card(app, "requests").startswith(f"Requests {count} ")


async def opened(pilot: Pilot[None], app: TokenFlowApp) -> MetricsScreen:
    await pilot.press("f5")
    screen = app.screen
    assert isinstance(screen, MetricsScreen)
    await until(pilot, lambda: not screen.has_class("-empty"))
    return screen


def test_cards_tell_the_sums_of_the_last_30_days(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        assert card(app, "requests") == "Requests 5 no errors"
        assert card(app, "saved-tokens") == "Tokens saved 1 −33% of 3"
        assert card(app, "cost") == "Cost $0.75 300 in 60 out"
        assert card(app, "first-token") == "First token 110 ms p95 110 ms"

    drive(scenario)


def test_keys_and_clicks_choose_the_period(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        for key, requests in (("1", 3), ("9", 5), ("y", 6), ("7", 3), ("3", 5)):
            await pilot.press(key)
            await until(pilot, partial(has_requests, app, requests))
        row = app.screen.query_one("#periods").region.y
        column = shown(app).splitlines()[row].index("year")
        await pilot.click(offset=(column, row))
        await until(pilot, partial(has_requests, app, 6))

    drive(scenario)


def test_the_plot_shows_the_chosen_figure(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        assert "Requests by day" in shown(app)
        await pilot.press("right", "right")
        assert "Cost by day" in shown(app)
        assert "$0.50┤" in shown(app)
        await pilot.press("left")
        assert "Tokens saved by day" in shown(app)
        await pilot.click("#answer")
        assert "Whole answer, mean by day" in shown(app)

    drive(scenario)


def test_a_small_terminal_has_the_plot_or_the_tables(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        assert "Requests by day" in shown(app)
        assert "lately" not in shown(app)
        await pilot.press("t")
        await until(pilot, lambda: "lately" in shown(app))
        assert "reasoning" in shown(app)
        assert "Requests by day" not in shown(app)
        assert app.focused is screen.models
        await pilot.press("G")
        assert screen.models.cursor_row == 1
        await pilot.press("g")
        assert screen.models.cursor_row == 0
        await pilot.press("t")
        await until(pilot, lambda: "Requests by day" in shown(app))
        assert app.focused is None

    drive(scenario, size=SMALL)


def test_a_large_terminal_has_two_plots_and_the_tables(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        for seen in ("Requests by day", "First token, mean by day", "lately", "reasoning"):
            assert seen in shown(app)

    drive(scenario, size=WIDE)


def test_what_comes_meanwhile_is_shown(drive: Drive, program: Program) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        before = int(card(app, "requests").split()[1])
        await app.daemon.post("/api/compress", {"text": "a few words", "ratio": 0.5})
        await pilot.press("ctrl+r")
        await until(pilot, partial(has_requests, app, before + 1))

    drive(scenario)


def test_it_asks_only_while_it_is_looked_at(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)

        def is_asking() -> bool:
            return any(worker.group == "metrics" for worker in screen.workers if worker.is_running)

        assert is_asking()
        await pilot.press("f2")
        await until(pilot, lambda: not is_asking())
        await pilot.press("f5")
        await until(pilot, is_asking)

    drive(scenario)


def test_an_empty_history_says_what_to_do(drive: Drive, empty: Program) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("f5")
        await until(pilot, lambda: "Nothing in the last 30 days" in shown(app))
        assert f"{empty.url}/v1" in shown(app)
        assert card(app, "first-token") == "First token – p95 –"

    drive(scenario, url=empty.url)


def test_without_a_daemon_it_says_so_and_goes_on(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("f5")
        await until(pilot, lambda: "not refreshed" in shown(app))
        assert "no daemon answers" in shown(app)
        await pilot.press("7", "right", "t")
        assert isinstance(app.screen, MetricsScreen)

    drive(scenario, url="http://127.0.0.1:9", size=MEDIUM)


def summary(**series: Any) -> dict[str, Any]:
    return {"since": "2026-03-05T12:30:00.000Z", "days": [], "hours": []} | series


def row(**values: Any) -> dict[str, Any]:
    names = ("requests", "errors", "saved_tokens", "answers", "cost_usd", "saved_usd")
    means = ("mean_ttft_ms", "mean_latency_ms")
    return dict.fromkeys(names, 0) | dict.fromkeys(means) | values


def test_missing_days_are_zeros() -> None:
    series = buckets(summary(days=[row(day="2026-03-08", requests=2)]), 7)
    assert [f"{bucket.start:%d}" for bucket in series] == "06 07 08 09 10 11 12".split()
    assert [bucket.sums["requests"] for bucket in series] == [0, 0, 2, 0, 0, 0, 0]


def test_a_day_is_24_hours_up_to_this_one() -> None:
    series = buckets(summary(hours=[row(hour="2026-03-06T12:00Z", requests=1)]), 1)
    assert [f"{bucket.start:%dT%H}" for bucket in (series[0], series[-1])] == ["05T13", "06T12"]
    assert [bucket.sums["requests"] for bucket in series] == [0] * 23 + [1]


def test_kinds_and_days_are_averaged_by_their_answers() -> None:
    days = [
        row(day="2026-03-06", answers=3, mean_ttft_ms=100.0),
        row(day="2026-03-06", answers=1, mean_ttft_ms=500.0),
        row(day="2026-03-07", answers=4, mean_ttft_ms=600.0),
    ]
    day = buckets(summary(days=days), 7)[0]
    assert day.means == {"mean_ttft_ms": 200.0}
    week = buckets(summary(days=days), 364)[0]
    assert week.means == {"mean_ttft_ms": 400.0}
    assert week.sums["answers"] == 8
