"""A provider in a process of its own: it streams what the id of the model says, and is fast.

Nothing here waits or parses more than it must, so that the load is the daemon's to bear.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_NO_MODELS = b'{"object":"list","data":[]}'
_LISTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_NO_MODELS),
    _NO_MODELS,
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


# What models write all day, for a terminal that has to show it.
MARKDOWN = """\
## The plan

The service reads its settings **once**, when it starts, and keeps them; a change needs a restart, \
which takes less than a second and loses nothing that was acknowledged.

- read the file and say which line is wrong
- compare it with what is running, field by field
- answer the requests that are under way, then switch

```python
def merged(defaults: dict, own: dict) -> dict:
    # Own values win; tables are merged, lists are replaced.
    result = dict(defaults)
    for name, value in own.items():
        result[name] = merged(result[name], value) if isinstance(value, dict) else value
    return result
```

| step | takes | may fail |
|---|---|---|
| read | 2 ms | yes |
| compare | 1 ms | no |

1. Start it with `serve --check`.
2. Look at the log.

"""


@dataclass(frozen=True)
class Script:
    """An answer of so many tokens: the first at once, then one after each pause. They are words,
    numbered ones or those of `MARKDOWN`, over and over."""

    tokens: int
    pause_ms: int
    markdown: bool = False

    @classmethod
    def named(cls, model: str) -> Script:
        found = re.fullmatch(r"(markdown-)?(\d+)x(\d+)ms", model)
        assert found
        return cls(int(found[2]), int(found[3]), bool(found[1]))

    @property
    def model(self) -> str:
        return f"{'markdown-' if self.markdown else ''}{self.tokens}x{self.pause_ms}ms"

    @property
    def texts(self) -> list[str]:
        if self.markdown:
            words = itertools.cycle(re.findall(r"\S+\s*", MARKDOWN))
            return list(itertools.islice(words, self.tokens))
        return [f"token{number} " for number in range(self.tokens)]


@cache
def _writes(script: Script) -> list[bytes]:
    """What is sent, pause by pause, in OpenAI's shape; the last is all that follows the text."""
    texts = [_chunk([_choice({"content": text})]) for text in script.texts]
    usage = {"prompt_tokens": 60, "completion_tokens": script.tokens}
    end = [_chunk([_choice({}, "stop")]), _chunk([], usage=usage), _in_http(b"data: [DONE]\n\n")]
    first = _HEAD + _chunk([_choice({"role": "assistant"})]) + texts[0]
    return [first, *texts[1:], b"".join(end) + b"0\r\n\r\n"]


def _choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
    content = {
        "id": "chatcmpl-5b0c8a9e-0f5c-4c5e-9f0e-2d1f6c0a7b11",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "scripted",
        "system_fingerprint": "fp_scripted",
        "choices": choices,
        **more,
    }
    return _in_http(b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n")


def _in_http(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Connection(asyncio.Protocol):
    """Answers one request after the other; a GET with an empty list of models."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank_line, rest = self._received.partition(b"\r\n\r\n")
        length = int(found[1]) if (found := _LENGTH.search(head)) else 0
        if not blank_line or len(rest) < length:
            return
        self._received = b""
        if head.startswith(b"GET"):
            self._transport.write(_LISTED)
        else:
            script = Script.named(json.loads(rest)["model"])
            self._send(script, 0, self._loop.time())

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def _send(self, script: Script, number: int, started: float) -> None:
        writes = _writes(script)
        self._transport.write(writes[number])
        if (number := number + 1) < len(writes):
            due = started + number * script.pause_ms / 1000  # of the plan: delays do not add up
            self._timer = self._loop.call_at(due, self._send, script, number, started)


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """The port at which it answers, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve())
