"""Providers that take liberties with the protocol: what they say is passed on byte for byte, what
is readable of it is recorded, and the answer ends when it has ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import Event, OpenRelay, Relay, text_of
from tests.upstream import DONE, Received, Script, Wire, answer, chunk, event, events, until_eof
from tests.upstream import failure as status
from tokenflowd.generate.client import LAST_WORDS_S

STOP = chunk(finish_reason="stop")
CHAT = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}


def delta(index: Any = 0, finish_reason: Any = None, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": finish_reason}


def choices(*deltas: dict[str, Any]) -> bytes:
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": list(deltas)})


def calls(*parts: dict[str, Any]) -> bytes:
    return choices(delta(tool_calls=list(parts)))


def passed_on(relay: Relay, **fields: Any) -> list[str]:
    """The data of the events that a client of /v1 gets."""
    body = CHAT | {"stream": True, "stream_options": {"include_usage": True}} | fields
    return [event.data for event in relay.daemon.stream("/v1/chat/completions", body, 20)]


def data_of(*payloads: bytes) -> list[str]:
    return [payload.decode().removeprefix("data: ").strip() for payload in payloads]


PAYLOADS: dict[str, tuple[list[bytes], str]] = {
    "content as a list": (
        [choices(delta(content=[{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]))],
        "Hello",
    ),
    "content as a number": ([choices(delta(content=7))], "7"),
    "content as an object": ([choices(delta(content={"type": "text", "text": "Hello"}))], "Hello"),
    "no index": ([event({"choices": [{"delta": {"content": "Hello"}}]})], "Hello"),
    "index as text": ([choices(delta("0", content="Hello"))], "Hello"),
    "index null": ([choices(delta(None, content="Hello"))], "Hello"),
    "delta null": ([event({"choices": [{"index": 0, "delta": None}]}), chunk("Hello")], "Hello"),
    "choices null": ([event({"choices": None, "usage": {}}), chunk("Hello")], "Hello"),
    "an empty object": ([b"data: {}\n\n", chunk("Hello")], "Hello"),
    "fields of other types": (
        [
            event(
                {
                    "choices": [{"index": 0, "delta": {"content": "Hello", "tool_calls": {}}}],
                    "x_groq": "odd",
                    "usage": "none",
                }
            )
        ],
        "Hello",
    ),
    "a call without an index": (
        [
            calls({"id": "a", "function": {"name": "f", "arguments": '{"x":'}}),
            calls({"function": {"arguments": "1}"}}),
            calls({"id": "b", "function": {"name": "g", "arguments": "{}"}}),
        ],
        '[{"name":"f","arguments":"{\\"x\\":1}"},{"name":"g","arguments":"{}"}]',
    ),
    "calls with index null": (
        [
            calls(
                {"index": None, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": None, "id": "b", "function": {"name": "g", "arguments": "{}"}},
            )
        ],
        '[{"name":"f","arguments":"{}"},{"name":"g","arguments":"{}"}]',
    ),
    "calls that share an index": (
        [
            calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
            calls({"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}}),
        ],
        '[{"name":"f","arguments":"{}"},{"name":"g","arguments":"{}"}]',
    ),
    "calls with neither index nor id": (
        [
            calls({"function": {"name": "f", "arguments": "{}"}}),
            calls({"function": {"name": "g", "arguments": "{}"}}),
        ],
        '[{"name":"f","arguments":"{}"},{"name":"g","arguments":"{}"}]',
    ),
    "arguments as an object": (
        [calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}})],
        '[{"name":"f","arguments":"{\\"x\\":1}"}]',
    ),
    "a call whose name comes with every part": (
        [
            calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": part}})
            for part in ("{", '"x":', "1}")
        ],
        '[{"name":"f","arguments":"{\\"x\\":1}"}]',
    ),
    "function null": (
        [
            calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}),
            calls({"index": 0, "function": None}),
            calls({"index": 0, "function": {"arguments": "}"}}),
        ],
        '[{"name":"f","arguments":"{}"}]',
    ),
    "words and a call": (
        [
            chunk("Let me look."),
            calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
        ],
        'Let me look.\n\n[{"name":"f","arguments":"{}"}]',
    ),
    "a refusal": ([choices(delta(refusal="I can"), delta(refusal="not."))], "I cannot."),
    "reasoning alone": (
        [choices(delta(reasoning="Let me ")), choices(delta(reasoning="think."))],
        '{"reasoning":"Let me think."}',
    ),
    "reasoning in another field": (
        [choices(delta(reasoning_content="Hm.")), chunk("Hello")],
        "Hello",
    ),
}


@pytest.mark.parametrize(("payloads", "recorded"), PAYLOADS.values(), ids=PAYLOADS)
def test_what_need_not_be_understood_is_passed_on(
    open_relay: OpenRelay, payloads: list[bytes], recorded: str
) -> None:
    relay = open_relay(events(*payloads, STOP, DONE))
    assert passed_on(relay) == data_of(*payloads, STOP, DONE)
    row = relay.latest()
    assert (row["status"], row["partial"], row["output"]) == ("ok", False, recorded)
    assert row["finish_reason"] == "stop"


def test_empty_events_are_passed_over(open_relay: OpenRelay) -> None:
    relay = open_relay(
        events(b"data:\n\n", b"data: \n\n", chunk("Hello"), b"data:\n\n", STOP, DONE)
    )
    assert passed_on(relay) == data_of(chunk("Hello"), STOP, DONE)
    assert relay.latest()["output"] == "Hello"


WHOLE_CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": {"y": 2}}},
    {"index": None, "id": "c", "function": None},
]


@pytest.mark.parametrize(
    ("message", "recorded"),
    [
        pytest.param(
            {"content": None, "tool_calls": WHOLE_CALLS},
            '[{"name":"f","arguments":"{\\"x\\":1}"},{"name":"g","arguments":"{\\"y\\":2}"},'
            '{"name":"","arguments":""}]',
            id="parallel calls",
        ),
        pytest.param({"content": [{"type": "text", "text": "Hello"}]}, "Hello", id="a list"),
        pytest.param({"content": "", "refusal": "No."}, "No.", id="a refusal"),
    ],
)
@pytest.mark.parametrize("reason", ["stop", "", None])
def test_a_whole_answer_is_passed_on(
    open_relay: OpenRelay, message: dict[str, Any], recorded: str, reason: str | None
) -> None:
    """One that comes whole has ended, whatever its finish reason says."""
    whole = {"choices": [{"index": "0", "message": message, "finish_reason": reason}], "odd": [1]}

    async def script(wire: Wire, request: Received) -> None:
        await wire.json(200, whole)

    relay = open_relay(script)
    answered = relay.daemon.post("/v1/chat/completions", CHAT)
    assert (answered.status, answered.json) == (200, whole)
    row = relay.latest()
    assert (row["output"], row["finish_reason"]) == (recorded, reason or "missing")
    assert row["partial"] is False


def test_a_provider_that_cannot_stream_is_streamed_for(open_relay: OpenRelay) -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hello", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}

    async def script(wire: Wire, request: Received) -> None:
        await wire.json(200, {"id": "c1", "object": "chat.completion", "choices": [choice]})

    relay = open_relay(script)
    [only, done] = passed_on(relay)
    sent = json.loads(only)
    assert sent["object"] == "chat.completion.chunk"
    assert sent["choices"][0]["delta"]["content"] == "Hello"
    assert sent["choices"][0]["delta"]["tool_calls"] == [call | {"index": 0}]
    assert sent["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"
    assert text_of(relay.generate()) == "Hello"


def paced(*payloads: bytes, pause_s: float) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        for payload in payloads:
            await wire.send(payload)
            await asyncio.sleep(pause_s)
        await wire.send(DONE)
        await wire.end()

    return script


WORDS = [f"word{n} " for n in range(8)]
LONGER_THAN_LAST_WORDS_S = LAST_WORDS_S + 0.5


@pytest.mark.parametrize(
    ("payloads", "pause_s", "said", "reason"),
    [
        pytest.param(
            [choices(delta(finish_reason="", content=word)) for word in WORDS],
            LAST_WORDS_S / 5,
            "".join(WORDS),
            "missing",
            id="an empty reason with every chunk",
        ),
        pytest.param(
            [choices(delta(finish_reason="stop", content=word)) for word in WORDS],
            LAST_WORDS_S / 5,
            "".join(WORDS),
            "stop",
            id="a reason with every chunk",
        ),
        pytest.param(
            [choices(delta(finish_reason="stop", content=word)) for word in WORDS[:2]],
            LONGER_THAN_LAST_WORDS_S,
            "".join(WORDS[:2]),
            "stop",
            id="a reason with every chunk, slowly",
        ),
        pytest.param(
            [STOP, *(choices(delta(content=word)) for word in WORDS), STOP],
            LAST_WORDS_S / 5,
            "".join(WORDS),
            "stop",
            id="a reason first",
        ),
    ],
)
def test_an_answer_ends_at_its_end(
    open_relay: OpenRelay, payloads: list[bytes], pause_s: float, said: str, reason: str
) -> None:
    relay = open_relay(paced(*payloads, pause_s=pause_s))
    assert passed_on(relay) == data_of(*payloads, DONE)
    row = relay.latest()
    assert (row["output"], row["finish_reason"], row["partial"]) == (said, reason, False)


def test_an_answer_of_several_choices_ends_with_the_last(open_relay: OpenRelay) -> None:
    first = [choices(delta(0, content="Eins")), choices(delta(0, "stop"))]
    second = [choices(delta(1, content=word)) for word in ("Zw", "ei")] + [
        choices(delta(1, "length"))
    ]
    script = paced(*first, *second, pause_s=LONGER_THAN_LAST_WORDS_S)
    relay = open_relay(script)
    assert passed_on(relay, n=2) == data_of(*first, *second, DONE)
    row = relay.latest()
    assert row["output"] == "Eins\n\n---\n\nZwei"
    assert (row["finish_reason"], row["partial"]) == ("stop", False)


def test_a_choice_that_breaks_off_is_an_error(open_relay: OpenRelay) -> None:
    relay = open_relay(until_eof(choices(delta(0, "stop", content="Eins")) + chunk_of_second()))
    data = passed_on(relay, n=2)
    assert json.loads(data[-1])["error"]["code"] == "bad_answer"
    assert relay.latest()["partial"] is True


def chunk_of_second() -> bytes:
    return choices(delta(1, content="Zw"))


def test_done_without_a_reason_is_complete(open_relay: OpenRelay) -> None:
    """The client has all there is, the history says that no reason came, and the provider is
    asked again."""
    relay = open_relay(events(chunk("Hello"), DONE))
    assert passed_on(relay) == data_of(chunk("Hello"), DONE)
    row = relay.latest()
    assert (row["status"], row["partial"], row["finish_reason"]) == ("ok", False, "missing")
    received = relay.generate()
    assert [event.name for event in received][-2:] == ["usage", "end_stream"]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(
            {"choices": [{"index": 0, "delta": {}, "error": {"message": "out of memory"}}]},
            id="in a choice",
        ),
        pytest.param(
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"content": ""},
                        "finish_reason": "error",
                        "error": {"code": 502, "message": "out of memory"},
                    }
                ]
            },
            id="OpenRouter's",
        ),
        pytest.param({"message": "out of memory", "code": 500}, id="without an envelope"),
        pytest.param({"object": "error", "message": "out of memory"}, id="vLLM's"),
        pytest.param({"type": "error", "error": {"message": "out of memory"}}, id="with a type"),
        pytest.param({"detail": "out of memory"}, id="FastAPI's"),
    ],
)
def test_an_error_in_whatever_place_is_an_error(
    open_relay: OpenRelay, problem: dict[str, Any], begun: bool
) -> None:
    relay = open_relay(
        events(*[chunk("Hel")] * begun, event(problem), DONE), generate={"retries": 0}
    )
    received = relay.generate()
    assert received[-1].name == "error"
    assert "out of memory" in str(error_of(received[-1]))
    assert relay.latest()["status"] == "error"


def error_of(event: Event) -> Any:
    return event.json


@pytest.mark.parametrize("script", [events(event([])), status(500), events(DONE)])
def test_after_an_odd_answer_the_provider_is_asked_again(
    open_relay: OpenRelay, script: Script
) -> None:
    relay = open_relay(*[script] * 4, answer("Hello"), generate={"retries": 0})
    for _ in range(4):
        assert relay.generate()[-1].name == "error"
    assert text_of(relay.generate(model="m2")) == "Hello"


def test_the_first_word_is_timed_beside_the_first_byte(open_relay: OpenRelay) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(choices(delta(role="assistant")))
        await asyncio.sleep(0.3)
        await wire.send(chunk("Hello") + STOP + DONE)
        await wire.end()

    relay = open_relay(script)
    passed_on(relay)
    row = relay.latest()
    assert row["ttft_ms"] + 200 < row["first_word_ms"]
