"""An HTTP client that only notes what comes and when: what it does takes time from the daemon."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any, cast

PATIENCE_S = 60
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Response:
    """Seconds count from the request; `seconds_to_mark` is None if the mark never came."""

    received: bytes
    seconds: float
    seconds_to_mark: float | None

    @property
    def body(self) -> bytes:
        head, _, rest = self.received.partition(b"\r\n\r\n")
        if _LENGTH.search(head):
            return rest
        chunks = []
        while rest and not rest.startswith(b"0\r\n"):
            size, _, rest = rest.partition(b"\r\n")
            chunks.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(chunks)


class Client(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[float] | None = None

    @classmethod
    async def connected(cls, port: int) -> Client:
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    async def ask(self, request: bytes, mark: bytes = b"\r\n") -> Response:
        """`mark` is what to look for in the answer. Raises OSError and TimeoutError."""
        self._pieces: list[bytes] = []
        self._tail = b""
        self._mark, self._marked_at = mark, 0.0
        self._ended = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            raise ConnectionResetError("closed between two answers")
        started = time.perf_counter()
        self._transport.write(request)
        async with asyncio.timeout(PATIENCE_S):
            ended = await self._ended
        to_mark = self._marked_at - started if self._marked_at else None
        return Response(b"".join(self._pieces), ended - started, to_mark)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._pieces:
            length = _LENGTH.search(data)
            self._size = data.find(b"\r\n\r\n") + 4 + int(length[1]) if length else None
        self._pieces.append(data)
        if not self._marked_at and self._mark in data:
            self._marked_at = now
        if self._size is None:
            self._tail = (self._tail + data[-5:])[-5:]
            is_whole = self._tail == _LAST_CHUNK
        else:
            is_whole = sum(map(len, self._pieces)) >= self._size
        if is_whole and self._ended and not self._ended.done():
            self._ended.set_result(now)

    def connection_lost(self, error: Exception | None) -> None:
        if self._ended and not self._ended.done():
            self._ended.set_exception(ConnectionResetError("closed before the answer's end"))


def post(port: int, path: str, content: Any) -> bytes:
    body = json.dumps(content).encode()
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def get(port: int, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
