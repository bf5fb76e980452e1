"""The OpenAI-compatible door, through the official client: what it lets through, either way."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.conftest import KEY, Daemon, Event, EventReader, answered_by, text
from tests.upstream import (
    DONE,
    Received,
    Script,
    Upstream,
    Wire,
    answer,
    chunk,
    events,
    failure,
    usage,
)
from tokenflowd.api.streams import KEEP_ALIVE_S
from tokenflowd.compress import count_tokens
from tokenflowd.generate import USER_AGENT
from tokenflowd.services import Services

# RELIABILITY.md's promise.
CANCELLED_WITHIN_S = 1.0
# A GET of this machine is far below it, a server that says nothing is waited for twice as long.
AT_ONCE_S = 0.5
PATIENCE_S = 10.0
PRICED = "openai/gpt-oss-20b"
PRICE_IN, PRICE_OUT = 0.075e-6, 0.30e-6
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"cityName": {"type": "string", "enum": ["Köln", "大阪"]}},
        },
    },
}


@dataclass
class Door:
    """A daemon with one provider behind it and OpenAI's client before it."""

    daemon: Daemon
    upstream: Upstream
    client: OpenAI

    def create(self, **more: Any) -> Any:
        return self.client.chat.completions.create(**({"model": "m1", "messages": HELLO} | more))

    def asking(self, **more: Any) -> http.client.HTTPConnection:
        """A connection of the plainest client, over which the request was sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=60)
        body = json.dumps({"model": "m1", "messages": HELLO} | more)
        connection.request(
            "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
        )
        return connection

    def raw(self, **more: Any) -> bytes:
        """The body of an answer as it comes over the wire."""
        with contextlib.closing(self.asking(**more)) as connection:
            return connection.getresponse().read()

    def latest(self) -> Any:
        """The newest row of the history, with everything that is known of it."""
        row = self.daemon.get("/api/history").json["requests"][0]
        return self.daemon.get(f"/api/history/{row['id']}").json

    def sent_messages(self) -> list[Any]:
        """The messages of the only request that reached the provider."""
        [body] = self.upstream.bodies
        assert "tokenflow" not in body
        return list(body["messages"])


OpenDoor = Callable[..., Door]


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[OpenDoor]:
    """Opens doors with these scripts behind them, and closes them after the test."""
    opened: list[Door] = []

    def opening(*scripts: Script, **sections: dict[str, Any]) -> Door:
        upstream = Upstream(*scripts)
        home = tmp_path / str(len(opened))
        home.mkdir()
        daemon = Daemon(Services(answered_by(upstream, home, **sections)))
        url = f"http://127.0.0.1:{daemon.port}/v1"
        client = OpenAI(base_url=url, api_key="anything", max_retries=0, timeout=30)
        opened.append(Door(daemon, upstream, client))
        return opened[-1]

    yield opening
    for door in opened:
        door.client.close()
        door.daemon.close()
        door.upstream.close()


def test_a_whole_answer_is_the_providers_own(open_door: OpenDoor) -> None:
    door = open_door(answer("Hello", " world ", "\n  ✓ 汉字"))
    completion = door.create()
    assert completion.choices[0].message.content == "Hello world \n  ✓ 汉字"
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 3)


def test_a_whole_answer_may_take_longer_than_a_stream_may_be_silent(open_door: OpenDoor) -> None:
    """No keep-alive turns it, or an error in its place, into a stream."""

    async def slow(wire: Wire, request: Received) -> None:
        await asyncio.sleep(KEEP_ALIVE_S + 1)
        refused = request.body.get("user") == "refused"
        await (failure(400, "too long") if refused else answer("Hello"))(wire, request)

    door = open_door(slow)
    with ThreadPoolExecutor(2) as pool:
        answered = pool.submit(door.raw)
        refused = pool.submit(door.create, user="refused")
    assert json.loads(answered.result())["choices"][0]["message"]["content"] == "Hello"
    assert isinstance(refused.exception(), openai.BadRequestError)


def test_a_streamed_answer_comes_in_the_providers_pieces(open_door: OpenDoor) -> None:
    pieces = ["Hello", " world", "\n\n  indented", "\r\n", "✓ 汉字 🙂"]
    door = open_door(answer(*pieces))
    chunks = list(door.create(stream=True))
    assert [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content] == pieces
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_usage_is_streamed_only_to_those_who_ask_for_it(open_door: OpenDoor) -> None:
    door = open_door(answer("Hello"))
    assert all(c.choices and c.usage is None for c in door.create(stream=True))
    *_, last = door.create(stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 3)
    # The provider is always asked for it, as the history wants to know.
    assert [body["stream_options"] for body in door.upstream.bodies] == [
        {"include_usage": True}
    ] * 2


def test_usage_in_a_chunk_with_a_choice_reaches_everybody(open_door: OpenDoor) -> None:
    counts = {"prompt_tokens": 7, "completion_tokens": 3}
    door = open_door(events(chunk("Hi"), chunk(finish_reason="stop", usage=counts), DONE))
    *_, last = door.create(stream=True)
    assert last.choices[0].finish_reason == "stop"


def test_fields_that_we_do_not_know_reach_the_provider_untouched(open_door: OpenDoor) -> None:
    door = open_door()
    fields: dict[str, Any] = {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object", "x": [None, 1.5, {}]}},
        },
        "seed": 2**53 + 1,
        "logit_bias": {"50256": -100},
        "stop": ["\n\n", "END"],
        "temperature": 0,
        "max_completion_tokens": 5,
        "parallel_tool_calls": False,
        "metadata": {"camelCase": "ü", "snake_case": "kept"},
        "user": "somebody",
    }
    door.create(**fields, extra_body={"foo": {"Bar": 1}, "possibleCategories": None})
    expected = {
        "model": "m1",
        "messages": HELLO,
        **fields,
        "foo": {"Bar": 1},
        "possibleCategories": None,
    }
    assert door.upstream.bodies == [expected]


def test_nothing_is_added_to_a_request_but_the_wish_for_usage(open_door: OpenDoor) -> None:
    """The config's parameters of a model are for /api/generate: this door adds none."""
    door = open_door()
    door.create(model=PRICED)
    list(door.create(model=PRICED, stream=True, stream_options={"include_obfuscation": False}))
    whole, streamed = door.upstream.bodies
    assert whole == {"model": PRICED, "messages": HELLO}
    options = {"include_obfuscation": False, "include_usage": True}
    assert streamed == whole | {"stream": True, "stream_options": options}


