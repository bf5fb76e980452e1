"""The app against a daemon that is a process of its own, with a scripted provider behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from textual.pilot import Pilot

from tests.program import Program
from tests.upstream import Upstream
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.state import State

PATIENCE_S = 20.0
MEDIUM, WIDE, SMALL = (100, 30), (160, 48), (80, 24)


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def program(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A daemon for the tests of one module, which share its history."""
    program = Program(tmp_path_factory.mktemp("home"), provider)
    program.start()
    yield program
    program.close()


Scenario = Callable[[Pilot[None], TokenFlowApp], Awaitable[None]]


class Drive(Protocol):
    def __call__(
        self, scenario: Scenario, *, size: tuple[int, int] = MEDIUM, url: str = ""
    ) -> None:
        """Runs the app headless while `scenario` presses its keys."""


@pytest.fixture
def drive(program: Program, tmp_path: Path) -> Drive:
    def run(scenario: Scenario, *, size: tuple[int, int] = MEDIUM, url: str = "") -> None:
        async def driven() -> None:
            app = TokenFlowApp(url or program.url, State(tmp_path / "tui"))
            async with app.run_test(size=size) as pilot:
                await scenario(pilot, app)

        asyncio.run(driven())

    return run


async def until(pilot: Pilot[None], seen: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Waits until `seen()` is true, without pauses of a fixed length; what it gave."""
    deadline = time.monotonic() + within_s
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {within_s} s:\n{shown(pilot.app)}"
        await pilot.pause(0.02)
    return found


def shown(app: TokenFlowApp) -> str:
    """The screen's text, as one would read it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def write(pilot: Pilot[None], text: str) -> None:
    """Types into whatever has the focus."""
    names = {" ": "space", ".": "full_stop", "?": "question_mark", ",": "comma", "\n": "ctrl+j"}
    await pilot.press(*(names.get(character, character) for character in text))
