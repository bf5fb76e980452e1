"""Fields that a provider's model does not take are left out or renamed, once and for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import OpenRelay, Relay, text_of
from tests.upstream import Received, Script, Wire, answer

CHAT = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
Refusal = tuple[int, Any]


def refusing(refusal: Callable[[Any], Refusal | None]) -> Script:
    """Answers what it does not refuse."""

    async def script(wire: Wire, request: Received) -> None:
        refused = refusal(request.body)
        if refused:
            await wire.json(*refused)
        else:
            await answer("Hello")(wire, request)

    return script


def openai(message: str, **fields: Any) -> Refusal:
    return 400, {"error": {"message": message, "type": "invalid_request_error", **fields}}


def fastapi(*names: str) -> Refusal:
    return 422, {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", name],
                "msg": "Extra inputs are not permitted",
                "input": {"temperature": 0.5, "tools": "all that was sent"},
            }
            for name in names
        ]
    }


def unless(field: str, refusal: Refusal) -> Callable[[Any], Refusal | None]:
    return lambda body: refusal if field in body else None


USE_OTHER = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
BOTH = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
CASES = {
    "stream_options, as pydantic says it": (
        {"stream": True},
        unless("stream_options", fastapi("stream_options")),
        {"stream_options"},
    ),
    "stream_options, in words": (
        {"stream": True},
        unless("stream_options", openai("Unrecognized request argument supplied: stream_options")),
        {"stream_options"},
    ),
    "stream_options, as Mistral said it": (
        {"stream": True},
        unless("stream_options", (422, {"message": "property 'stream_options' is unsupported"})),
        {"stream_options"},
    ),
    "temperature": (
        {"temperature": 0.3},
        unless(
            "temperature",
            openai(
                "Unsupported value: 'temperature' does not support 0.3 with this model. Only the "
                "default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            ),
        ),
        {"temperature"},
    ),
    "temperature and top_p": (
        {"temperature": 0.3, "top_p": 0.9},
        lambda body: openai(BOTH) if {"temperature", "top_p"} <= body.keys() else None,
        {"top_p"},
    ),
    "one after the other": (
        {"presence_penalty": 0.1, "frequency_penalty": 0.1, "seed": 7},
        lambda body: next(
            (
                openai(f"`{name}` is not supported by this model", param=name)
                for name in ("presence_penalty", "frequency_penalty")
                if name in body
            ),
            None,
        ),
        {"presence_penalty", "frequency_penalty"},
    ),
    "several at once": (
        {"top_k": 5, "min_p": 0.1},
        lambda body: (
            fastapi(*sorted({"top_k", "min_p"} & body.keys()))
            if {"top_k", "min_p"} & body.keys()
            else None
        ),
        {"top_k", "min_p"},
    ),
    "as a fault of the server": (
        {"logit_bias": {"7": 1}},
        unless("logit_bias", (500, {"error": {"message": "unexpected keyword: 'logit_bias'"}})),
        {"logit_bias"},
    ),
}


def sent_fields(relay: Relay) -> list[set[str]]:
    return [set(body) for body in relay.upstream.bodies]


@pytest.mark.parametrize(("fields", "refusal", "left_out"), CASES.values(), ids=CASES)
def test_a_field_that_is_refused_is_left_out_and_that_is_remembered(
    open_relay: OpenRelay,
    fields: dict[str, Any],
    refusal: Callable[[Any], Refusal | None],
    left_out: set[str],
) -> None:
    relay = open_relay(refusing(refusal))
    for _ in range(2):
        assert relay.daemon.post("/v1/chat/completions", CHAT | fields).status == 200
    first, *asked_again, remembered = sent_fields(relay)
    assert left_out <= first
    assert len(asked_again) == len(left_out)
    assert asked_again[-1] == remembered == first - left_out


@pytest.mark.parametrize(
    ("name", "other"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
def test_a_limit_is_sent_under_the_name_that_is_known(
    open_relay: OpenRelay, name: str, other: str
) -> None:
    said = USE_OTHER if name == "max_tokens" else f"Unknown field: {name}"
    relay = open_relay(refusing(unless(name, openai(said))))
    for _ in range(2):
        assert relay.daemon.post("/v1/chat/completions", CHAT | {name: 9}).status == 200
    limits = [{key: body.get(key) for key in (name, other)} for body in relay.upstream.bodies]
    renamed = {name: None, other: 9}
    assert limits == [{name: 9, other: None}, renamed, renamed]


def test_what_one_model_refuses_another_gets(open_relay: OpenRelay) -> None:
    relay = open_relay(
        refusing(
            lambda body: (
                openai("unsupported: 'seed'") if body["model"] == "m1" and "seed" in body else None
            )
        )
    )
    for model in ("m1", "m2"):
        relay.daemon.post("/v1/chat/completions", CHAT | {"model": model, "seed": 7})
    assert ["seed" in fields for fields in sent_fields(relay)] == [True, False, True]


def test_our_own_fields_are_left_out_on_the_native_routes(open_relay: OpenRelay) -> None:
    relay = open_relay(refusing(unless("stream_options", fastapi("stream_options"))))
    received = relay.generate()
    assert text_of(received) == "Hello"
    assert "attempts" not in str(received[0].data)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        pytest.param({"tools": []}, openai("'tools' is not supported"), id="tools"),
        pytest.param({"n": 2}, openai("'n' is not supported", param="n"), id="n"),
        pytest.param(
            {"response_format": {"type": "json_object"}},
            openai("unsupported: response_format", param="response_format"),
            id="response_format",
        ),
        pytest.param(
            {"temperature": 7.0},
            openai("temperature must be at most 2", param="temperature"),
            id="a wrong value",
        ),
        pytest.param(
            {"temperature": 0.5},
            (422, {"detail": [{"loc": ["body", "stop"], "msg": "temperature?", "type": "x"}]}),
            id="another field",
        ),
        pytest.param({"seed": 7}, (429, {"error": "unsupported: 'seed'"}), id="a rate limit"),
    ],
)
def test_what_decides_an_answer_is_never_left_out(
    open_relay: OpenRelay, fields: dict[str, Any], refusal: Refusal
) -> None:
    relay = open_relay(refusing(lambda _: refusal))
    assert relay.daemon.post("/v1/chat/completions", CHAT | fields).status == refusal[0]
    assert len(relay.upstream.requests) == 1


def test_a_provider_that_knows_neither_name_is_not_asked_for_ever(open_relay: OpenRelay) -> None:
    def refusal(body: Any) -> Refusal:
        [name] = {"max_tokens", "max_completion_tokens"} & body.keys()
        return openai(f"Unknown field: {name}")

    relay = open_relay(refusing(refusal))
    assert relay.daemon.post("/v1/chat/completions", CHAT | {"max_tokens": 9}).status == 400
    assert len(relay.upstream.requests) == 2


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
# llama-cpp-python 0.3.36, word for word.
NO_JSON_SCHEMA = """1 validation error:
  {'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), 'msg': "Input should be \
'text' or 'json_object'", 'input': 'json_schema', 'ctx': {'expected': "'text' or 'json_object'"}}

  File "/usr/lib/python3/site-packages/llama_cpp/server/app.py", line 376, in create_chat_completion
    POST /v1/chat/completions"""


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_sent_as_llama_cpp_python_reads_it(open_relay: OpenRelay, stream: bool) -> None:
    def refusal(body: Any) -> Refusal | None:
        if body["response_format"]["type"] == "json_schema":
            error = {"message": NO_JSON_SCHEMA, "type": "internal_server_error"}
            return 500, {"error": error | {"param": None, "code": None}}
        return None

    relay = open_relay(refusing(refusal))
    asked = CHAT | {"response_format": JSON_SCHEMA, "stream": stream}
    for _ in range(2):
        assert relay.daemon.post("/v1/chat/completions", asked).status == 200
    written = {"type": "json_object", "schema": SCHEMA}
    formats = [body["response_format"] for body in relay.upstream.bodies]
    assert formats == [JSON_SCHEMA, written, written]


def test_a_schema_that_another_provider_does_not_take_stays_the_clients(
    open_relay: OpenRelay,
) -> None:
    """It would answer with any JSON object, and nobody would know."""
    refusal = openai("This response_format type is unavailable now", param="response_format")
    relay = open_relay(refusing(lambda _: refusal))
    asked = CHAT | {"response_format": JSON_SCHEMA}
    assert relay.daemon.post("/v1/chat/completions", asked).status == 400
    assert [body["response_format"] for body in relay.upstream.bodies] == [JSON_SCHEMA]


# What llama-cpp-python 0.3.36 says of a message whose content is missing, and where it is null.
NO_CONTENT = "'content'"
NULL_CONTENT = """7 validation errors:
  {'type': 'literal_error', 'loc': ('body', 'messages', 1, 'ChatCompletionRequestUserMessage', \
'role'), 'msg': "Input should be 'user'", 'input': 'assistant', 'ctx': {'expected': "'user'"}}
  {'type': 'string_type', 'loc': ('body', 'messages', 1, 'ChatCompletionRequestAssistantMessage', \
'content'), 'msg': 'Input should be a valid string', 'input': None}"""


@pytest.mark.parametrize(("said", "message"), [({}, NO_CONTENT), ({"content": None}, NULL_CONTENT)])
def test_a_message_of_tool_calls_alone_gets_an_empty_content(
    open_relay: OpenRelay, said: dict[str, Any], message: str
) -> None:
    def refusal(body: Any) -> Refusal | None:
        if body["messages"][1].get("content") is None:
            return 500, {"error": {"message": message, "type": "internal_server_error"}}
        return None

    function = {"name": "get_weather", "arguments": "{}"}
    call = {"id": "c1", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "tool_calls": [call], **said},
        {"role": "tool", "tool_call_id": "c1", "content": "7 degrees"},
    ]
    relay = open_relay(refusing(refusal))
    for _ in range(2):
        asked = CHAT | {"messages": messages}
        assert relay.daemon.post("/v1/chat/completions", asked).status == 200
    adapted = [messages[0], messages[1] | {"content": ""}, messages[2]]
    assert [body["messages"] for body in relay.upstream.bodies] == [messages, adapted, adapted]