def test_the_clients_own_key_is_not_passed_on(open_door: OpenDoor) -> None:
    door = open_door()
    door.create()
    assert door.upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"


def tool_call_events() -> list[bytes]:
    """Deltas of tool calls as a provider might write them: odd spacing, escapes, own fields."""
    return [
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n',
        b'data: { "choices" : [ {"delta":{"tool_calls":[{"index":0,"id":"call_1",'
        b'"type":"function","function":{"name":"get_weather","arguments":""}}]},'
        b'"index":0,"logprobs":null} ], "x_own" : 1.0 }\n\n',
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":'
        b'{"arguments":"{\\"cityName\\": \\"K\\u00f6ln\\"}"}}]}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","function":'
        b'{"name":"get_weather","arguments":"{}"}}]}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],\n'
        b'data:  "id": "written on two lines"}\n\n',
        b'data: {"choices":[],"usage":{"completion_tokens":9,"prompt_tokens":80,"extra":[]}}\n\n',
        DONE,
    ]


def test_tool_call_deltas_come_back_byte_for_byte(open_door: OpenDoor) -> None:
    sent = tool_call_events()
    door = open_door(events(*sent))
    assert door.raw(stream=True, stream_options={"include_usage": True}) == b"".join(sent)
    assert (
        door.raw(stream=True) == b"".join(sent[:-2]) + DONE
    )  # less the usage, which nobody asked for


def test_a_whole_answer_comes_back_byte_for_byte(open_door: OpenDoor) -> None:
    content = (
        b'{ "choices":[{"message":{"role":"assistant","content":"K\\u00f6ln"},'
        b'"finish_reason":"stop","index":0}], "usage": null,"own" : 1.0 }\n'
    )

    async def script(wire: Wire, request: Received) -> None:
        await wire.body(200, content, "application/json")

    assert open_door(script).raw() == content


