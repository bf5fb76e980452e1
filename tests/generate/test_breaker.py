"""What does not answer is left alone for a while."""

from __future__ import annotations

import pytest

from tests.conftest import KEY, NOWHERE, OpenRelay
from tests.generate.caller import Caller
from tests.upstream import Script, Upstream, answer, chunk, event, events
from tests.upstream import failure as status
from tokenflowd.config import ProviderConfig
from tokenflowd.errors import ProviderError, ProviderFault
from tokenflowd.generate import Breaker, Candidate, Provider
from tokenflowd.generate.breaker import (
    FAILURES,
    MAX_RATE_LIMIT_S,
    OPEN_S,
    RATE_LIMIT_S,
    TRIAL_S,
)

GROQ = Provider("groq", ProviderConfig(base_url=NOWHERE), KEY)
M1, M2 = Candidate(GROQ, "m1"), Candidate(GROQ, "m2")
BROKEN = events(chunk("Hel"), event({"error": {"message": "out of memory"}}))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def failing(caller: Caller, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ProviderError, match="groq"):
            caller.ask()


@pytest.mark.parametrize("code", [502, 503, 504, 522, 529])
def test_a_provider_that_keeps_failing_is_left_alone(
    breaker: Breaker, clock: Clock, code: int
) -> None:
    with Upstream(status(code)) as upstream:
        caller = Caller(upstream, breaker=breaker)
        failing(caller, FAILURES)
        clock.now += OPEN_S - 1
        with pytest.raises(ProviderError, match="asked again in 1 s") as raised:
            caller.ask()
        assert (raised.value.fault, raised.value.retry_after_s) == ("unavailable", 1)
        assert len(upstream.requests) == FAILURES


def test_a_provider_that_answers_again_is_asked_again(breaker: Breaker, clock: Clock) -> None:
    with Upstream(*[status(503)] * FAILURES, answer("Hello")) as upstream:
        caller = Caller(upstream, breaker=breaker)
        failing(caller, FAILURES)
        clock.now += OPEN_S
        assert [caller.ask(), caller.ask()] == ["Hello", "Hello"]


def test_a_provider_that_fails_again_is_left_alone_again(breaker: Breaker, clock: Clock) -> None:
    with Upstream(status(503)) as upstream:
        caller = Caller(upstream, breaker=breaker)
        failing(caller, FAILURES)
        clock.now += OPEN_S
        failing(caller, 3)
        assert len(upstream.requests) == FAILURES + 1  # one tried


def test_a_success_makes_failures_forgotten(breaker: Breaker) -> None:
    flaky = [*[status(503)] * (FAILURES - 1), answer("Hello")]
    with Upstream(*flaky, *flaky) as upstream:
        caller = Caller(upstream, breaker=breaker)
        for _ in range(2):
            failing(caller, FAILURES - 1)
            assert caller.ask() == "Hello"


def test_while_one_request_tries_the_others_wait(breaker: Breaker, clock: Clock) -> None:
    for _ in range(FAILURES):
        breaker.failed(M1, ProviderError("overloaded", ""))
    assert breaker.waits_s(M2) == OPEN_S  # a circuit is a provider's
    clock.now += OPEN_S
    assert breaker.waits_s(M1) == 0
    breaker.begin(M1)
    assert breaker.waits_s(M1) == breaker.waits_s(M2) == TRIAL_S  # not 30 s: it may be up
    breaker.answered(M1)
    assert breaker.waits_s(M1) == breaker.waits_s(M2) == 0


def test_a_try_whose_client_left_keeps_nobody_waiting(breaker: Breaker, clock: Clock) -> None:
    for _ in range(FAILURES):
        breaker.failed(M1, ProviderError("overloaded", ""))
    clock.now += OPEN_S
    breaker.begin(M1)
    breaker.abandoned(M1)
    assert breaker.waits_s(M2) == 0
    breaker.failed(M1, ProviderError("overloaded", ""))
    assert breaker.waits_s(M2) == OPEN_S  # one more failure is enough


