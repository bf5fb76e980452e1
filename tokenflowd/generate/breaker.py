"""Keeps requests away from what does not answer, for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tokenflowd.errors import ProviderError, ProviderFault
from tokenflowd.generate.providers import Candidate

# After this many failures in a row a provider is left alone for a time; then one request tries.
FAILURES = 3
OPEN_S = 30.0
# A rate limit that says no time, and the longest time that is believed.
RATE_LIMIT_S = 5.0
MAX_RATE_LIMIT_S = 600.0

# Faults that say something about the provider, not about the request.
_COUNTED: frozenset[ProviderFault] = frozenset(
    {"unreachable", "timeout", "server_error", "bad_answer"}
)


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0


class Breaker:
    """One circuit for each provider, and the rate limits of single models."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}
        self._limited_until: dict[tuple[str, str], float] = {}

    def waits_s(self, candidate: Candidate) -> float:
        """Seconds until it may be asked; 0 now. The request that finds a circuit's time over is
        the one that tries: others wait for its outcome."""
        return max(0.0, self._until(candidate) - self._clock())

    def begin(self, candidate: Candidate) -> None:
        circuit = self._circuits.get(candidate.provider.name)
        if circuit and circuit.failures >= FAILURES:
            circuit.open_until = self._clock() + OPEN_S

    def succeeded(self, candidate: Candidate) -> None:
        self._circuits.pop(candidate.provider.name, None)
        self._limited_until.pop((candidate.provider.name, candidate.model), None)

    def failed(self, candidate: Candidate, error: ProviderError) -> None:
        name = candidate.provider.name
        if error.fault in _COUNTED:
            circuit = self._circuits.setdefault(name, _Circuit())
            circuit.failures += 1
            if circuit.failures >= FAILURES:
                circuit.open_until = self._clock() + OPEN_S
            return
        self._circuits.pop(name, None)  # it does answer
        if error.fault == "rate_limited":
            seconds = RATE_LIMIT_S if error.retry_after_s is None else error.retry_after_s
            until = self._clock() + min(seconds, MAX_RATE_LIMIT_S)
            self._limited_until[name, candidate.model] = until

    def is_open(self, provider: str) -> bool:
        """Whether the provider is left alone at the moment."""
        circuit = self._circuits.get(provider)
        return circuit is not None and circuit.open_until > self._clock()

    def _until(self, candidate: Candidate) -> float:
        circuit = self._circuits.get(candidate.provider.name, _Circuit())
        limit = self._limited_until.get((candidate.provider.name, candidate.model), 0.0)
        return max(circuit.open_until, limit)
