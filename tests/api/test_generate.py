"""POST /api/generate and /api/models/select: what goes to the provider, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import KEY, Answer, Daemon, Event, EventReader, OpenRelay, text, text_of
from tests.upstream import DONE, Received, Wire, answer, chunk, events, usage
from tokenflowd.compress import count_tokens
from tokenflowd.route import DEFAULT_CATEGORIES

GENERATE, SELECT = "/api/generate", "/api/models/select"
PRICED = "openai/gpt-oss-20b"
PRICE_IN, PRICE_OUT = 0.075e-6, 0.30e-6
STOP = chunk(finish_reason="stop")
LONG = text("meeting.txt")


def test_the_contracts_defaults_are_sent(open_relay: OpenRelay) -> None:
    relay = open_relay()
    relay.generate()
    [request] = relay.upstream.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "m1",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 250,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 1, "max_tokens": 7},
        {"temperature": 0, "topP": 1, "maxTokens": 7},
        {"temperature": 0, "topP": 1, "maxTokens": 7, "whatever": {"else": True}},
    ],
)
def test_parameters_are_sent_and_remembered(open_relay: OpenRelay, fields: dict[str, Any]) -> None:
    relay = open_relay()
    relay.generate(**fields)
    wanted = {"temperature": 0, "top_p": 1, "max_tokens": 7}
    assert wanted.items() <= relay.upstream.bodies[0].items()
    assert "whatever" not in relay.upstream.bodies[0]
    assert wanted.items() <= relay.latest()["parameters"].items()


def test_what_the_config_sends_along_with_a_model_is_sent(open_relay: OpenRelay) -> None:
    relay = open_relay()
    relay.generate(model=PRICED)
    assert relay.upstream.bodies[0]["reasoning_effort"] == "low"


@pytest.mark.parametrize("path", [GENERATE, SELECT])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 3),
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("top_p", 2),
        ("topP", -1),
        ("max_tokens", -1),
        ("max_tokens", False),
        ("maxTokens", 1.5),
        ("prompt", 7),
        ("system", ["Be kind."]),
        ("messages", [{"role": "tool", "content": "42"}]),
        ("messages", [{"role": "user"}]),
        ("compress", 0),
        ("compress", 1.5),
        ("compress", "always"),
        ("possible_categories", [""]),
        ("possibleCategories", [" "]),
    ],
)
def test_a_wrong_field_is_422_and_named(daemon: Daemon, path: str, field: str, value: Any) -> None:
    answered = daemon.post(path, {"prompt": "Hi", "model": "m1", field: value})
    assert answered.status == 422
    assert answered.headers["content-type"].startswith("application/json")
    assert answered.json["error"] == "invalid field"
    snake_case = {"topP": "top_p", "maxTokens": "max_tokens"}.get(field, field)
    assert snake_case.replace("possibleC", "possible_c") in answered.json["detail"]


@pytest.mark.parametrize("path", [GENERATE, SELECT])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"messages": []},
        {"system": "Be kind."},
        {"messages": [{"role": "assistant", "content": "Hi"}]},
    ],
)
def test_without_a_prompt_there_is_nothing_to_answer(
    daemon: Daemon, path: str, body: dict[str, Any]
) -> None:
    answered = daemon.post(path, {"model": "m1"} | body)
    assert (answered.status, answered.json["error"]) == (422, "invalid field")
    assert "prompt" in answered.json["detail"]


@pytest.mark.parametrize("body", [{"prompt": "Hi"}, {"prompt": "Hi", "model": ""}])
def test_generate_needs_a_model(daemon: Daemon, body: dict[str, Any]) -> None:
    answered = daemon.post(GENERATE, body)
    assert answered.status == 422
    assert "model" in answered.json["detail"]


def test_a_model_that_nobody_serves_is_not_found(daemon: Daemon) -> None:
    answered = daemon.post(GENERATE, {"prompt": "Hi", "model": "nowhere-1"})
    assert answered.status == 404
    assert "nowhere-1" in answered.json["detail"]


def test_events_come_in_the_contracts_order(open_relay: OpenRelay) -> None:
    relay = open_relay(answer("Hello", " world"))
    received = relay.generate(model=PRICED)
    metadata, *chunks, counted, end = received
    assert (metadata.name, counted.name, end.name) == ("metadata", "usage", "end_stream")
    assert {event.name for event in chunks} == {"text_chunk"}
    assert text_of(chunks) == "Hello world"
    assert metadata.json == {
        "prompt_category": "unknown",  # nobody waits for a classification
        "confidence_score": 0.0,
        "all_categories": {},
        "id": relay.latest()["id"],
        "selected_model": PRICED,
        "served_model": PRICED,
        "provider": "groq",
        "route": "model named",
    }
    figures = counted.json
    assert figures["id"] == metadata.json["id"]
    assert (figures["prompt_tokens"], figures["completion_tokens"]) == (7, 3)
    assert figures["cost_usd"] == pytest.approx(7 * PRICE_IN + 3 * PRICE_OUT)
    assert 0 < figures["ttft_ms"] <= figures["latency_ms"]
    assert figures["finish_reason"] == "stop"
    assert end.data == "Stream finished"


def test_select_says_how_it_chose(open_relay: OpenRelay) -> None:
    relay = open_relay()
    body = {"prompt": "Translate 'good morning' into French, Spanish and Japanese"}
    received = relay.daemon.stream(SELECT, body | {"model": "ignored", "provider": "ignored"})
    metadata = received[0].json
    assert metadata["prompt_category"] == "multilingual"
    assert set(metadata["all_categories"]) == set(DEFAULT_CATEGORIES)
    assert sum(metadata["all_categories"].values()) == pytest.approx(1, abs=1e-3)
    assert metadata["confidence_score"] == metadata["all_categories"]["multilingual"]
    rankings = relay.daemon.get("/api/model-rankings").json
    first = rankings["multilingual"]["models"][0]["id"]
    assert metadata["selected_model"] == relay.upstream.bodies[0]["model"] == first
    assert metadata["provider"] == "groq"
    assert text_of(received) == "Hello world"
    row = relay.latest()
    assert (row["kind"], row["category"], row["model"]) == ("select", "multilingual", first)
    assert row["route"].startswith("category multilingual")
    assert (row["input"], row["output"]) == (body["prompt"], "Hello world")


@pytest.mark.parametrize("field", ["possible_categories", "possibleCategories"])
def test_select_takes_the_callers_categories(open_relay: OpenRelay, field: str) -> None:
    relay = open_relay()
    body = {"prompt": "Water the roses at dawn", field: ["gardening", "tax law"]}
    metadata = relay.daemon.stream(SELECT, body)[0].json
    assert metadata["prompt_category"] == "gardening"
    assert set(metadata["all_categories"]) == {"gardening", "tax law"}
    assert metadata["wanted_model"] == "llama-3.1-8b-instant"  # the fallback: it is not ranked


def test_generate_with_auto_selects(open_relay: OpenRelay) -> None:
    relay = open_relay()
    body = {"model": "auto", "possible_categories": ["reasoning"]}
    metadata = relay.generate(**body)[0].json
    assert metadata["prompt_category"] == "reasoning"
    assert relay.upstream.bodies[0]["model"] == "openai/gpt-oss-120b"


@pytest.mark.parametrize(
    "pieces",
    [
        ["one\ntwo", "\n\nthree\n"],
        ["one\r\ntwo"],
        ["one\r", "\ntwo"],
        ["one\r", "two\r", "\r", "\n"],
        ["one\r"],
        ["  leading", " and trailing  ", " "],
        ["", "one", "", "", "two", ""],
        ["\n", "\n"],
        ["data: x\n\nevent: error\ndata: y\n\n"],
        ['{"event": "error", "data": {"detail": "none"}}', "\\n \\u0000"],
        [": no comment\n", "id: 7"],
        ["\u2028\u2029\x85\x0b\x0c\x00\ufeff"],
    ],
)
def test_text_arrives_as_it_was_sent(open_relay: OpenRelay, pieces: list[str]) -> None:
    relay = open_relay(answer(*pieces))
    received = relay.generate()
    assert text_of(received) == relay.latest()["output"] == "".join(pieces)
    assert {event.name for event in received} == {"metadata", "text_chunk", "usage", "end_stream"}
    assert all(event.data for event in received)


@pytest.mark.parametrize(
    "pieces",
    [
        ["Hello", " world"],
        ["汉" * 33_334 + "🙂" * 5_000 + "é\r\n data: x\n\n"],
        ["x" * 4096, "y" * 4097, "ab汉" * 2000],
    ],
    ids=["short", "100 KB", "at the limit"],
)
@pytest.mark.parametrize("path", [GENERATE, SELECT])
def test_each_event_is_two_lines_in_a_chunk_of_its_own(
    open_relay: OpenRelay, path: str, pieces: list[str]
) -> None:
    relay = open_relay(answer(*pieces))
    names, texts = [], []
    for event in http_chunks(relay.daemon, path, {"prompt": "Hi", "model": "m1"}):
        assert event.endswith("\n\n")
        named, data = event.removesuffix("\n\n").split("\n")
        envelope = json.loads(data.removeprefix("data: "))
        assert named == f"event: {envelope['event']}"
        names.append(envelope["event"])
        if envelope["event"] == "text_chunk":
            texts.append(envelope["data"])
    assert names == ["metadata", *["text_chunk"] * len(texts), "usage", "end_stream"]
    assert "".join(texts) == "".join(pieces)
    assert max(len(text.encode()) for text in texts) <= 4096


def http_chunks(daemon: Daemon, path: str, body: dict[str, Any]) -> Iterator[str]:
    """The chunks of a chunked response."""
    sent = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost:{daemon.port}\r\nContent-Type: application/json"
        f"\r\nContent-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
        connection.sendall(head.encode() + sent)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    rest = received.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length:
            yield rest[:length].decode()
        rest = rest[length + 2 :]


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({}, "empty"),
        ({"content": ""}, "empty"),
        ({"reasoning": "Let me see."}, "reasoning"),
        ({"reasoning_content": "Let me see."}, "reasoning"),
        ({"refusal": "I would rather not."}, "refusal"),
        ({"tool_calls": [{"index": 0, "function": {"name": "look"}}]}, "tool_calls"),
    ],
)
def test_an_answer_without_words_says_what_it_has_instead(
    open_relay: OpenRelay, delta: dict[str, Any], kind: str
) -> None:
    said = chunk(choices=[{"index": 0, "delta": delta}])
    relay = open_relay(events(said, chunk(finish_reason="length"), usage(), DONE))
    received = relay.generate()
    assert [event.name for event in received] == ["metadata", "usage", "end_stream"]
    assert received[1].json["finish_reason"] == "length"
    assert received[1].json["answer_kind"] == kind
    assert received[1].json.get("refusal") == delta.get("refusal")


def test_cached_and_reasoning_tokens_are_told(open_relay: OpenRelay) -> None:
    counts = usage(
        prompt_tokens_details={"cached_tokens": 5},
        completion_tokens_details={"reasoning_tokens": 2},
    )
    relay = open_relay(events(chunk("Yes."), STOP, counts, DONE), answer("Yes."))
    told = relay.generate()[-2].json
    assert (told["cached_tokens"], told["reasoning_tokens"]) == (5, 2)
    told = relay.generate()[-2].json  # of a provider that reports none
    assert (told["cached_tokens"], told["reasoning_tokens"]) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"possible_categories": None, "temperature": None, "top_p": None, "max_tokens": None},
        {"possibleCategories": None, "topP": None, "maxTokens": None, "system": None},
        {"possible_categories": [], "max_tokens": 0, "messages": None, "compress": None},
        {"possibleCategories": [], "maxTokens": 0, "provider": None},
    ],
)
def test_null_and_empty_fields_have_their_defaults(
    open_relay: OpenRelay, fields: dict[str, Any]
) -> None:
    relay = open_relay()
    assert relay.generate(**fields)[-1].name == "end_stream"
    metadata = relay.daemon.stream(SELECT, {"prompt": "Hi"} | fields)[0].json
    assert set(metadata["all_categories"]) == set(DEFAULT_CATEGORIES)
    defaults = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 250}
    assert all(defaults.items() <= body.items() for body in relay.upstream.bodies)


@pytest.mark.parametrize("options", [None, {"possible_categories": [], "compress": None}])
def test_null_and_empty_options_of_a_chat_completion_have_their_defaults(
    open_relay: OpenRelay, options: dict[str, Any] | None
) -> None:
    relay = open_relay()
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": "auto", "messages": messages, "tokenflow": options}
    assert relay.daemon.post("/v1/chat/completions", body).status == 200
    assert set(relay.latest()["scores"]) == set(DEFAULT_CATEGORIES)


def test_a_prompt_is_classified_while_its_provider_thinks(open_relay: OpenRelay) -> None:
    async def thinking(wire: Wire, request: Received) -> None:
        await asyncio.sleep(2)  # far longer than a classification takes
        await answer("Bonjour")(wire, request)

    relay = open_relay(thinking)
    prompt = "Translate 'good morning' into French, Spanish and Japanese"
    relay.daemon.post("/api/classify", {"prompt": prompt})  # the models are loaded
    metadata = relay.generate(prompt=prompt)[0].json
    assert metadata["prompt_category"] == "multilingual"
    assert metadata["confidence_score"] == metadata["all_categories"]["multilingual"]
    assert metadata["selected_model"] == "m1"
    row = relay.latest()
    assert (row["kind"], row["category"], row["route"]) == (
        "generate",
        "multilingual",
        "model named",
    )


def test_no_answer_waits_for_a_classification(open_relay: OpenRelay) -> None:
    async def thinking(wire: Wire, request: Received) -> None:
        await asyncio.sleep(0.2)
        await answer("Hello")(wire, request)

    relay = open_relay(thinking)
    with relay.daemon.services.classifier._lock:  # nobody gets the classifier
        received = relay.generate()
    assert received[0].json["prompt_category"] == "unknown"
    assert received[-1].name == "end_stream"
    assert "category" not in relay.latest()


def test_an_answer_does_without_a_classification_that_fails(open_relay: OpenRelay) -> None:
    async def thinking(wire: Wire, request: Received) -> None:
        await asyncio.sleep(0.2)
        await answer("Hello")(wire, request)

    relay = open_relay(thinking, models={"classifier": "not-installed"})
    metadata, *rest = relay.generate()
    assert (metadata.json["prompt_category"], metadata.json["all_categories"]) == ("unknown", {})
    assert rest[-1].name == "end_stream"


EVENTS_ONLY = {"Accept": "text/event-stream"}


@pytest.mark.parametrize("path", [GENERATE, SELECT])
@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b'{"prompt": "Hi", "model": "m1", "temperature": 9}', "invalid field", "temperature"),
        (b'{"model": "m1"}', "invalid field", "prompt"),
        (b"{", "bad request", "not valid JSON"),
        (b"[]", "bad request", "JSON object"),
        (b" " * (9 * 2**20), "too large", "max_body_bytes"),
    ],
    ids=["a wrong field", "no prompt", "no JSON", "no object", "too large"],
)
def test_a_failure_is_an_event_for_clients_of_events(
    daemon: Daemon, path: str, body: bytes, error: str, says: str
) -> None:
    answered = daemon.request("POST", path, raw=body, headers=EVENTS_ONLY)
    assert answered.status == 200
    assert answered.headers["content-type"].startswith("text/event-stream")
    [failure] = events_in(answered)
    assert failure["event"] == "error"
    assert failure["data"]["error"] == error
    assert says in failure["data"]["detail"]
    assert failure["data"]["type"] == error.replace(" ", "_")
    assert failure["data"]["retryable"] is False


def events_in(answered: Answer) -> list[Any]:
    lines = answered.body.decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_that_too_many_ask_is_an_event_for_clients_of_events(open_relay: OpenRelay) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Once"))
        await wire.until_gone()

    relay = open_relay(endless, server={"max_streams": 1})
    with contextlib.closing(relay.open()) as first:
        assert next(iter(first)).name == "metadata"
        body = {"prompt": "Hi", "model": "m1"}
        [failure] = events_in(relay.daemon.post(GENERATE, body, headers=EVENTS_ONLY))
        assert failure["data"]["error"] == "busy"
        assert failure["data"]["retryable"] is True
        assert failure["data"]["retry_after_s"] > 0
        assert relay.daemon.post(GENERATE, body).status == 503


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/event-stream", 200),
        ("application/json, Text/Event-Stream;q=0.9", 200),
        ("application/json", 404),
        ("*/*", 404),
        ("text/*", 404),
    ],
)
def test_who_else_asks_gets_an_http_error(daemon: Daemon, accept: str, status: int) -> None:
    body = {"prompt": "Hi", "model": "nowhere-1"}
    answered = daemon.post(GENERATE, body, headers={"Accept": accept})
    assert answered.status == status
    assert b"nowhere-1" in answered.body


def test_a_foreign_page_gets_an_http_error(daemon: Daemon) -> None:
    body = {"prompt": "Hi", "model": "m1"}
    headers = EVENTS_ONLY | {"Origin": "https://elsewhere.example"}
    assert daemon.post(GENERATE, body, headers=headers).status == 403


def test_the_frontend_may_read_the_stream(open_relay: OpenRelay) -> None:
    origin = "http://localhost:3000"
    body = {"prompt": "Hi", "model": "m1"}
    answered = open_relay().daemon.post(GENERATE, body, headers={"Origin": origin})
    assert answered.headers["access-control-allow-origin"] == origin
    assert answered.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answered.headers["cache-control"] == "no-cache"


def test_a_conversation_is_sent_in_its_order(open_relay: OpenRelay) -> None:
    relay = open_relay()
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    relay.generate(prompt="And now?", messages=said, system="Be kind.")
    sent = [
        {"role": "system", "content": "Be kind."},
        *said,
        {"role": "user", "content": "And now?"},
    ]
    assert relay.upstream.bodies[0]["messages"] == sent
    row = relay.latest()
    assert row["input"] == "And now?"
    assert row["messages"] == [{"role": m["role"], "text": m["content"]} for m in sent]


def test_a_conversation_needs_no_prompt(open_relay: OpenRelay) -> None:
    relay = open_relay()
    said = [{"role": "user", "content": "What is said last is what is asked"}]
    relay.generate(prompt="", messages=said)
    assert relay.upstream.bodies[0]["messages"] == said
    assert relay.latest()["input"] == said[0]["content"]


def test_the_provider_gets_the_compressed_prompt(open_relay: OpenRelay) -> None:
    relay = open_relay()
    received = relay.generate(prompt=LONG, system=LONG, compress=0.5, model=PRICED)
    system, sent = (message["content"] for message in relay.upstream.bodies[0]["messages"])
    assert system == LONG  # only what the user says is compressed
    tokens, kept = count_tokens(LONG), count_tokens(sent)
    assert 0.4 * tokens < kept <= 0.52 * tokens  # its last words may be what it asks
    assert received[0].json["compression"] == {
        "compressed": True,
        "reason": "asked for",
        "original_tokens": tokens,
        "compressed_tokens": kept,
        "compressed_text": sent,
    }
    assert received[-2].json["saved_tokens"] == tokens - kept
    assert received[-2].json["saved_usd"] == pytest.approx((tokens - kept) * PRICE_IN)
    row = relay.latest()
    assert (row["input"], row["messages"][1]["text"]) == (LONG, sent)
    assert (row["original_tokens"], row["compressed_tokens"]) == (tokens, kept)
    assert row["compress_decision"] == "asked for"
    assert row["saved_usd"] == received[-2].json["saved_usd"]


@pytest.mark.parametrize(
    ("prompt", "model", "compressed", "reason"),
    [
        ("Hi", PRICED, False, "0 tokens that could be compressed are too few"),
        (LONG, "m1", False, "saves no money, the provider's speed is not measured yet"),
        (LONG, PRICED, True, "saves $"),
    ],
    ids=["short", "no price", "long"],
)
def test_auto_compresses_where_that_pays_and_says_why(
    open_relay: OpenRelay, prompt: str, model: str, compressed: bool, reason: str
) -> None:
    relay = open_relay()
    compression = relay.generate(prompt=prompt, model=model, compress="auto")[0].json["compression"]
    assert compression["compressed"] is compressed
    assert compression["reason"].startswith(reason)
    [sent] = relay.upstream.bodies[0]["messages"]
    assert (sent["content"] != prompt) is compressed
    row = relay.latest()
    assert row["compress_decision"] == compression["reason"]
    assert ("original_tokens" in row) is compressed


DIFF = """\
diff --git a/app/limits.go b/app/limits.go
--- a/app/limits.go
+++ b/app/limits.go
@@ -4,9 +4,9 @@ package app
 // Limits of one account.
 const (
-  MaxUploads = 10
+  MaxUploads = 250
-  Trial = true
+  Trial = false
   Currency = "EUR"
 )
