"""A provider at the wire: a socket server that says, byte for byte, what a test tells it to.

It stands in for Groq and the like, whose own servers cannot be had in a test.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    """A request as the provider saw it. `gone` is set once its sender closed the connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    gone: threading.Event = field(default_factory=threading.Event)


class Wire:
    """The answer to one request, in as raw a form as a test needs."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Received
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._request = request
        self._is_chunked = False

    async def head(
        self, status: int = 200, content_type: str = "text/event-stream", **headers: str
    ) -> None:
        """Names of headers have underscores for hyphens. What follows is chunked."""
        self._is_chunked = True
        lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode())

    async def head_until_eof(self, content_type: str = "text/event-stream") -> None:
        """A head after which only the end of the connection ends the body."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
        await self.raw(head.encode())

    async def send(self, data: bytes) -> None:
        """A piece of the body, as one chunk if the body is chunked."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def body(self, status: int, content: bytes, content_type: str, **headers: str) -> None:
        """A whole answer of known length."""
        lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(content)}", "", ""]
        await self.raw("\r\n".join(lines).encode() + content)

    async def json(self, status: int, content: Any, **headers: str) -> None:
        await self.body(status, json.dumps(content).encode(), "application/json", **headers)

    async def close(self) -> None:
        """The connection ends as if everything had been said."""
        self._writer.close()

    def reset(self) -> None:
        """The connection breaks (RST)."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_gone(self) -> None:
        """Waits until the sender of the request closes the connection."""
        await self._reader.read()
        self._request.gone.set()


Script = Callable[[Wire, Received], Awaitable[None]]


def chunk(text: str | None = None, finish_reason: str | None = None, **more: Any) -> bytes:
    """An event of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **more})


def usage(prompt_tokens: int = 7, completion_tokens: int = 3, **more: Any) -> bytes:
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, **more}
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": counts})


def event(content: Any) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def answer(*texts: str, delay_s: float = 0.0) -> Script:
    """A well-behaved provider that streams `texts`, or sends them whole if not asked to stream."""

    async def script(wire: Wire, request: Received) -> None:
        if not request.body.get("stream"):
            message = {"role": "assistant", "content": "".join(texts)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            counts = {"prompt_tokens": 7, "completion_tokens": 3}
            await wire.json(
                200, {"object": "chat.completion", "choices": [choice], "usage": counts}
            )
            return
        await wire.head()
        await wire.send(event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}))
        for text in texts:
            await asyncio.sleep(delay_s)
            await wire.send(chunk(text))
        await wire.send(chunk(finish_reason="stop"))
        if (request.body.get("stream_options") or {}).get("include_usage"):
            await wire.send(usage())
        await wire.send(DONE)
        await wire.end()

    return script


def failure(status: int, message: str = "no", **headers: str) -> Script:
    """An error in OpenAI's shape."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.json(status, {"error": {"message": message}}, **headers)

    return script


def events(*payloads: bytes) -> Script:
    """A stream of these events, each in a chunk of its own, and its orderly end."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        for payload in payloads:
            await wire.send(payload)
        await wire.end()

    return script


def until_eof(stream: bytes) -> Script:
    """The stream in a body that only the end of the connection ends."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.head_until_eof()
        await wire.send(stream)
        await wire.close()

    return script


class Upstream:
    """Serves until closed. Each chat completion takes the next script; the last one stays."""

    def __init__(self, *scripts: Script, models: Sequence[str] = ("m1",)) -> None:
        self.scripts = list(scripts) or [answer("Hello", " world")]
        self.models = list(models)
        self.requests: list[Received] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve(ready)), daemon=True
        )
        self._thread.start()
        assert ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def bodies(self) -> list[Any]:
        """What was asked, in order."""
        return [request.body for request in self.requests]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(
            self._connection, "127.0.0.1", 0, limit=1 << 26, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read_request(reader)
                wire = Wire(reader, writer, request)
                if request.path.endswith("/models"):
                    listed = [{"id": model, "owned_by": "test"} for model in self.models]
                    await wire.json(200, {"object": "list", "data": listed})
                    continue
                self.requests.append(request)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                try:
                    await script(wire, request)
                except ConnectionError:
                    request.gone.set()
                    raise
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, json.loads(body) if body else None)