def test_tool_calls_are_understood_by_the_client_and_kept_in_the_history(
    open_door: OpenDoor,
) -> None:
    door = open_door(events(*tool_call_events()))
    arguments: dict[int, str] = {}
    for received in door.create(stream=True, tools=[TOOL]):
        for call in received.choices[0].delta.tool_calls or ():
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert arguments == {0: '{"cityName": "Köln"}', 1: "{}"}
    row = door.latest()
    assert row["finish_reason"] == "tool_calls"
    assert json.loads(row["output"]) == [
        {"name": "get_weather", "arguments": '{"cityName": "Köln"}'},
        {"name": "get_weather", "arguments": "{}"},
    ]


@pytest.mark.parametrize(
    "prompt",
    [
        "Prove that the square root of two is irrational, step by step.",
        "Übersetze diesen Satz ins Französische, Spanische und Japanische: Guten Morgen!",
    ],
)
def test_auto_is_routed_by_classification(open_door: OpenDoor, prompt: str) -> None:
    door = open_door()
    found = door.daemon.post("/api/classify", {"prompt": prompt}).json
    said: list[ChatCompletionMessageParam] = [{"role": "user", "content": prompt}]
    response = door.client.chat.completions.with_raw_response.create(model="auto", messages=said)
    assert response.parse().choices[0].message.content == "Hello world"
    [body] = door.upstream.bodies
    assert body["model"] == found["recommended_model"]
    assert response.headers["x-tokenflow-model"] == body["model"]
    assert response.headers["x-tokenflow-provider"] == "groq"
    assert found["top_category"] in response.headers["x-tokenflow-route"]
    row = door.daemon.get(f"/api/history/{response.headers['x-tokenflow-id']}").json
    assert row["category"] == found["top_category"]


def test_auto_takes_the_callers_categories(open_door: OpenDoor) -> None:
    """Those without a ranking go to the fallback model, as what came in its place."""
    door = open_door()
    own = {"possible_categories": ["cooking", "体育"]}  # a header may not hold the latter
    response = door.client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "Simmer the onions in butter."}],
        extra_body={"tokenflow": own},
    )
    assert "cooking" in response.headers["x-tokenflow-route"]
    assert door.upstream.bodies[0]["model"] == "openai/gpt-oss-20b"


def test_a_stream_has_the_same_headers(open_door: OpenDoor) -> None:
    door = open_door()
    response = door.client.chat.completions.with_raw_response.create(
        model="m1", messages=HELLO, stream=True
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-tokenflow-model"] == "m1"
    list(response.parse())
    assert response.headers["x-tokenflow-id"] == door.latest()["id"]


LONG = text("meeting.txt")
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "read", "arguments": json.dumps({"text": LONG})},
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": f"Be brief. {LONG}"},
    {"role": "user", "content": f"This is what was said. {LONG}"},
    {"role": "assistant", "content": f"I see. {LONG}", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": f"A result. {LONG}"},
    {"role": "user", "content": "A short one."},
    {"role": "assistant", "content": f"Well. {LONG}"},
    {"role": "user", "content": f"Who was late? {LONG}"},
]


def test_only_long_texts_of_the_user_are_compressed(open_door: OpenDoor) -> None:
    door = open_door()
    door.create(messages=CONVERSATION, extra_body={"tokenflow": {"compress": 0.5}})
    sent = door.sent_messages()
    assert len(sent) == len(CONVERSATION)
    for number, (before, after) in enumerate(zip(CONVERSATION, sent, strict=True)):
        if number in {1, 6}:
            assert count_tokens(after["content"]) <= 0.55 * count_tokens(before["content"])
            assert set(after["content"].split()) <= set(before["content"].split())
        else:
            assert after == before, number