-func Open() bool { return false }
+func Open() bool { return Trial }
"""


@pytest.mark.parametrize(
    ("prompt", "ask"),
    [
        (f"{DIFF}\nWrite a commit message", "\n\nWrite a commit message"),
        (f"Review this change:\n\n{DIFF}", "Review this change:\n\n"),
        (f"{LONG}\nIn one line: who was late?", "\nIn one line: who was late?"),
    ],
    ids=["after a diff", "before a diff", "after a meeting"],
)
@pytest.mark.parametrize("path", [GENERATE, SELECT])
def test_what_is_asked_is_sent_whole(
    open_relay: OpenRelay, path: str, prompt: str, ask: str
) -> None:
    relay = open_relay()
    relay.daemon.stream(path, {"prompt": prompt, "model": "m1", "compress": 0.5})
    [sent] = relay.upstream.bodies[0]["messages"]
    assert ask in sent["content"]
    assert count_tokens(sent["content"]) < 0.75 * count_tokens(prompt)


def test_all_of_the_material_is_kept_at_ratio_one(open_relay: OpenRelay) -> None:
    relay = open_relay()
    metadata = relay.generate(prompt=f"{DIFF}\nWrite a commit message", compress=1)[0].json
    [sent] = relay.upstream.bodies[0]["messages"]
    assert sent["content"] == f"{DIFF}\nWrite a commit message"
    assert metadata["compression"]["compressed_tokens"] == count_tokens(sent["content"])


@pytest.mark.parametrize("prompt", ["Thanks!", "Translate to French: The cat sat on the mat."])
def test_a_prompt_without_material_is_sent_as_it_is(open_relay: OpenRelay, prompt: str) -> None:
    relay = open_relay()
    metadata = relay.generate(prompt=prompt, compress=0.2)[0].json
    assert relay.upstream.bodies[0]["messages"] == [{"role": "user", "content": prompt}]
    assert metadata["compression"] == {
        "compressed": False,
        "reason": "nothing but what is asked, or too short",
    }


@pytest.mark.parametrize("path", [GENERATE, SELECT])
@pytest.mark.parametrize("compress", [0.3, "auto"])
def test_of_an_attachment_and_a_prompt_only_the_attachment_shrinks(
    open_relay: OpenRelay, path: str, compress: Any
) -> None:
    relay = open_relay()
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    prompt = f"A list of what is no instruction. {LONG}"  # long, and yet exact
    body = {"prompt": prompt, "attachment": LONG, "messages": before, "model": PRICED}
    relay.daemon.stream(path, body | {"compress": compress})
    *said, sent = relay.upstream.bodies[0]["messages"]
    assert said == before
    assert sent["role"] == "user"
    assert sent["content"].endswith(f"\n\n{prompt}")
    attached = sent["content"].removesuffix(f"\n\n{prompt}")
    assert 0 < count_tokens(attached) <= (0.3 if compress == 0.3 else 0.6) * count_tokens(LONG)
    assert relay.latest()["input"] == f"{LONG}\n\n{prompt}"


def test_an_attachment_is_sent_before_the_prompt(open_relay: OpenRelay) -> None:
    relay = open_relay()
    relay.generate(prompt="Why?", attachment="It broke.")
    relay.generate(prompt="", attachment="It broke.")
    sent = [body["messages"] for body in relay.upstream.bodies]
    assert [[message["content"] for message in said] for said in sent] == [
        ["It broke.\n\nWhy?"],
        ["It broke."],
    ]


def test_nothing_is_compressed_unasked(open_relay: OpenRelay) -> None:
    relay = open_relay()
    assert "compression" not in relay.generate(prompt=LONG)[0].json
    assert relay.upstream.bodies[0]["messages"][0]["content"] == LONG


def test_an_answer_is_in_the_history_before_its_end_is_said(open_relay: OpenRelay) -> None:
    relay = open_relay()
    database = sqlite3.connect(relay.daemon.services.config.database)
    with ThreadPoolExecutor(1) as pool, contextlib.closing(database):
        database.execute("BEGIN IMMEDIATE")  # nothing can be committed
        reading = pool.submit(until_end, relay.open())
        time.sleep(0.3)  # far longer than an end takes that does not wait
        assert not reading.done()
        database.rollback()
        [counted] = [event for event in reading.result() if event.name == "usage"]
    assert relay.daemon.get(f"/api/history/{counted.json['id']}").json["status"] == "ok"


def until_end(stream: EventReader) -> list[Event]:
    """What is said until the end is; the connection may stay open."""
    received: list[Event] = []
    for event in stream:
        received.append(event)
        if event.name == "end_stream":
            break
    return received


def test_answers_go_on_when_the_history_cannot_be_written(open_relay: OpenRelay) -> None:
    relay = open_relay()
    database = relay.daemon.services.store._db
    database.execute("PRAGMA query_only = ON")  # as a full or read-only disk would
    received = relay.generate()
    assert text_of(received) == "Hello world"
    assert received[-2].json["id"] is None
    assert received[-1].name == "end_stream"
    assert relay.daemon.get("/healthz").json["history"] == "degraded"
    database.execute("PRAGMA query_only = OFF")
    assert relay.generate()[-2].json["id"]


def test_a_client_whose_name_is_not_text_is_answered(open_relay: OpenRelay) -> None:
    relay = open_relay()
    body = b'{"prompt": "Hi", "model": "m1"}'
    head = (
        b"POST /api/generate HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: caf\xe9\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", relay.daemon.port), timeout=5) as connection:
        connection.sendall(head % (relay.daemon.port, len(body)) + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"event: end_stream" in received
    assert relay.latest()["client"].startswith("caf")
    assert relay.generate()[-1].name == "end_stream"  # the history is written on
