"""On /v1 the client repeats what failed: its repetitions and ours do not multiply, it is told the
truth of when to come back, and it gets what the provider said."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.conftest import OpenRelay
from tests.upstream import Received, Script, Wire, answer
from tests.upstream import failure as status

CHAT: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
MODELS = ("m1", "m2", "m3")
RANKING = {
    "title": "Any",
    "description": "Anything",
    "models": [{"id": name, "name": name, "provider": "groq"} for name in MODELS],
}
ANY = {"tokenflow": {"possible_categories": ["any"]}, "model": "auto"}


def saying(code: int, content: Any, **headers: str) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        await wire.json(code, content, **headers)

    return script


@pytest.mark.parametrize("code", [500, 503])
def test_a_client_of_v1_repeats_by_itself(open_relay: OpenRelay, code: int) -> None:
    relay = open_relay(status(code))
    url = f"http://127.0.0.1:{relay.daemon.port}/v1"
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=2)
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(**CHAT)
    assert raised.value.status_code == code
    assert len(relay.upstream.requests) == 3


def test_single_failures_with_repetitions_leave_the_provider_to_others(
    open_relay: OpenRelay,
) -> None:
    """A schema that its server answers with 500, sent again and again by its client."""
    relay = open_relay(
        status(500, "'type'"), status(500), status(500), status(500), answer("Hello")
    )
    for _ in range(4):
        refused = relay.daemon.post("/v1/chat/completions", CHAT)
        assert refused.status == 500
    assert relay.daemon.post("/v1/chat/completions", CHAT | {"model": "m2"}).status == 200


def test_a_limit_is_told_at_once(open_relay: OpenRelay) -> None:
    relay = open_relay(status(429, Retry_After="3"), answer("Hello"))
    first, second = (relay.daemon.post("/v1/chat/completions", CHAT) for _ in range(2))
    assert (first.status, first.headers["retry-after"]) == (429, "3")
    assert second.status == 429
    assert int(second.headers["retry-after"]) <= 3
    assert len(relay.upstream.requests) == 1


def test_who_may_be_asked_now_is_not_kept_from_anybody(open_relay: OpenRelay) -> None:
    """The first model is limited for a minute, but the second only failed at this request."""
    relay = open_relay(
        status(429, Retry_After="60"),
        status(500),
        status(500),
        answer("Hello"),
        route={"rankings": {"any": RANKING}},
    )
    refused = relay.daemon.post("/v1/chat/completions", CHAT | ANY)
    assert refused.status == 429
    assert "retry-after" not in refused.headers
    assert relay.daemon.post("/v1/chat/completions", CHAT | ANY).status == 200


SAID = {
    "context": (
        400,
        {
            "message": "This model's maximum context length is 8192 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    ),
    "tool": (
        400,
        {
            "message": "Failed to call a function.",
            "type": "invalid_request_error",
            "code": "tool_use_failed",
            "failed_generation": '<function=f{"x"',
        },
    ),
    "quota": (402, {"message": "Insufficient credits", "code": 402}),
    "forbidden": (403, {"message": "Not in your country", "type": "forbidden", "code": "geo"}),
    "gone": (404, {"message": "No such model", "code": "model_not_found"}),
    "large": (413, {"message": "Too large", "type": "tokens", "code": "rate_limit_exceeded"}),
    "limit": (429, {"message": "Slow down", "type": "tokens", "code": "rate_limit_exceeded"}),
    "fault": (500, {"message": "Oops", "type": "server_error", "code": "internal"}),
    "overload": (529, {"message": "Overloaded", "type": "overloaded_error"}),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("envelope", [True, False], ids=["in error", "bare"])
@pytest.mark.parametrize(("code", "said"), SAID.values(), ids=SAID)
def test_what_the_provider_said_arrives(
    open_relay: OpenRelay, code: int, said: dict[str, Any], envelope: bool, stream: bool
) -> None:
    relay = open_relay(saying(code, {"error": said} if envelope else said))
    answered = relay.daemon.post("/v1/chat/completions", CHAT | {"stream": stream})
    assert answered.status == code
    error = answered.json["error"]
    assert said["message"] in error["message"]
    assert "groq" in error["message"]
    kept = {name: value for name, value in said.items() if name != "message"}
    assert error | kept == error
    assert {"message", "type", "code", "param"} <= error.keys()


def test_what_is_too_long_for_one_model_goes_to_one_that_reads_more(open_relay: OpenRelay) -> None:
    sizes = {"m1": 8_000, "m2": 4_000, "m3": 100_000}
    relay = open_relay(
        saying(*_error("context")),
        answer("Hello"),
        route={"rankings": {"any": RANKING}},
        providers={
            "groq": {"models": {name: {"context_tokens": size} for name, size in sizes.items()}}
        },
    )
    answered = relay.daemon.post("/v1/chat/completions", CHAT | ANY)
    assert answered.status == 200
    assert [body["model"] for body in relay.upstream.bodies] == ["m1", "m3"]


def test_a_call_that_one_model_cannot_write_goes_to_the_next(open_relay: OpenRelay) -> None:
    relay = open_relay(
        saying(*_error("tool")), answer("Hello"), route={"rankings": {"any": RANKING}}
    )
    assert relay.daemon.post("/v1/chat/completions", CHAT | ANY).status == 200
    assert [body["model"] for body in relay.upstream.bodies] == ["m1", "m2"]


def _error(name: str) -> tuple[int, Any]:
    code, said = SAID[name]
    return code, {"error": said}