SCHEMA_REFUSED = status(500, "'properties' is a required property of the schema")


@pytest.mark.parametrize(
    "script",
    [
        *(
            pytest.param(status(code), id=str(code))
            for code in (400, 401, 403, 404, 408, 413, 422, 500, 501)
        ),
        pytest.param(SCHEMA_REFUSED, id="a validation error as 500"),
        pytest.param(events(), id="nothing"),
        pytest.param(BROKEN, id="an error within the answer"),
        pytest.param(events(b"data: {broken\n\n"), id="no JSON"),
    ],
)
def test_what_one_request_meets_shuts_no_provider(breaker: Breaker, script: Script) -> None:
    with Upstream(*[script] * 2 * FAILURES, answer("Hello")) as upstream:
        caller = Caller(upstream, breaker=breaker)
        failing(caller, 2 * FAILURES)
        assert caller.ask() == "Hello"


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_after_the_break_ends_it(breaker: Breaker, clock: Clock, code: int) -> None:
    with Upstream(*[status(503)] * FAILURES, status(code), answer("Hello")) as upstream:
        caller = Caller(upstream, breaker=breaker)
        failing(caller, FAILURES)
        clock.now += OPEN_S
        failing(caller, 1)
        assert caller.ask() == "Hello"


@pytest.mark.parametrize(
    ("retry_after_s", "waits_s"),
    [(None, RATE_LIMIT_S), (0.0, 0.0), (7.0, 7.0), (1e9, MAX_RATE_LIMIT_S)],
)
def test_a_rate_limit_is_its_models_alone(
    breaker: Breaker, clock: Clock, retry_after_s: float | None, waits_s: float
) -> None:
    breaker.failed(M1, ProviderError("rate_limited", "", retry_after_s=retry_after_s))
    assert breaker.waits_s(M1) == waits_s
    assert breaker.waits_s(M2) == 0
    assert not breaker.is_open("groq")
    clock.now += waits_s
    assert breaker.waits_s(M1) == 0


def test_all_repetitions_of_a_request_count_once(breaker: Breaker) -> None:
    with Upstream(*[status(503)] * FAILURES, answer("Hello")) as upstream:
        caller = Caller(upstream, breaker=breaker)
        with pytest.raises(ProviderError, match="503"):
            caller.ask(retries=FAILURES - 1)
        assert len(upstream.requests) == FAILURES
        assert caller.ask() == "Hello"


def test_all_models_that_a_request_asks_count_once(breaker: Breaker) -> None:
    with Upstream(*[status(503)] * FAILURES, answer("Hello")) as upstream:
        with pytest.raises(ProviderError, match="503"):
            Caller(upstream, "m1", "m2", "m3", breaker=breaker).ask()
        assert len(upstream.requests) == FAILURES
        assert Caller(upstream, "m4", breaker=breaker).ask() == "Hello"


@pytest.mark.parametrize("fault", ["unreachable", "timeout", "overloaded"])
def test_faults_of_the_provider_are_counted(breaker: Breaker, fault: ProviderFault) -> None:
    for _ in range(FAILURES):
        assert not breaker.is_open("groq")
        breaker.failed(M1, ProviderError(fault, ""))
    assert breaker.is_open("groq")


def test_the_user_is_told_of_the_break(open_relay: OpenRelay) -> None:
    relay = open_relay(status(503), generate={"retries": 0})
    for _ in range(FAILURES):
        assert relay.generate()[-1].json["error"] == "overloaded"
    received = relay.generate()
    assert [event.name for event in received] == ["metadata", "error"]
    problem = received[-1].json
    assert (problem["error"], problem["retryable"]) == ("unavailable", True)
    assert "asked again in" in problem["detail"]
    assert 0 < problem["retry_after_s"] <= OPEN_S
    assert len(relay.upstream.requests) == FAILURES
    assert relay.latest()["error_type"] == "unavailable"
