"""The daemon's events out of bytes: server-sent events (WHATWG HTML, 9.2.6) whose data is JSON,
`{"event": name, "data": data}`."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: Any


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """The events in a stream of bytes that may be cut anywhere; an unfinished last one is none.
    Raises ValueError for data that is no such JSON."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest, data, after_cr = "", list[str](), False
    async for chunk in chunks:
        if not (text := decode(chunk)):
            continue
        # The other half of a CRLF that was cut in two.
        text, after_cr = text[after_cr and text[0] == "\n" :], text.endswith("\r")
        *lines, rest = _LINE_END.split(rest + text)
        for line in lines:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield _event("\n".join(data))
                data = []
            elif field == "data":
                data.append(value)


def _event(data: str) -> Event:
    try:
        envelope = json.loads(data)
        return Event(envelope["event"], envelope["data"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"no event of the daemon: {error}") from None