def test_what_was_sent_once_is_sent_with_the_same_bytes_in_every_later_turn(
    open_door: OpenDoor,
) -> None:
    door = open_door()
    questions = ["Who was late?", "What about the migration?", "And the boat?", f"And here? {LONG}"]
    said: list[dict[str, Any]] = []
    for number, question in enumerate(questions):
        asked = f"{LONG}\n\n{question}" if number == 0 else question
        said.append({"role": "user", "content": asked})
        door.create(messages=said, extra_body={"tokenflow": {"compress": 0.5}})
        said.append({"role": "assistant", "content": f"Answer {number}."})
    sent = [json.dumps(body["messages"])[:-1] for body in door.upstream.bodies]
    assert all(later.startswith(earlier) for earlier, later in pairwise(sent))
    first = door.upstream.bodies[0]["messages"][0]["content"]
    assert first.endswith("\n\nWho was late?")
    assert count_tokens(first) < 0.6 * count_tokens(LONG)
    assert count_tokens(sent[3]) < count_tokens(sent[2]) + 0.6 * count_tokens(LONG)


def test_another_question_changes_nothing_of_what_was_said_before(open_door: OpenDoor) -> None:
    door = open_door()
    before = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "I see."}]
    alone = before[:1]
    for messages in (
        alone,
        [*before, {"role": "user", "content": "Who was late?"}],
        [*before, {"role": "user", "content": "What is to become of the index?"}],
    ):
        door.create(messages=messages, extra_body={"tokenflow": {"compress": 0.5}})
    sent = {body["messages"][0]["content"] for body in door.upstream.bodies}
    assert len(sent) == 1
    assert count_tokens(sent.pop()) < 0.6 * count_tokens(LONG)


def test_auto_sends_a_turn_as_before_when_the_next_one_would_take_too_long(
    open_door: OpenDoor,
) -> None:
    door = open_door(route={"auto_max_delay_s": 0.5})
    auto = {"tokenflow": {"compress": "auto"}}
    said: list[dict[str, Any]] = [{"role": "user", "content": LONG}]
    door.create(model=PRICED, messages=said, extra_body=auto)
    said += [
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": f"And now?\n\n{LONG * 30}"},
    ]
    door.create(model=PRICED, messages=said, extra_body=auto)
    first, second = (body["messages"] for body in door.upstream.bodies)
    assert count_tokens(first[0]["content"]) < 0.6 * count_tokens(LONG)
    assert second[0] == first[0]
    assert second[2] == said[2]
    assert door.latest()["compress_decision"] == "as when it was first sent"


def test_what_was_saved_is_said_and_recorded(open_door: OpenDoor) -> None:
    door = open_door()
    response = door.client.chat.completions.with_raw_response.create(
        model=PRICED,
        messages=[CONVERSATION[1], {"role": "assistant", "content": "Yes."}, *HELLO],  # type: ignore[list-item]
        extra_body={"tokenflow": {"compress": 0.5}},
    )
    before, after = CONVERSATION[1]["content"], door.sent_messages()[0]["content"]
    saved = count_tokens(before) - count_tokens(after)
    assert saved > 0
    assert response.headers["x-tokenflow-saved-tokens"] == str(saved)
    row = door.latest()
    assert row["original_tokens"] - row["compressed_tokens"] == saved
    assert row["saved_usd"] == pytest.approx(saved * PRICE_IN)
    assert row["messages"][0]["text"] == after  # as it was sent


def test_images_and_other_parts_are_kept(open_door: OpenDoor) -> None:
    door = open_door()
    image = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    parts = [{"type": "text", "text": LONG}, image, sound, {"type": "text", "text": "And this?"}]
    messages = [
        {"role": "user", "name": "ann", "content": parts},
        {"role": "user", "content": [{"type": "text", "text": "Short."}, image]},
    ]
    door.create(messages=messages, extra_body={"tokenflow": {"compress": 0.5}})
    sent = door.sent_messages()
    assert sent[1] == messages[1]
    assert sent[0]["name"] == "ann"
    assert sent[0]["content"][1:] == parts[1:]
    assert count_tokens(sent[0]["content"][0]["text"]) <= 0.55 * count_tokens(LONG)


def test_nothing_is_compressed_unasked(open_door: OpenDoor) -> None:
    door = open_door()
    door.create(messages=CONVERSATION)
    assert door.sent_messages() == CONVERSATION


