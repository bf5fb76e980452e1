"""Details for which OpenAI clients would otherwise be refused: paths, ids, headers, sizes, and the
endpoints besides chat completions."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conftest import Daemon, OpenRelay, Relay, config_in
from tests.upstream import DONE, Received, Script, Upstream, Wire, answer, chunk, event, events
from tokenflowd.api import streams
from tokenflowd.services import Services

CHAT: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
STOP = chunk(finish_reason="stop")
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def client_of(daemon: Daemon) -> openai.OpenAI:
    url = f"http://127.0.0.1:{daemon.port}/v1"
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("auto", "tokenflow"),
        ("tokenflow-embedder", "tokenflow"),
        ("openai/gpt-oss-20b", "groq"),
        ("openai%2Fgpt-oss-20b", "groq"),
        ("openai/gpt-oss-20b/", "groq"),
        ("llama-3.1-8b-instant", "groq"),  # its successor answers
    ],
)
def test_a_model_can_be_asked_for_by_its_id(open_relay: OpenRelay, model: str, owner: str) -> None:
    found = open_relay().daemon.get(f"/v1/models/{model}")
    assert (found.status, found.json["owned_by"]) == (200, owner)
    assert found.json["object"] == "model"


def test_the_official_client_finds_a_model(open_relay: OpenRelay) -> None:
    client = client_of(open_relay().daemon)
    assert client.models.retrieve("openai/gpt-oss-20b").id == "openai/gpt-oss-20b"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("no/such")
    assert raised.value.code == "model_not_found"


def test_whatever_can_be_got_has_a_head(daemon: Daemon) -> None:
    for path in ("/", "/healthz", "/v1/models", "/v1/models/auto", "/api/history", "/metrics"):
        head = daemon.request("HEAD", path)
        assert (head.status, head.body) == (200, b""), path
        assert head.headers["content-type"] == daemon.get(path).headers["content-type"]
    assert daemon.request("HEAD", "/v1/models/none").status == 404
    assert daemon.request("HEAD", "/api/history/export").body == b""


def test_a_slash_at_the_end_changes_nothing(open_relay: OpenRelay) -> None:
    relay = open_relay()
    assert relay.daemon.post("/v1/chat/completions/", CHAT).status == 200
    assert relay.daemon.get("/v1/models/").json["object"] == "list"
    assert relay.daemon.post("/api/compress/", {"text": "Hello there"}).status == 200
    assert relay.daemon.get("/healthz/").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"),
        ("POST", "/completions"),
        ("POST", "/embeddings"),
        ("POST", "/responses"),
        ("GET", "/models"),
        ("GET", "/models/gpt-4o"),
        ("POST", "/v1/v1/chat/completions"),
        ("POST", "/v1//chat/completions"),
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/openai/chat/completions"),
        ("POST", "/chat/completions/"),
    ],
)
def test_a_base_url_without_v1_gets_a_hint(daemon: Daemon, method: str, path: str) -> None:
    refused = daemon.request(method, path, CHAT if method == "POST" else None)
    assert refused.status == 404
    error = refused.json["error"]
    assert f"http://127.0.0.1:{daemon.port}/v1" in error["message"]
    assert error["code"] == "not_found"


def test_a_client_of_another_endpoint_is_told_which_there_are(daemon: Daemon) -> None:
    refused = daemon.post("/v1/responses", {"model": "auto", "input": "Hi"})
    assert refused.status == 404
    assert "chat/completions, completions, embeddings" in refused.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/chat/completions", 405),
    ],
)
def test_errors_of_v1_have_openais_shape(
    daemon: Daemon, method: str, path: str, status: int
) -> None:
    refused = daemon.request(method, path)
    assert refused.status == status
    assert refused.json["error"]["message"]


def test_every_answer_has_a_request_id(open_relay: OpenRelay) -> None:
    relay = open_relay(events(chunk("Hello"), STOP, DONE), answer("Hello"))
    stream = client_of(relay.daemon).chat.completions.with_raw_response.create(**CHAT, stream=True)
    assert stream.headers["x-request-id"] == stream.headers["x-tokenflow-id"]
    assert "".join(c.choices[0].delta.content or "" for c in stream.parse()) == "Hello"
    assert relay.rows()[0]["id"] == stream.headers["x-request-id"]
    whole = client_of(relay.daemon).chat.completions.create(**CHAT)
    assert whole._request_id == relay.rows()[0]["id"]
    refused = relay.daemon.post("/v1/chat/completions", {})
    assert refused.headers["x-request-id"] == relay.rows()[0]["id"]
    assert relay.daemon.get("/v1/models").headers["x-request-id"]


LIMITS = {"x_ratelimit_remaining_requests": "99", "X_RateLimit_Reset_Tokens": "1.2s"}
EXPECTED_LIMITS = {"x-ratelimit-remaining-requests": "99", "x-ratelimit-reset-tokens": "1.2s"}


def limited(status: int, *, stream: bool) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        if status != 200:
            await wire.json(status, {"error": {"message": "no"}}, **LIMITS)
        elif stream:
            await wire.head(**LIMITS)
            await wire.send(chunk("Hello") + STOP + DONE)
            await wire.end()
        else:
            choice = {"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}
            await wire.json(200, {"choices": [choice]}, Set_Cookie="a=b", **LIMITS)

    return script


@pytest.mark.parametrize("status", [200, 400, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
def test_rate_limits_are_passed_on(open_relay: OpenRelay, status: int, stream: bool) -> None:
    relay = open_relay(limited(status, stream=stream))
    answered = relay.daemon.post("/v1/chat/completions", CHAT | {"stream": stream})
    assert answered.status == status
    assert answered.headers | EXPECTED_LIMITS == answered.headers
    assert "set-cookie" not in answered.headers


def test_headers_are_there_however_late_the_first_event_is(
    open_relay: OpenRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.1)

    async def late(wire: Wire, request: Received) -> None:
        await asyncio.sleep(1)
        await answer("Hello")(wire, request)

    relay = open_relay(late)
    stream = relay.daemon.open_stream("/v1/chat/completions", CHAT | {"stream": True})
    headers = dict(stream.response.getheaders())
    assert headers["X-TokenFlow-Id"] == headers["X-Request-Id"]
    assert headers["X-TokenFlow-Route"] == "model named"
    assert [event.data for event in stream][-1] == "[DONE]"
    assert stream.comments


def images(megabytes: float) -> list[dict[str, Any]]:
    """A message with an image of that many megabytes."""
    url = "data:image/png;base64," + "A" * int(megabytes * 1024 * 1024)
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return [{"role": "user", "content": parts}]


def test_large_images_come_through(open_relay: OpenRelay) -> None:
    relay = open_relay()
    body = CHAT | {"messages": images(40)}
    assert relay.daemon.post("/v1/chat/completions", body).status == 200
    assert relay.upstream.bodies[0]["messages"] == body["messages"]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "user", "content": "a" * 9 * 1024 * 1024}], id="text alone"),
        pytest.param(images(65), id="an image of more than 64 MiB"),
    ],
)
def test_what_is_too_large_is_refused(open_relay: OpenRelay, messages: list[Any]) -> None:
    relay = open_relay()
    refused = relay.daemon.post("/v1/chat/completions", CHAT | {"messages": messages})
    assert refused.status == 413
    assert "bytes" in refused.json["error"]["message"]
    assert relay.upstream.requests == []


def test_other_routes_keep_their_limit(daemon: Daemon) -> None:
    assert daemon.post("/api/compress", {"text": "a" * 9 * 1024 * 1024}).status == 413


@pytest.mark.parametrize("absent", ["stream", "stream_options", "tokenflow", "tools", "n"])
def test_null_is_absent(open_relay: OpenRelay, absent: str) -> None:
    assert open_relay().daemon.post("/v1/chat/completions", CHAT | {absent: None}).status == 200


@pytest.mark.parametrize("model", ["", None])
def test_a_request_that_names_no_model_is_told_where_they_are_listed(
    daemon: Daemon, model: str | None
) -> None:
    for path, rest in (("chat/completions", CHAT), ("completions", {"prompt": "Hi"})):
        with pytest.raises(openai.BadRequestError, match="/v1/models lists"):
            client_of(daemon).post(f"/{path}", body=rest | {"model": model}, cast_to=object)


def test_a_field_of_the_wrong_type_is_a_bad_request(daemon: Daemon) -> None:
    with pytest.raises(openai.BadRequestError, match=r"\$\.stream"):
        client_of(daemon).post("/chat/completions", body=CHAT | {"stream": 7}, cast_to=object)


def completion(text: str, stream: bool = False) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        assert request.path == "/v1/completions"
        assert "messages" not in request.body
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        shape = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m1"}
        if not stream:
            await wire.json(200, shape | {"choices": [choice]})
            return
        await wire.head()
        for word in text.split():
            part = choice | {"text": f"{word} ", "finish_reason": None}
            await wire.send(event(shape | {"choices": [part]}))
        await wire.send(event(shape | {"choices": [choice | {"text": ""}]}) + DONE)
        await wire.end()

    return script


def test_legacy_completions_are_the_providers(open_relay: OpenRelay) -> None:
    relay = open_relay(completion("return a + b"), completion("return a + b", stream=True))
    client = client_of(relay.daemon)
    asked = {"model": "m1", "prompt": "def add(a, b):", "suffix": "\n", "max_tokens": 9}
    assert client.completions.create(**asked).choices[0].text == "return a + b"
    stream = client.completions.create(**asked, stream=True)
    assert "".join(part.choices[0].text for part in stream) == "return a + b "
    assert relay.upstream.bodies[0] == asked
    row = relay.latest()
    assert (row["kind"], row["input"], row["output"]) == ("chat", "def add(a, b):", "return a + b ")


def test_our_own_encoder_embeds(daemon: Daemon) -> None:
    client = client_of(daemon)
    texts = ["The cat sleeps.", "A kitten is asleep.", "Interest rates rise."]
    answered = client.embeddings.create(model="tokenflow-embedder", input=texts)
    one, like_it, other = (item.embedding for item in answered.data)
    assert dot(one, one) == pytest.approx(1, abs=1e-3)
    assert dot(one, like_it) > dot(one, other) + 0.2
    assert answered.usage.prompt_tokens > 0
    body = {"model": "tokenflow-embedder", "input": texts[0]}
    [as_list] = daemon.post("/v1/embeddings", body).json["data"]
    assert dot(as_list["embedding"], one) > 0.99  # int8 rounds a batch together
    body["encoding_format"] = "base64"
    packed = base64.b64decode(daemon.post("/v1/embeddings", body).json["data"][0]["embedding"])
    vector = struct.unpack(f"<{len(one)}f", packed)
    assert list(vector) == pytest.approx(as_list["embedding"], abs=1e-6)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"input": [1, 2, 3]}, 400),
        ({"input": [[1, 2], [3]]}, 400),
        ({"input": ""}, 400),
        ({"input": []}, 400),
        ({"input": ["a"] * 2049}, 400),
        ({"input": "a", "dimensions": 7}, 400),
        ({"input": "a", "encoding_format": "hex"}, 400),
        ({}, 400),
        ({"input": "a", "model": ""}, 400),
        ({"input": "a", "model": "auto"}, 400),
        ({"input": "a", "model": "text-embedding-3-small"}, 404),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    daemon: Daemon, fields: dict[str, Any], status: int
) -> None:
    refused = daemon.post("/v1/embeddings", {"model": "tokenflow-embedder"} | fields)
    assert refused.status == status
    assert refused.json["error"]["message"]


def test_a_providers_model_embeds(open_relay: OpenRelay) -> None:
    vectors = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "own": 1}

    async def script(wire: Wire, request: Received) -> None:
        assert request.path == "/v1/embeddings"
        await wire.json(200, vectors)

    relay = open_relay(script)
    answered = relay.daemon.post("/v1/embeddings", {"model": "e1", "input": [1, 2], "user": "x"})
    assert (answered.status, answered.json) == (200, vectors)
    assert relay.upstream.bodies == [{"model": "e1", "input": [1, 2], "user": "x"}]
    assert relay.rows() == []


def test_a_model_of_ones_own_server_embeds_although_it_was_started_later(
    open_relay: OpenRelay,
) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.json(200, {"data": []}, **LIMITS)

    with Upstream(script, models=["nomic-embed-text"]) as own:
        relay = open_relay(providers={"ollama": {"base_url": own.url}, "groq": NO_KEY})
        body = {"model": "nomic-embed-text", "input": "Hi"}
        answered = relay.daemon.post("/v1/embeddings", body)
        assert own.bodies == [body]
    assert answered.headers["x-tokenflow-provider"] == "ollama"
    assert answered.headers | EXPECTED_LIMITS == answered.headers


def test_nobody_stands_in_for_a_model_that_embeds(open_relay: OpenRelay) -> None:
    with Upstream(models=["gemma3"]) as own:
        relay = open_relay(providers={"ollama": {"base_url": own.url}, "groq": NO_KEY})
        refused = relay.daemon.post("/v1/embeddings", {"model": "e1", "input": "Hi"})
        assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
        assert own.requests == []


def test_what_embeds_does_not_chat(open_relay: OpenRelay) -> None:
    relay = open_relay()
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client_of(relay.daemon).chat.completions.create(**CHAT | {"model": "tokenflow-embedder"})
    assert relay.upstream.requests == []


NO_KEY = {"key_variable": "NOT_SET"}
RANKING = {
    "title": "Any",
    "description": "Anything",
    "models": [{"id": name, "name": name, "provider": "groq"} for name in ("m1", "m2", "m3")],
}
AUTO = CHAT | {"model": "auto", "tokenflow": {"possible_categories": ["any"]}}
PART = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}


def opened_with(open_relay: OpenRelay, **facts: dict[str, Any]) -> Relay:
    return open_relay(route={"rankings": {"any": RANKING}}, providers={"groq": {"models": facts}})


@pytest.mark.parametrize(
    ("facts", "fields", "chosen"),
    [
        ({"m2": {"images": True}}, {"messages": [PART]}, "m2"),
        ({"other": {"images": True}}, {"messages": [PART]}, "other"),
        ({"m1": {"tools": False}}, {"tools": [TOOL]}, "m2"),
        ({"m1": {"tools": False}}, {"tools": []}, "m1"),
        ({"m1": {"context_tokens": 50}, "m2": {"context_tokens": 500}}, {"max_tokens": 60}, "m2"),
        ({"m1": {"context_tokens": 50}}, {"max_tokens": 40}, "m1"),
        (
            {"m1": {"images": True, "tools": False}, "m2": {"tools": True}, "m3": {"images": True}},
            {"messages": [PART], "tools": [TOOL]},
            "m3",
        ),
    ],
)
def test_auto_chooses_a_model_that_takes_what_is_sent(
    open_relay: OpenRelay, facts: dict[str, Any], fields: dict[str, Any], chosen: str
) -> None:
    relay = opened_with(open_relay, **facts)
    assert relay.daemon.post("/v1/chat/completions", AUTO | fields).status == 200
    assert [body["model"] for body in relay.upstream.bodies] == [chosen]


def test_a_text_that_is_compressed_needs_less_context(open_relay: OpenRelay) -> None:
    relay = opened_with(open_relay, m1={"context_tokens": 500})
    turns = ["The meeting began at nine. " * 120, "And then?"]
    body = AUTO | {"messages": [{"role": "user", "content": turn} for turn in turns]}
    halved = {"tokenflow": {**AUTO["tokenflow"], "compress": 0.5}}
    for fields in (body, body | halved):
        assert relay.daemon.post("/v1/chat/completions", fields).status == 200
    assert [body["model"] for body in relay.upstream.bodies] == ["m2", "m1"]


def test_auto_says_what_no_model_takes(open_relay: OpenRelay) -> None:
    relay = opened_with(open_relay)
    refused = relay.daemon.post("/v1/chat/completions", AUTO | {"messages": [PART]})
    assert refused.status == 400
    message = refused.json["error"]["message"]
    assert "the request holds images, and no model" in message  # and not: its tokens
    assert relay.upstream.requests == []
    assert relay.daemon.post("/v1/chat/completions", CHAT | {"messages": [PART]}).status == 200


def test_without_a_key_auto_says_that_before_all(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path)))
    refused = daemon.post("/v1/chat/completions", AUTO | {"messages": [PART]})
    daemon.close()
    assert refused.status == 503
    assert "GROQ_API_KEY" in json.dumps(refused.json)
