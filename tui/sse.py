"""Server-sent events out of bytes (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """The events in a stream of bytes that may be cut anywhere; an unfinished last one is none."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest, name, data, after_cr = "", "", list[str](), False
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
                if name or data:
                    yield Event(name or "message", "\n".join(data))
                name, data = "", []
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
