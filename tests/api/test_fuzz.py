from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Answer, Daemon, OpenRelay

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("text", "ratio", "target_token", "forceTokens", "preserve", "question", "mode"),
        *("prompt", "possibleCategories", "multi_label", "return_words", "drop_consecutive"),
    ]
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=6)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["/api/compress", "/api/classify"]), BODIES, st.text(max_size=80))
def test_no_json_body_is_a_server_error(
    daemon: Daemon, path: str, body: dict[str, Any], valid: str
) -> None:
    required = "text" if path == "/api/compress" else "prompt"
    for candidate in (body, {**body, required: valid}):
        answer = daemon.post(path, candidate)
        assert answer.status < 500, (candidate, answer.body)
        assert isinstance(answer.json, dict)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_a_server_error(daemon: Daemon, body: bytes) -> None:
    answer = daemon.request("POST", "/api/classify", raw=body or b"\x00")
    assert 400 <= answer.status < 500
    assert {"error", "detail"} == set(answer.json)


MODEL = "llama-3.1-8b-instant"  # is known, but nobody is configured who has it
ASKED: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi", "model": MODEL},
    "/api/models/select": {"prompt": "Hi"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}], "model": MODEL},
}
PARTS = st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=30) | JSON})
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "system", "assistant", "tool"]) | JSON,
        "content": st.text(max_size=30) | st.lists(PARTS | JSON, max_size=3) | JSON,
        "tool_calls": JSON,
    },
)
COMPRESS = st.floats(0.01, 1) | st.just("auto") | JSON
# Each field is what it should be about as often as something else.
CHATS = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(max_size=30) | JSON,
        "model": st.sampled_from(["auto", MODEL, "groq/m1", "nowhere-1"]) | JSON,
        "messages": st.lists(MESSAGES | JSON, max_size=3) | JSON,
        "system": st.text(max_size=30) | JSON,
        "provider": st.sampled_from(["groq", "ollama"]) | JSON,
        "possibleCategories": st.lists(st.text(max_size=5), max_size=3) | JSON,
        "temperature": st.floats(0, 2) | JSON,
        "topP": st.floats(0, 1) | JSON,
        "max_tokens": st.integers() | JSON,
        "compress": COMPRESS,
        "stream": st.booleans() | JSON,
        "stream_options": st.fixed_dictionaries({}, optional={"include_usage": JSON}) | JSON,
        "tokenflow": st.fixed_dictionaries({}, optional={"compress": COMPRESS, "provider": JSON})
        | JSON,
        "seed": JSON,
    },
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(list(ASKED)), CHATS)
def test_no_wish_for_an_answer_is_a_server_error(
    daemon: Daemon, path: str, body: dict[str, Any]
) -> None:
    for candidate in (body, ASKED[path] | body):
        assert_nobody_answered(path, daemon.post(path, candidate), candidate)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(list(ASKED)),
    st.binary(min_size=1, max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_bytes_instead_of_a_wish_are_a_server_error(
    daemon: Daemon, path: str, body: bytes
) -> None:
    answer = daemon.request("POST", path, raw=body)
    assert 400 <= answer.status < 500
    assert_nobody_answered(path, answer, body)


def assert_nobody_answered(path: str, answer: Answer, sent: object) -> None:
    """A 4xx, or the error that nobody can answer; /v1 says it in OpenAI's shape."""
    assert answer.status < 500 or answer.status == 503, (sent, answer.body)
    if path.startswith("/v1"):
        assert answer.status >= 400, (sent, answer.body)
        assert answer.json["error"].keys() == {"message", "type", "code", "param"}
    elif answer.status >= 400:
        assert answer.json.keys() == {"error", "detail"}
    else:
        last = answer.body.decode().rstrip().rpartition("\n\n")[2]
        name, data = last.split("\n")
        assert name == "event: error", (sent, answer.body)
        error = json.loads(data.removeprefix("data: "))["data"]
        assert error.keys() - {"retry_after_s"} == {"error", "detail", "type", "retryable"}


@pytest.mark.parametrize("where", ["in the body", "in a message"])
def test_no_depth_of_nesting_is_a_server_error(open_relay: OpenRelay, where: str) -> None:
    """A body is read, passed on and recorded, each at another depth of the stack."""
    relay = open_relay()
    for depth in range(900, 1010):
        nested = "[" * depth + "]" * depth
        in_body, in_message = (nested, 0) if where == "in the body" else (0, nested)
        message = f'{{"role": "user", "content": "Hi", "more": {in_message}}}'
        body = f'{{"model": "m1", "messages": [{message}], "more": {in_body}}}'
        answer = relay.daemon.request("POST", "/v1/chat/completions", raw=body.encode())
        assert answer.status < 500, (depth, answer.body)