def test_models_are_auto_and_those_that_are_served(open_door: OpenDoor) -> None:
    with Upstream(models=["tiny:1b"]) as own:
        door = open_door(providers={"ollama": {"base_url": own.url}})
        listed = door.client.models.list().data
    by_id = {model.id: model.owned_by for model in listed}
    assert listed[0].id == "auto"
    assert by_id["tiny:1b"] == "ollama"  # the server has it
    assert by_id[PRICED] == "groq"  # the config names it
    assert len(by_id) == len(listed)


def test_a_model_of_ones_own_server_is_found_by_its_name(open_door: OpenDoor) -> None:
    with Upstream(answer("Mine"), models=["tiny:1b"]) as own:
        door = open_door(providers={"ollama": {"base_url": own.url}})
        assert door.create(model="tiny:1b").choices[0].message.content == "Mine"
        assert "authorization" not in own.requests[0].headers
    assert door.latest()["cost_usd"] == 0
    assert door.upstream.requests == []


def test_models_of_a_provider_without_a_key_are_not_listed(daemon: Daemon) -> None:
    listed = daemon.get("/v1/models").json["data"]
    assert [model["id"] for model in listed] == ["auto", "tokenflow-embedder"]


def test_another_daemon_is_told_of_auto_at_once(open_door: OpenDoor) -> None:
    """It looks for servers itself: it must not wait for us while we wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        door = open_door(providers={"vllm": {"base_url": url}})
        started = time.monotonic()
        answered = door.daemon.get("/v1/models", headers={"User-Agent": USER_AGENT})
        assert time.monotonic() - started < AT_ONCE_S
        assert [model["id"] for model in answered.json["data"]] == ["auto"]
        assert PRICED in {model.id for model in door.client.models.list()}


def test_a_wrong_key_is_an_authentication_error(open_door: OpenDoor) -> None:
    door = open_door(failure(401, f"Invalid key {KEY}"))
    with pytest.raises(openai.AuthenticationError) as raised:
        door.create()
    assert "GROQ_API_KEY" in raised.value.message  # which of them to look at
    assert KEY not in raised.value.response.text
    assert len(door.upstream.requests) == 1  # not tried again


@pytest.mark.parametrize("stream", [False, True])
def test_a_rate_limit_says_when_to_come_back(open_door: OpenDoor, stream: bool) -> None:
    door = open_door(failure(429, "Too many", Retry_After="37"))
    with pytest.raises(openai.RateLimitError) as raised:
        door.create(stream=stream)
    assert raised.value.response.headers["retry-after"] == "37"
    assert "Too many" in raised.value.message
    row = door.latest()
    assert (row["status"], row["error_type"]) == ("error", "rate limited")


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_the_provider_refuses_is_a_bad_request(
    open_door: OpenDoor, stream: bool
) -> None:
    door = open_door(failure(400, "This context is too long"))
    with pytest.raises(openai.BadRequestError, match="This context is too long"):
        door.create(stream=stream)
    assert len(door.upstream.requests) == 1


def test_a_model_that_nobody_serves_is_an_error(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}/v1"
    with OpenAI(base_url=url, api_key="anything", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="no provider here serves 'nowhere-1'"):
            client.chat.completions.create(model="nowhere-1", messages=HELLO)
        with pytest.raises(openai.APIStatusError, match="GROQ_API_KEY"):
            client.chat.completions.create(model=PRICED, messages=HELLO)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m1"},
        {"model": "m1", "messages": []},
        {"model": "m1", "messages": "Hello"},
        {"model": "m1", "messages": HELLO, "stream": "yes"},
        {"model": "m1", "messages": HELLO, "tokenflow": {"compress": 7}},
        {"messages": HELLO},
        [],
    ],
)
def test_an_invalid_body_is_answered_in_openais_shape(open_door: OpenDoor, body: Any) -> None:
    door = open_door()
    answered = door.daemon.post("/v1/chat/completions", body)
    assert 400 <= answered.status < 500
    error = answered.json["error"]
    assert error.keys() == {"message", "type", "code", "param"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert door.upstream.requests == []


async def breaking(wire: Wire, request: Received) -> None:
    await wire.head()
    await wire.send(chunk("Hel"))
    await wire.send(b'data: {"error": {"message": "the GPU is on fire"}}\n\n')
    await wire.end()


async def resetting(wire: Wire, request: Received) -> None:
    await wire.head()
    await wire.send(chunk("Hel"))
    wire.reset()


async def ending_too_soon(wire: Wire, request: Received) -> None:
    await wire.head()
    await wire.send(chunk("Hel"))
    await wire.end()


@pytest.mark.parametrize(
    ("script", "says"),
    [(breaking, "the GPU is on fire"), (resetting, "groq"), (ending_too_soon, "before its end")],
)
def test_a_failure_within_a_stream_is_an_error_of_the_client(
    open_door: OpenDoor, script: Script, says: str
) -> None:
    door = open_door(script)
    stream = door.create(stream=True)
    assert next(stream).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match=says):
        next(stream)
    row = door.latest()
    assert row["status"] == "error"
    assert row["partial"] is True
    assert row["output"] == "Hel"


@pytest.mark.parametrize("text_first", [True, False])
def test_a_client_that_leaves_a_stream_stops_the_provider(
    open_door: OpenDoor, text_first: bool
) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        if text_first:
            await wire.send(chunk("Once upon a time"))
        await wire.until_gone()

    door = open_door(endless)
    if text_first:
        stream = door.create(stream=True)
        assert next(iter(stream)).choices[0].delta.content == "Once upon a time"
        stream.close()
    else:
        connection = door.asking(stream=True)
        eventually(lambda: door.upstream.requests)
        connection.close()
    assert door.upstream.requests[0].gone.wait(CANCELLED_WITHIN_S)
    eventually(lambda: door.daemon.get("/api/history").json["requests"])
    row = door.latest()
    assert row["error_type"] == "client left"
    assert row.get("output", "") == ("Once upon a time" if text_first else "")


def eventually(seen: Callable[[], Any]) -> None:
    """Waits until `seen` returns something."""
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_in_the_history(open_door: OpenDoor, stream: bool) -> None:
    door = open_door(answer("Hello", " there"))
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "And last?"}]},
    ]
    made = door.create(model=PRICED, messages=messages, stream=stream)
    if stream:
        list(made)
    [listed] = door.daemon.get("/api/history?kind=chat").json["requests"]
    assert listed["preview"] == "And last?"
    row = door.latest()
    assert row["id"] == listed["id"]
    assert row["client"].startswith("OpenAI/Python")
    assert (row["input"], row["output"]) == ("And last?", "Hello there")
    assert (row["provider"], row["model"], row["wanted_model"]) == ("groq", PRICED, PRICED)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 3)
    assert row["tokens_counted_by"] == "provider"
    assert row["cost_usd"] == pytest.approx(7 * PRICE_IN + 3 * PRICE_OUT)
    assert (row["finish_reason"], row["partial"]) == ("stop", False)
    assert [message["role"] for message in row["messages"]] == [m["role"] for m in messages]
    assert door.daemon.get("/api/history?q=there").json["requests"][0]["id"] == row["id"]


def test_tokens_are_counted_where_the_provider_reports_none(open_door: OpenDoor) -> None:
    door = open_door(events(chunk("Hello there"), chunk(finish_reason="stop"), DONE))
    list(door.create(stream=True))
    row = door.latest()
    assert row["tokens_counted_by"] == "tokenflow"
    assert row["completion_tokens"] == count_tokens("Hello there")
    assert row["prompt_tokens"] >= count_tokens("Say hello.")


def test_an_answer_that_was_seen_to_its_end_is_in_the_history(open_door: OpenDoor) -> None:
    """[DONE] goes out after the commit."""
    door = open_door(events(chunk("Hi"), chunk(finish_reason="stop"), usage(), DONE))
    reader = EventReader(door.asking(stream=True))
    *_, last = reader
    assert last == Event("message", "[DONE]")
    request_id = reader.response.headers["X-TokenFlow-Id"]
    reader.close()
    assert door.daemon.get(f"/api/history/{request_id}").json["output"] == "Hi"
