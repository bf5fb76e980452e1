"""The event parser: whatever the cuts, the same events."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflow_tui.sse import Event, events


def parsed(*chunks: bytes) -> list[Event]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collected() -> list[Event]:
        return [event async for event in events(stream())]

    return asyncio.run(collected())


def test_data_is_what_the_envelope_holds() -> None:
    data = '{"event":"text_chunk","data":" \\r\\n汉"}'
    stream = f"event: text_chunk\ndata: {data}\n\n: a comment\n\n".encode()
    assert parsed(stream) == [Event("text_chunk", " \r\n汉")]


def test_lines_of_data_are_joined_and_one_leading_space_goes() -> None:
    stream = b'data:{"event": "usage",\ndata:  "data": {"id": null}}\n\n'
    assert parsed(stream) == [Event("usage", {"id": None})]


def test_an_unfinished_event_is_none() -> None:
    whole = b'data: {"event": "end_stream", "data": "whole"}\n\n'
    assert parsed(whole + whole[:-1]) == [Event("end_stream", "whole")]


@pytest.mark.parametrize("data", [b"[DONE]", b"{", b"[]", b"7", b"null", b'{"event": "usage"}'])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|JSON|Expecting"):
        parsed(b"data: %b\n\n" % data)


@given(
    st.lists(st.text(alphabet="añ汉🙂 \n", max_size=8), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_cuts_and_line_ends_change_nothing(texts: list[str], end: str, cuts: list[int]) -> None:
    envelopes = [json.dumps({"event": "t", "data": text}, ensure_ascii=False) for text in texts]
    lines = [f"event: t{end}data: {envelope}{end}{end}" for envelope in envelopes]
    stream = "".join(lines).encode()
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    chunks: Sequence[bytes] = [stream[first:last] for first, last in itertools.pairwise(places)]
    assert parsed(*chunks) == [Event("t", text) for text in texts]
