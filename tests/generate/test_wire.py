"""Whatever a provider says at the wire, a client gets an answer, or an error that says why."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import OpenRelay, text_of
from tests.upstream import (
    DONE,
    Received,
    Script,
    Wire,
    answer,
    chunk,
    event,
    events,
    until_eof,
    usage,
)
from tokenflowd.generate.client import LAST_WORDS_S

TEXT = "Grüße, 汉字 and 🙂\n\n  end "
STOP = chunk(finish_reason="stop")
WHOLE = chunk("Grüße, 汉字") + chunk(" and 🙂\n\n  end ") + STOP + usage() + DONE
LONG = "0123456789" * 100_000  # a megabyte in one line


def in_pieces(stream: bytes, size: int) -> Script:
    """The stream in chunks of `size` bytes, each on its own way."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        for start in range(0, len(stream), size):
            await wire.send(stream[start : start + size])
            await asyncio.sleep(0)
        await wire.end()

    return script


def of_known_length(stream: bytes) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        await wire.body(200, stream, "text/event-stream; charset=utf-8")

    return script


async def byte_by_byte_from_the_head(wire: Wire, request: Received) -> None:
    """Not only the body: the status line, the headers and the sizes of chunks are cut, too."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    for byte in head + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(WHOLE), WHOLE):
        await wire.raw(bytes([byte]))
        await asyncio.sleep(0)


async def breaking_after_the_end(wire: Wire, request: Received) -> None:
    await wire.head()
    await wire.send(chunk(TEXT) + STOP)
    await asyncio.sleep(0.1)
    wire.reset()


async def slowly(wire: Wire, request: Received) -> None:
    await wire.head()
    for line in WHOLE.splitlines(keepends=True):
        await asyncio.sleep(0.05)
        await wire.send(line)
    await wire.end()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(answer("Grüße, ", "汉字", " and 🙂\n", "\n  end "), id="normal"),
        pytest.param(slowly, id="slow"),
        pytest.param(in_pieces(WHOLE, 1), id="byte by byte"),
        pytest.param(byte_by_byte_from_the_head, id="byte by byte from the head"),
        pytest.param(in_pieces(WHOLE, 7), id="cut within characters"),
        pytest.param(in_pieces(WHOLE.replace(b"\n", b"\r\n"), 1), id="CRLF, byte by byte"),
        pytest.param(in_pieces(WHOLE.replace(b"\n", b"\r\n"), 10_000), id="CRLF"),
        pytest.param(in_pieces(WHOLE.replace(b"\n", b"\r"), 10_000), id="CR"),
        pytest.param(in_pieces(WHOLE.replace(b"data: ", b"data:"), 10_000), id="no space"),
        pytest.param(until_eof(WHOLE), id="until the end of the connection"),
        pytest.param(of_known_length(WHOLE), id="of known length"),
        pytest.param(
            events(
                b": PROCESSING\n\n", b"event: x\n" + chunk(TEXT), b": \n\n", STOP, usage(), DONE
            ),
            id="comments and names",
        ),
        pytest.param(events(chunk(TEXT, "stop"), usage(), DONE), id="text with its end"),
        pytest.param(in_pieces((chunk(TEXT) + STOP)[:-2], 5), id="no empty line at the end"),
        pytest.param(
            events(
                chunk(TEXT, usage=None, x_groq={"id": "req_1"}, service_tier="on_demand"),
                event({"choices": []}),
                STOP,
                DONE,
            ),
            id="more than we know",
        ),
    ],
)
def test_an_answer_arrives_as_it_was_meant(open_relay: OpenRelay, script: Script) -> None:
    relay = open_relay(script)
    received = relay.generate()
    names = [event.name for event in received]
    assert names[0] == "metadata"
    assert set(names[1:-2]) == {"text_chunk"}
    assert names[-2:] == ["usage", "end_stream"]
    assert text_of(received) == TEXT
    assert received[-2].json["finish_reason"] == "stop"
    assert received[-1].data == "Stream finished"
    row = relay.latest()
    assert (row["status"], row["partial"], row["output"]) == ("ok", False, TEXT)
    assert row["id"] == received[0].json["id"] == received[-2].json["id"]


@pytest.mark.parametrize("size", [2_000_000, 9_973])
def test_a_line_of_a_megabyte_arrives(open_relay: OpenRelay, size: int) -> None:
    relay = open_relay(in_pieces(chunk(LONG) + STOP + usage() + DONE, size))
    received = relay.generate()
    assert text_of(received) == LONG
    assert received[-1].name == "end_stream"
    assert relay.latest()["output"] == LONG


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(events(chunk("Hello"), STOP), id="neither usage nor DONE"),
        pytest.param(events(chunk("Hello"), STOP, DONE), id="no usage"),
        pytest.param(until_eof(chunk("Hello") + STOP), id="the connection ends"),
        pytest.param(breaking_after_the_end, id="the connection breaks"),
        pytest.param(events(chunk("Hello"), STOP, b"data: {broken\n\n"), id="then nonsense"),
    ],
)
def test_a_finish_reason_is_the_end_whatever_follows(open_relay: OpenRelay, script: Script) -> None:
    relay = open_relay(script)
    received = relay.generate()
    assert [event.name for event in received][-2:] == ["usage", "end_stream"]
    counted = received[-2].json
    assert counted["tokens_counted_by"] == "tokenflow"
    assert counted["prompt_tokens"] == 1
    assert counted["completion_tokens"] > 0
    row = relay.latest()
    assert (row["status"], row["tokens_counted_by"]) == ("ok", "tokenflow")


@pytest.mark.parametrize(
    "stream",
    [
        [STOP, usage(70, 30), DONE],
        [chunk(finish_reason="stop", usage={"prompt_tokens": 70, "completion_tokens": 30}), DONE],
        [
            chunk(
                finish_reason="stop",
                x_groq={"id": "r", "usage": {"prompt_tokens": 70, "completion_tokens": 30}},
            ),
            DONE,
        ],
    ],
    ids=["an event of its own", "with the end", "Groq's"],
)
def test_the_providers_own_counts_are_taken(open_relay: OpenRelay, stream: list[bytes]) -> None:
    relay = open_relay(events(chunk("Hello"), *stream))
    counted = relay.generate()[-2].json
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (70, 30)
    assert counted["tokens_counted_by"] == "provider"
    row = relay.latest()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (70, 30)


@pytest.mark.parametrize(
    "counts",
    [
        *({"prompt_tokens": n, "completion_tokens": n} for n in (2**63, 10**30, -1, 7.0, "7")),
        {"prompt_tokens": None},
        {"prompt_tokens": 7, "completion_tokens": 3, "cost": -0.5},
        {"prompt_tokens": 7, "completion_tokens": 3, "cost": "free"},
        {},
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("together", [False, True])
def test_odd_counts_do_no_harm(open_relay: OpenRelay, counts: object, together: bool) -> None:
    odd = [chunk(finish_reason="stop", usage=counts)]
    if not together:
        odd = [STOP, event({"choices": [], "usage": counts})]
    relay = open_relay(events(chunk("Hello"), *odd, DONE), answer("again"))
    assert relay.generate()[-1].name == "end_stream"
    assert text_of(relay.generate()) == "again"
    assert [row["status"] for row in relay.rows()] == ["ok", "ok"]


@pytest.mark.parametrize("last", [b": still here\n\n", chunk()], ids=["comments", "nothing"])
def test_a_provider_that_cannot_stop_talking_is_left(open_relay: OpenRelay, last: bytes) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Hello") + STOP)
        while True:
            await asyncio.sleep(0.05)
            await wire.send(last)

    relay = open_relay(script)
    assert [event.name for event in relay.generate()][-2:] == ["usage", "end_stream"]
    assert relay.upstream.requests[0].gone.wait(LAST_WORDS_S)
