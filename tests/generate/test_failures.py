"""What fails at the wire ends in an error event that says what it was, and in a row that has
what had come until then."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.conftest import KEY, NOWHERE, Event, OpenRelay, Relay, text_of
from tests.upstream import (
    DONE,
    Received,
    Script,
    Upstream,
    Wire,
    chunk,
    event,
    events,
    failure,
    until_eof,
)
from tokenflowd.generate.client import MAX_DETAIL_CHARS

ONCE = {"retries": 0}
# The timeouts of these tests are 0.3 s.
SOON_S = 5.0
STOP = chunk(finish_reason="stop")
SHORT = {"chunk_timeout_s": 0.3, "retries": 0}


def assert_broke_off(relay: Relay, received: list[Event], text: str, error: str, says: str) -> None:
    """After `text` came an `error` whose detail says `says`; the history has both."""
    names = [event.name for event in received]
    assert names[0] == "metadata"
    assert set(names[1:-1]) <= {"text_chunk"}
    assert names[-1] == "error"
    assert text_of(received) == text
    problem = received[-1].json
    assert problem["error"] == error
    assert says in problem["detail"]
    assert "groq" in problem["detail"]
    assert problem["type"] == error.replace(" ", "_")
    assert problem["retryable"] is (error not in ("authentication", "refused", "model not found"))
    assert problem.keys() - {"retry_after_s"} == {"error", "detail", "type", "retryable"}
    row = relay.latest()
    assert row["id"] == received[0].json["id"]
    assert (row["status"], row["error_type"]) == ("error", error)
    assert row["error_detail"] == problem["detail"]
    assert row["partial"] is True
    assert row.get("output", "") == text


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (failure(401, "Invalid API Key"), "authentication", "GROQ_API_KEY"),
        (failure(403, "Not for you"), "refused", "Not for you"),
        (failure(404, "No such model"), "model not found", "No such model"),
        (failure(400, "Too long"), "refused", "Too long"),
        (failure(429, "Slow down", Retry_After="120"), "rate limited", "Slow down"),
        (failure(408, "Too slow"), "timeout", "Too slow"),
        (failure(500, "Out of luck"), "server error", "500 Out of luck"),
        (failure(503, "Over capacity"), "overloaded", "503 Over capacity"),
    ],
)
def test_an_error_status_is_told_apart_and_quoted(
    open_relay: OpenRelay, script: Script, error: str, says: str
) -> None:
    relay = open_relay(script, generate=ONCE)
    received = relay.generate()
    assert_broke_off(relay, received, "", error, says)
    [attempt] = received[0].json["attempts"]
    assert attempt["error"] == error
    assert relay.latest()["attempts"] == [attempt]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b'{"error": "a sentence"}', "a sentence", id="a sentence"),
        pytest.param(b'{"error": {"message": "nested"}}', "nested", id="OpenAI's"),
        pytest.param(b'{"detail": "as FastAPI does"}', "as FastAPI does", id="FastAPI's"),
        pytest.param(
            b'{"detail": [{"loc": ["body", "n"], "msg": "must be one", "input": "x"}]}',
            "body.n: must be one",
            id="FastAPI's validation",
        ),
        pytest.param(b'{"message": "as Cohere does"}', "as Cohere does", id="Cohere's"),
        pytest.param(b"plain words", "plain words", id="words"),
        pytest.param(b'{"error": %b%b}' % (b"[" * 5000, b"]" * 5000), "500", id="nested"),
        pytest.param(b'{"error": %b%b}' % (b"[" * 600, b"]" * 600), "500", id="nested less"),
        pytest.param(b"\xff\xfe", "500", id="no UTF-8"),
        pytest.param(b"", "500", id="nothing"),
        pytest.param(b"x" * 500_000, "xxx", id="a novel"),
    ],
)
def test_an_error_is_understood_in_whatever_form(
    open_relay: OpenRelay, body: bytes, says: str
) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.body(500, body, "application/json")

    relay = open_relay(script, generate=ONCE)
    received = relay.generate()
    assert_broke_off(relay, received, "", "server error", says)
    assert len(received[-1].json["detail"]) < MAX_DETAIL_CHARS + 100


def test_a_page_of_a_proxy_is_not_quoted(open_relay: OpenRelay) -> None:
    async def script(wire: Wire, request: Received) -> None:
        page = b"<!DOCTYPE html><html><h1>502 Bad Gateway</h1></html>"
        await wire.body(502, page, "text/html")

    relay = open_relay(script, generate=ONCE)
    received = relay.generate()
    assert_broke_off(relay, received, "", "overloaded", "502")
    assert "<" not in received[-1].json["detail"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<html>Please log in</html>", "text/html"),
        (b"Hello", "text/plain"),
    ],
)
def test_something_else_than_a_stream_is_a_bad_answer(
    open_relay: OpenRelay, content: bytes, content_type: str
) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.body(200, content, content_type)

    relay = open_relay(script, generate=ONCE)
    assert_broke_off(relay, relay.generate(), "", "bad answer", content_type)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays(open_relay: OpenRelay, status: int) -> None:
    with Upstream() as elsewhere:

        async def script(wire: Wire, request: Received) -> None:
            await wire.body(status, b"", "text/plain", Location=f"{elsewhere.url}/chat/completions")

        relay = open_relay(script, generate=ONCE)
        assert_broke_off(relay, relay.generate(), "", "bad answer", str(status))
        assert elsewhere.requests == []
    [request] = relay.upstream.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_a_provider_that_is_not_there_is_unreachable(open_relay: OpenRelay) -> None:
    relay = open_relay(generate=ONCE, providers={"groq": {"base_url": NOWHERE}})
    assert_broke_off(relay, relay.generate(), "", "unreachable", "refused")


def breaking(*sent: bytes, reset: bool, head: bool = True) -> Script:
    """Says this, then the connection breaks: with a reset, or like an orderly end."""

    async def script(wire: Wire, request: Received) -> None:
        if head:
            await wire.head()
        for data in sent:
            await wire.send(data)
        await asyncio.sleep(0.1)  # a reset overtakes what was sent
        wire.reset() if reset else await wire.close()

    return script


@pytest.mark.parametrize("reset", [True, False])
def test_a_connection_that_breaks_before_the_head_is_unreachable(
    open_relay: OpenRelay, reset: bool
) -> None:
    relay = open_relay(breaking(reset=reset, head=False), generate=ONCE)
    assert_broke_off(relay, relay.generate(), "", "unreachable", "closed the connection")


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ([], ""),
        ([chunk("Hel")], "Hel"),
        ([chunk("Hel"), chunk("lo")], "Hello"),
        ([chunk("Hel"), chunk("lo")[:30]], "Hel"),
    ],
)
def test_a_connection_that_breaks_within_the_answer_is_a_bad_answer(
    open_relay: OpenRelay, sent: list[bytes], text: str, reset: bool
) -> None:
    relay = open_relay(breaking(*sent, reset=reset), generate=ONCE)
    assert_broke_off(relay, relay.generate(), text, "bad answer", "")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(until_eof(chunk("Hel")), id="the connection ends"),
        pytest.param(until_eof(chunk("Hel") + b"data: {"), id="within an event"),
        pytest.param(events(chunk("Hel")), id="the body ends"),
    ],
)
def test_an_end_without_a_finish_reason_is_an_error(open_relay: OpenRelay, script: Script) -> None:
    relay = open_relay(script)
    assert_broke_off(relay, relay.generate(), "Hel", "bad answer", "")
    assert len(relay.upstream.requests) == 1  # the first words are out: nothing is asked again


@pytest.mark.parametrize("script", [until_eof(b""), events(), events(b": hi\n\n"), events(DONE)])
def test_an_empty_answer_is_an_error(open_relay: OpenRelay, script: Script) -> None:
    relay = open_relay(script, generate=ONCE)
    assert_broke_off(relay, relay.generate(), "", "bad answer", "before its end")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "problem",
    [
        {"error": {"message": "the GPU is on fire", "code": 500}},
        {"error": "the GPU is on fire"},
        {"choices": [], "error": {"message": "the GPU is on fire"}},
        {"choices": [], "x_groq": {"error": "the GPU is on fire"}},
    ],
)
def test_an_error_within_the_stream_is_an_error(
    open_relay: OpenRelay, problem: object, begun: bool
) -> None:
    relay = open_relay(events(*[chunk("Hel")] * begun, event(problem)), generate=ONCE)
    received = relay.generate()
    assert_broke_off(relay, received, "Hel" * begun, "server error", "the GPU is on fire")


def nested(depth: int) -> bytes:
    return b'data: {"more": %b%b}\n\n' % (b"[" * depth, b"]" * depth)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"data: {broken\n\n", id="no JSON"),
        pytest.param(b"data: []\n\n", id="a list"),
        pytest.param(b"data: null\n\n", id="null"),
        pytest.param(b'data: {"choices": {}}\n\n', id="another schema"),
        pytest.param(b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', id="no UTF-8"),
        pytest.param(
            b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n', id="half a character"
        ),
        pytest.param(nested(100_000), id="nested without end"),
    ],
)
def test_nonsense_is_an_error_of_the_provider(
    open_relay: OpenRelay, nonsense: bytes, begun: bool
) -> None:
    relay = open_relay(events(*[chunk("Hel")] * begun, nonsense, STOP), generate=ONCE)
    received = relay.generate()
    assert_broke_off(relay, received, "Hel" * begun, "bad answer", "no chat completion")


@pytest.mark.parametrize("size", [b"zz\r\nhello\r\n", b"-5\r\nhello\r\n", b"5 hello", b"\r\n\r\n"])
def test_a_malformed_chunk_is_an_error_in_time(open_relay: OpenRelay, size: bytes) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Hel"))
        await asyncio.sleep(0.1)
        await wire.raw(size)
        await wire.until_gone()

    relay = open_relay(script, generate=SHORT)
    started = time.monotonic()
    received = relay.generate()
    assert time.monotonic() - started < SOON_S
    error = received[-1].json["error"]
    assert error in ("bad answer", "timeout")  # aiohttp's client says nothing of some of these
    assert_broke_off(relay, received, "Hel", error, "")


@pytest.mark.parametrize("sent", [b"", b"data: {", b"\r\n"])
def test_a_stream_that_stalls_is_given_up(open_relay: OpenRelay, sent: bytes) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Hel") + sent)
        await wire.until_gone()

    relay = open_relay(script, generate=SHORT)
    started = time.monotonic()
    assert_broke_off(relay, relay.generate(), "Hel", "timeout", "in time")
    assert time.monotonic() - started < SOON_S
    assert relay.upstream.requests[0].gone.wait(SOON_S)


@pytest.mark.parametrize("said", ["nothing", "the head", "comments"])
def test_an_answer_that_does_not_begin_is_given_up(open_relay: OpenRelay, said: str) -> None:
    async def script(wire: Wire, request: Received) -> None:
        if said != "nothing":
            await wire.head()
        while said == "comments":
            await wire.send(b": PROCESSING\n\n")
            await asyncio.sleep(0.05)
        await wire.until_gone()

    relay = open_relay(script, generate={"first_token_timeout_s": 0.3, "retries": 0})
    started = time.monotonic()
    assert_broke_off(relay, relay.generate(), "", "timeout", "in time")
    assert time.monotonic() - started < SOON_S
    assert relay.upstream.requests[0].gone.wait(SOON_S)


def test_an_event_without_an_end_is_refused_and_the_provider_told(open_relay: OpenRelay) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Hel"))
        await wire.send(b"data: ")
        while True:
            await wire.send(b"x" * 1_000_000)

    relay = open_relay(script)
    assert_broke_off(relay, relay.generate(), "Hel", "bad answer", "without an end")
    assert relay.upstream.requests[0].gone.wait(SOON_S)
