"""The terminal client, headless in this process, and when it painted what a key has done."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.screen import Screen

from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.state import Settings, State

SIZE = (120, 40)
PATIENCE_S = 30.0


class Measured(TokenFlowApp):
    """Tells when a frame was drawn in which something had become true."""

    def __init__(self, url: str, state: State) -> None:
        super().__init__(url, state)
        self._awaited: list[tuple[Callable[[], object], asyncio.Future[float]]] = []

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        super()._display(screen, renderable)
        now = time.perf_counter()
        for awaited in list(self._awaited):
            if awaited[0]() and not awaited[1].done():
                awaited[1].set_result(now)
                self._awaited.remove(awaited)

    async def painted(self, is_true: Callable[[], object]) -> float:
        """When the first frame from now on was drawn in which `is_true()`."""
        frame: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._awaited.append((is_true, frame))
        return await asyncio.wait_for(frame, PATIENCE_S)

    async def key(self, key: str, is_done: Callable[[], object]) -> float:
        """Seconds from a key to the frame in which it has done its work."""
        character = key if len(key) == 1 else None
        frame = asyncio.ensure_future(self.painted(is_done))
        await asyncio.sleep(0)
        started = time.perf_counter()
        self.post_message(events.Key(key, character))
        return await frame - started

    @property
    def ask(self) -> AskScreen:
        assert isinstance(self.screen, AskScreen)
        return self.screen


@contextlib.asynccontextmanager
async def headless(url: str, model: str = "auto") -> AsyncIterator[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        app = Measured(url, State(Path(folder)))
        app.state.settings = Settings(model=model)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause(0.5)
            yield app


async def until(is_true: Callable[[], object]) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while not is_true():
        await asyncio.sleep(0.005)
        if time.perf_counter() > deadline:
            raise TimeoutError("the app does not get on")
