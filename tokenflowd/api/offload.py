"""The one place that moves synchronous work off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from tokenflowd.errors import Busy

P = ParamSpec("P")
R = TypeVar("R")

# Threads that tokenize and select; most wait for the engine, whose own threads run the models.
SERVICE_WORKERS = 32
# Threads that read SQLite: apart from the others, so that long texts never hold up a list.
READ_WORKERS = 4
# Calls that may wait for a thread before clients are told to come back.
QUEUE = 256


class Offload:
    """Runs plain functions in a bounded pool of threads."""

    def __init__(self, workers: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._workers = workers
        self._waiting = 0

    async def run(self, function: Callable[..., R], *arguments: object, **named: object) -> R:
        """The result of `function`. Raises Busy when too many wait already."""
        if self._waiting >= self._workers + QUEUE:
            raise Busy(f"{self._waiting} requests are waiting; try again shortly")
        self._waiting += 1
        try:
            call = partial(function, *arguments, **named)
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1

    async def run_stoppable(
        self, function: Callable[..., R], *arguments: object, **named: object
    ) -> R:
        """As `run`, for functions that take a `stop` event, which is set when the caller is
        cancelled: a running thread can only be asked."""
        stop = threading.Event()
        try:
            return await self.run(function, *arguments, stop=stop, **named)
        except asyncio.CancelledError:
            stop.set()
            raise

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
