from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflowd.errors import ProviderError
from tokenflowd.generate.sse import MAX_EVENT_BYTES, EventParser

STREAM = (
    b": a comment\n\n"
    b"event: named\ndata: one\nid: 7\n\n"
    b"data:two\n\n"
    b"data:   indented \n\n"
    b"data: first\ndata:\ndata: third\n\n"
    b'data: {"text": "\xe6\xb1\x89\xe5\xad\x97 \xf0\x9f\x99\x82"}\n\n'
    b"retry: 10\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [
    b"one",
    b"two",
    b"  indented ",
    b"first\n\nthird",
    '{"text": "汉字 🙂"}'.encode(),
    b"[DONE]",
]
# Linear work over this many bytes takes milliseconds; quadratic work takes minutes.
LINEAR_WITHIN_S = 5.0


def parsed(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.finish()


def with_ends(line_end: bytes) -> bytes:
    return STREAM.replace(b"\n", line_end)


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_lines_may_end_in_all_ways_of_the_standard(line_end: bytes) -> None:
    assert parsed(with_ends(line_end)) == EVENTS


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_a_stream_that_is_cut_anywhere_holds_the_same_events(line_end: bytes) -> None:
    stream = with_ends(line_end)
    for cut in range(len(stream) + 1):
        assert parsed(stream[:cut], stream[cut:]) == EVENTS, cut


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_a_stream_that_comes_byte_by_byte_holds_the_same_events(line_end: bytes) -> None:
    assert parsed(*(bytes([byte]) for byte in with_ends(line_end))) == EVENTS


@given(
    st.lists(st.sampled_from([b"data: a", b"data:", b"data: \xe2\x80", b"x: y", b": c", b""])),
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=1),
    st.lists(st.integers(0, 200)),
)
def test_any_cutting_of_any_stream_holds_the_same_events(
    lines: list[bytes], ends: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(line + ends[n % len(ends)] for n, line in enumerate(lines))
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert parsed(*pieces) == parsed(stream)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_what_is_sent_as_data_arrives_as_it_was(texts: list[str]) -> None:
    stream = b"".join(f"data: {text}\r\n\r\n".encode() for text in texts)
    assert parsed(stream) == [text.encode() for text in texts]


def test_an_event_is_there_as_soon_as_it_is_complete() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n") == []
    assert parser.feed(b"\ndata: two\r\r") == [b"one", b"two"]
    assert parser.feed(b"\ndata: three\n\n") == [b"three"]  # the LF was the CR's


def test_a_crlf_that_is_cut_in_two_is_one_line_end() -> None:
    assert parsed(b"data: one\r", b"\ndata: two\r", b"\n\r", b"\n") == [b"one\ntwo"]


def test_only_the_first_space_belongs_to_the_field() -> None:
    assert parsed(b"data:  x\n\ndata:\tx\n\n") == [b" x", b"\tx"]


def test_other_fields_and_comments_say_nothing() -> None:
    assert parsed(b": data: x\n\nevent: x\nid: 1\nretry: 5\ndatax: x\n\n") == []


def test_an_unfinished_event_is_given_out_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n\ndata: two\ndata: thr") == [b"one"]
    assert parser.feed(b"ee") == []
    assert parser.finish() == [b"two\nthree"]


@pytest.mark.parametrize("rest", [b"", b"\n", b"\r", b": only a comment", b"event: x\n"])
def test_the_end_of_a_stream_without_an_event_is_nothing(rest: bytes) -> None:
    assert parsed(b"data: one\n\n" + rest) == [b"one"]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: x\n" * 8192, b":" + b"c" * 65535])
def test_an_event_without_an_end_is_refused(piece: bytes) -> None:
    pieces = [piece] * (MAX_EVENT_BYTES // len(piece) + 1)
    assert parsed(*pieces[:-1])[1:] == []  # as long as an event may be
    with pytest.raises(ProviderError, match="without an end") as raised:
        parsed(*pieces)
    assert raised.value.fault == "bad_answer"


def test_many_events_may_be_longer_than_one_may_be() -> None:
    parser = EventParser()
    event = b"data: " + b"x" * 65536 + b"\n\n"
    count = MAX_EVENT_BYTES // len(event) + 2
    assert sum(len(parser.feed(event)) for _ in range(count)) == count


def test_a_megabyte_in_small_pieces_takes_no_longer_than_it_must() -> None:
    line = b"data: " + b"x" * 1_000_000 + b"\n\n"
    started = time.monotonic()
    assert parsed(*(line[i : i + 8] for i in range(0, len(line), 8))) == [b"x" * 1_000_000]
    assert time.monotonic() - started < LINEAR_WITHIN_S
