"""The event parser: whatever the cuts, the same events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

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


def test_lines_of_data_are_joined_and_one_leading_space_goes() -> None:
    stream = b"event: text_chunk\ndata:  two\ndata: lines\n\n: a comment\n\ndata:x\n\n"
    assert parsed(stream) == [Event("text_chunk", " two\nlines"), Event("message", "x")]


def test_an_unfinished_event_is_none() -> None:
    assert parsed(b"data: whole\n\ndata: half\n") == [Event("message", "whole")]


@given(
    st.lists(st.text(alphabet="añ汉🙂 \n", max_size=8), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_cuts_and_line_ends_change_nothing(texts: list[str], end: str, cuts: list[int]) -> None:
    lines = [
        "".join(f"data: {line}{end}" for line in text.split("\n")) + f"event: t{end}{end}"
        for text in texts
    ]
    stream = "".join(lines).encode()
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    chunks: Sequence[bytes] = [stream[first:last] for first, last in itertools.pairwise(places)]
    assert parsed(*chunks) == [Event("t", text) for text in texts]
