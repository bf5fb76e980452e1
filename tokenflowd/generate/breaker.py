"""Keeps requests away from what does not answer, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tokenflowd.errors import ProviderError
from tokenflowd.generate.providers import Candidate

# After this many requests in a row that failed a provider is left alone for a time; then one tries.
FAILURES = 3
OPEN_S = 30.0
# While that one tries, the others are told to come back for its outcome.
TRIAL_S = 1.0
# A rate limit that says no time, and the longest time that is believed.
RATE_LIMIT_S = 5.0
MAX_RATE_LIMIT_S = 600.0


def is_outage(error: ProviderError) -> bool:
    """Whether a failure says something about the provider, not about the request.

    One that answers at all is there: what it says with a 4xx or a 500, or how it says it, may be
    the fault of this request, and the next one may fare better.
    """
    has_no_answer = error.fault == "timeout" and error.provider_status is None
    return error.fault in ("unreachable", "overloaded") or has_no_answer


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    is_on_trial: bool = False


class Breaker:
    """One circuit for each provider, and the rate limits of single models."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}
        self._limited_until: dict[tuple[str, str], float] = {}

    def waits_s(self, candidate: Candidate) -> float:
        """Seconds until it may be asked; 0 now. The request that finds a circuit's time over is
        the one that tries: others wait for its outcome."""
        circuit = self._circuits.get(candidate.provider.name, _Circuit())
        open_s = circuit.open_until - self._clock()
        limit_s = self._limited_until.get(_model(candidate), 0.0) - self._clock()
        return max(0.0, min(open_s, TRIAL_S) if circuit.is_on_trial else open_s, limit_s)

    def begin(self, candidate: Candidate) -> None:
        """A request to `candidate` goes out: its outcome is to be told by one of the others."""
        circuit = self._circuits.get(candidate.provider.name)
        if circuit and circuit.failures >= FAILURES:
            circuit.open_until = self._clock() + OPEN_S
            circuit.is_on_trial = True

    def answered(self, candidate: Candidate) -> None:
        """An answer has begun: others may ask, too, before it ends."""
        self._end_trial(candidate)

    def abandoned(self, candidate: Candidate) -> None:
        """Nobody waits for the outcome any more."""
        self._end_trial(candidate)

    def succeeded(self, candidate: Candidate) -> None:
        self._circuits.pop(candidate.provider.name, None)
        self._limited_until.pop(_model(candidate), None)

    def failed(self, candidate: Candidate, error: ProviderError) -> None:
        """To be told once for all repetitions of a request."""
        name = candidate.provider.name
        if is_outage(error):
            circuit = self._circuits.setdefault(name, _Circuit())
            circuit.failures += 1
            circuit.is_on_trial = False
            if circuit.failures >= FAILURES:
                circuit.open_until = self._clock() + OPEN_S
            return
        self._circuits.pop(name, None)  # it does answer
        if error.fault == "rate_limited":
            seconds = RATE_LIMIT_S if error.retry_after_s is None else error.retry_after_s
            until = self._clock() + min(seconds, MAX_RATE_LIMIT_S)
            self._limited_until[_model(candidate)] = until

    def is_open(self, provider: str) -> bool:
        """Whether the provider is left alone at the moment."""
        circuit = self._circuits.get(provider)
        return circuit is not None and circuit.open_until > self._clock()

    def _end_trial(self, candidate: Candidate) -> None:
        circuit = self._circuits.get(candidate.provider.name)
        if circuit and circuit.is_on_trial:
            circuit.is_on_trial = False
            circuit.open_until = 0.0
            circuit.failures = FAILURES - 1  # one more failure, and it is left alone again


def _model(candidate: Candidate) -> tuple[str, str]:
    return candidate.provider.name, candidate.model
