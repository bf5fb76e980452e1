"""Who is asked, how often, and who is asked next."""

from __future__ import annotations

import email.utils
import time

import pytest

from tests.conftest import OpenRelay, text_of
from tests.generate.caller import Caller
from tests.upstream import DONE, Received, Script, Upstream, Wire, answer, chunk, event, events
from tests.upstream import failure as status
from tokenflowd.errors import ProviderError
from tokenflowd.generate import AllFailed

OUT_OF_MEMORY = event({"error": {"message": "out of memory"}})


def models(upstream: Upstream) -> list[str]:
    return [body["model"] for body in upstream.bodies]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
def test_what_would_fail_again_is_not_tried_again(open_relay: OpenRelay, code: int) -> None:
    relay = open_relay(status(code))
    assert relay.generate()[-1].name == "error"
    assert len(relay.upstream.requests) == 1


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_failing_server_is_asked_again_as_often_as_configured(
    open_relay: OpenRelay, retries: int
) -> None:
    relay = open_relay(status(500), generate={"retries": retries})
    received = relay.generate()
    assert received[-1].json["error"] == "server error"
    assert len(relay.upstream.requests) == retries + 1
    assert len(received[0].json["attempts"]) == 1


@pytest.mark.parametrize("first", [status(503), events(OUT_OF_MEMORY), events()])
def test_a_server_that_recovers_answers(open_relay: OpenRelay, first: Script) -> None:
    relay = open_relay(first, answer("Hello"))
    received = relay.generate()
    assert text_of(received) == "Hello"
    assert "attempts" not in received[0].json  # nobody else was asked
    assert len(relay.upstream.requests) == 2


def test_nothing_is_asked_again_once_words_are_out(open_relay: OpenRelay) -> None:
    relay = open_relay(events(chunk("Hel"), OUT_OF_MEMORY), answer("Hello"))
    received = relay.generate()
    assert (text_of(received), received[-1].name) == ("Hel", "error")
    assert len(relay.upstream.requests) == 1


def in_a_second() -> str:
    return email.utils.formatdate(time.time() + 1.5, usegmt=True)  # of whole seconds


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_rate_limit_that_ends_soon_is_waited_for(open_relay: OpenRelay, form: str) -> None:
    asked: list[float] = []

    async def limited_then_well(wire: Wire, request: Received) -> None:
        asked.append(time.time())
        after = "1" if form == "seconds" else in_a_second()
        script = status(429, Retry_After=after) if len(asked) == 1 else answer("Hello")
        await script(wire, request)

    relay = open_relay(limited_then_well)
    assert text_of(relay.generate()) == "Hello"
    assert len(asked) == 2
    assert asked[1] - asked[0] > 0.4  # a date's fraction of a second is cut off


def test_a_rate_limit_that_lasts_is_told_at_once(open_relay: OpenRelay) -> None:
    relay = open_relay(status(429, "Too many", Retry_After="60"), answer("Hello"))
    problem = relay.generate()[-1].json
    assert (problem["error"], problem["retry_after_s"]) == ("rate limited", 60)
    assert len(relay.upstream.requests) == 1
    again = relay.generate()[-1].json
    assert "60 s" in again["detail"] or "59 s" in again["detail"]
    assert again["retry_after_s"] == pytest.approx(60, abs=5)
    assert len(relay.upstream.requests) == 1  # it is not asked before that
    assert text_of(relay.generate(model="m2")) == "Hello"  # limits are a model's


def test_the_next_request_waits_for_the_end_of_a_short_limit(open_relay: OpenRelay) -> None:
    relay = open_relay(status(429, Retry_After="1"), answer("Hello"), generate={"retries": 0})
    assert relay.generate()[-1].json["error"] == "rate limited"
    assert text_of(relay.generate()) == "Hello"


