"""Many streams at once, from one event loop: what arrives, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

LONGEST_S = 300.0


@dataclass(frozen=True)
class Stream:
    """`first_ms` is the time from asking to the first token; None if none came."""

    status: int
    first_ms: float | None
    body: bytes


def streams(url: str, count: int, body: Callable[[int], Any], token: bytes) -> list[Stream]:
    """Asks `count` times at once; `token` is what the first token's event begins with."""

    async def one(session: aiohttp.ClientSession, number: int) -> Stream:
        received = bytearray()
        first_ms = None
        started = time.monotonic()
        async with session.post(url, json=body(number)) as response:
            async for piece in response.content.iter_any():
                received += piece
                if first_ms is None and token in received:
                    first_ms = (time.monotonic() - started) * 1000
            return Stream(response.status, first_ms, bytes(received))

    async def all_of_them() -> list[Stream]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=LONGEST_S),
        ) as session:
            return await asyncio.gather(*(one(session, number) for number in range(count)))

    return asyncio.run(all_of_them())