@pytest.mark.parametrize("value", ["inf", "1e999", "9" * 400, "nan", "-5", "soon", ""])
def test_an_odd_time_to_come_back_does_no_harm(open_relay: OpenRelay, value: str) -> None:
    relay = open_relay(status(429, "Too many", Retry_After=value), generate={"retries": 0})
    assert relay.generate(model="m2")[-1].json["error"] == "rate limited"
    chat = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
    answered = relay.daemon.post("/v1/chat/completions", chat)
    assert answered.status == 429
    assert "Too many" in answered.json["error"]["message"]
    assert int(answered.headers.get("retry-after", "0")) >= 0


async def decommissioned(wire: Wire, request: Received) -> None:
    problem = {"message": "This model is no longer supported", "code": "model_decommissioned"}
    await wire.json(400, {"error": problem})


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(status(429, Retry_After="1"), id="429"),
        pytest.param(status(500), id="500"),
        pytest.param(status(404), id="404"),
        pytest.param(status(413), id="413"),
        pytest.param(decommissioned, id="decommissioned"),
        pytest.param(events(OUT_OF_MEMORY), id="an error first"),
        pytest.param(events(DONE), id="nothing"),
    ],
)
def test_the_next_model_answers_where_the_first_does_not(first: Script) -> None:
    with Upstream(first, answer("Hello")) as upstream:
        assert Caller(upstream, "m1", "m2", "m3").ask(retries=2) == "Hello"
        assert models(upstream) == ["m1", "m2"]


@pytest.mark.parametrize("code", [400, 422, 401])
def test_no_other_model_is_asked_where_it_would_say_the_same(code: int) -> None:
    with Upstream(status(code), answer("Hello")) as upstream:
        with pytest.raises(AllFailed, match=str(code)):
            Caller(upstream, "m1", "m2").ask(retries=2)
        assert models(upstream) == ["m1"]


def test_only_the_last_model_is_asked_again() -> None:
    with Upstream(status(500)) as upstream:
        with pytest.raises(AllFailed) as raised:
            Caller(upstream, "m1", "m2").ask(retries=1)
        assert models(upstream) == ["m1", "m2", "m2"]
    assert [attempt.model for attempt in raised.value.attempts] == ["m1", "m2"]


def test_the_error_is_that_of_the_model_that_was_wanted() -> None:
    with (
        Upstream(status(429, "Too many", Retry_After="9"), status(404)) as upstream,
        pytest.raises(AllFailed, match="Too many") as raised,
    ):
        Caller(upstream, "m1", "m2").ask()
    assert (raised.value.fault, raised.value.retry_after_s) == ("rate_limited", 9)


def test_a_stream_that_breaks_is_not_continued_by_another_model() -> None:
    with Upstream(events(chunk("Hel"), OUT_OF_MEMORY), answer("Hello")) as upstream:
        with pytest.raises(ProviderError, match="out of memory"):
            Caller(upstream, "m1", "m2").ask(retries=2)
        assert models(upstream) == ["m1"]


RANKING = {
    "title": "Any",
    "description": "Anything",
    "models": [{"id": f"m{n}", "name": f"M {n}", "provider": "groq"} for n in (1, 2, 3)],
}


def test_a_ranking_is_followed_until_somebody_answers(open_relay: OpenRelay) -> None:
    relay = open_relay(
        status(429), status(500), answer("Hello"), route={"rankings": {"any": RANKING}}
    )
    select = {"prompt": "Hi", "possible_categories": ["any"]}
    received = relay.daemon.stream("/api/models/select", select)
    metadata = received[0].json
    assert text_of(received) == "Hello"
    assert metadata["selected_model"] == metadata["served_model"] == "m3"
    assert metadata["wanted_model"] == "m1"
    assert [(a["provider"], a["model"], a["error"]) for a in metadata["attempts"]] == [
        ("groq", "m1", "rate limited"),
        ("groq", "m2", "server error"),
    ]
    assert models(relay.upstream) == ["m1", "m2", "m3"]
    row = relay.latest()
    assert (row["wanted_model"], row["model"], row["provider"]) == ("m1", "m3", "groq")
    assert row["attempts"] == metadata["attempts"]
    assert row["status"] == "ok"
