"""Gets an answer from the first candidate that gives one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from tokenflowd.config import GenerateConfig
from tokenflowd.errors import ProviderError
from tokenflowd.generate.adaptation import Adaptations
from tokenflowd.generate.answer import Answer, Attempt
from tokenflowd.generate.breaker import Breaker, is_outage
from tokenflowd.generate.client import Endpoint, ProviderClient, ProviderStream, WholeAnswer
from tokenflowd.generate.providers import Candidate
from tokenflowd.generate.wire import Piece

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.25

A = TypeVar("A")
Bodies = Callable[[Candidate], Mapping[str, Any]]


class AllFailed(ProviderError):
    """Nobody answered: the error of the first candidate, which is the one that was asked for, and
    all attempts. `retry_after_s` is when the first of them may be asked again."""

    def __init__(self, errors: Sequence[ProviderError], attempts: tuple[Attempt, ...]) -> None:
        first = errors[0]
        super().__init__(
            first.fault,
            first.detail,
            provider_status=first.provider_status,
            retry_after_s=_soonest_s(errors),
            provider_details=first.provider_details,
            provider_headers=first.provider_headers,
        )
        self.attempts = attempts


class Generation:
    """A streamed answer under way. Iterate over it, then close it, whatever happens."""

    def __init__(self, answer: Answer, stream: ProviderStream, breaker: Breaker) -> None:
        self.answer = answer
        self._stream = stream
        self._breaker = breaker

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """The events that came together, until the answer is complete. Raises ProviderError."""
        try:
            while pieces := await self._stream.read():
                for piece in pieces:
                    self.answer.add(piece)
                yield pieces
        except ProviderError as error:
            self._breaker.failed(self.answer.candidate, error)
            raise
        self.answer.is_complete = True
        self._breaker.succeeded(self.answer.candidate)

    def close(self) -> None:
        self._stream.close()


class Generator:
    """Tries candidates in their order until one begins to answer.

    Before the first byte of an answer, a failure leads to the next candidate; when there is
    none left, to a repetition if that can help. After it, nothing is tried again.
    """

    def __init__(
        self, client: ProviderClient, settings: GenerateConfig, breaker: Breaker | None = None
    ) -> None:
        self.client = client
        self.breaker = breaker or Breaker()
        self._settings = settings
        self._adaptations = Adaptations()

    async def stream(
        self,
        candidates: Sequence[Candidate],
        bodies: Bodies,
        *,
        endpoint: Endpoint = "chat/completions",
        repeats: bool = True,
    ) -> Generation:
        """With `repeats` False the client repeats what failed, so nothing is asked again here.

        Raises AllFailed, and ProviderError when all candidates have to be left alone.
        """

        async def ask(candidate: Candidate, body: Mapping[str, Any]) -> ProviderStream:
            return await self.client.stream(candidate, body, endpoint)

        answer, stream = await self._first_success(candidates, bodies, ask, repeats=repeats)
        answer.headers = stream.headers
        self.breaker.answered(answer.candidate)
        return Generation(answer, stream, self.breaker)

    async def complete(
        self,
        candidates: Sequence[Candidate],
        bodies: Bodies,
        *,
        endpoint: Endpoint = "chat/completions",
        repeats: bool = True,
    ) -> tuple[Answer, bytes]:
        """An answer that comes whole, and its JSON. Raises as `stream` does."""

        async def ask(candidate: Candidate, body: Mapping[str, Any]) -> WholeAnswer:
            return await self.client.complete(candidate, body, endpoint)

        answer, whole = await self._first_success(candidates, bodies, ask, repeats=repeats)
        answer.headers = whole.headers
        answer.add(whole.piece)
        answer.is_complete = True
        self.breaker.succeeded(answer.candidate)
        return answer, whole.piece.payload

    async def _first_success(
        self,
        candidates: Sequence[Candidate],
        bodies: Bodies,
        ask: Callable[[Candidate, Mapping[str, Any]], Awaitable[A]],
        *,
        repeats: bool,
    ) -> tuple[Answer, A]:
        attempts: list[Attempt] = []
        errors: list[ProviderError] = []
        blamed: set[str] = set()  # providers that this request has counted as failing
        remaining = await self._ready(candidates, may_wait=repeats)
        while remaining:
            candidate = remaining.pop(0)
            body = bodies(candidate)
            try:
                asked_at, result = await self._ask(candidate, body, ask, remaining, repeats=repeats)
            except ProviderError as error:
                log.info("%s", error.detail)
                self._note_failure(candidate, error, blamed)
                errors.append(error)
                attempts.append(
                    Attempt(candidate.provider.name, candidate.model, error.error, error.detail)
                )
                remaining = _left_by(error, candidate, remaining)
            except BaseException:
                self.breaker.abandoned(candidate)
                raise
            else:
                left_out = self._adaptations.of(candidate).left_out & body.keys()
                return Answer(candidate, tuple(attempts), asked_at, tuple(sorted(left_out))), result
        raise AllFailed(errors, tuple(attempts))

    def _note_failure(self, candidate: Candidate, error: ProviderError, blamed: set[str]) -> None:
        """One request counts once for a provider, however many of its models it asked."""
        name = candidate.provider.name
        if is_outage(error):
            if name in blamed:
                return
            blamed.add(name)
        self.breaker.failed(candidate, error)

    async def _ready(self, candidates: Sequence[Candidate], *, may_wait: bool) -> list[Candidate]:
        """Those that may be asked now, or the one that may be soon. Raises ProviderError when
        all have to be left alone for longer."""
        waits = [self.breaker.waits_s(candidate) for candidate in candidates]
        pairs = zip(candidates, waits, strict=True)
        if ready := [candidate for candidate, wait in pairs if not wait]:
            return ready
        wait = min(waits)
        soonest = candidates[waits.index(wait)]
        name = soonest.provider.name
        if self.breaker.is_open(name):
            raise ProviderError(
                "unavailable",
                f"{name} failed several times in a row; it is asked again in {wait:.0f} s",
                retry_after_s=wait,
            )
        if not may_wait or wait > self._settings.max_retry_after_s:
            raise ProviderError(
                "rate_limited",
                f"{name} allows no more requests for {soonest.model} for {wait:.0f} s",
                retry_after_s=wait,
            )
        await asyncio.sleep(wait)
        return [soonest]

    async def _ask(
        self,
        candidate: Candidate,
        body: Mapping[str, Any],
        ask: Callable[[Candidate, Mapping[str, Any]], Awaitable[A]],
        remaining: Sequence[Candidate],
        *,
        repeats: bool,
    ) -> tuple[float, A]:
        """When it was asked, and what it gave. It is asked again only if nobody else is left."""
        retries = self._settings.retries if repeats else 0
        number = 0
        while True:
            self.breaker.begin(candidate)
            asked_at = time.monotonic()
            try:
                return asked_at, await self._ask_adapted(candidate, body, ask)
            except ProviderError as error:
                wait = _wait_s(error, number)
                if (
                    not error.retryable
                    or number == retries
                    or wait > self._settings.max_retry_after_s
                    or _left_by(error, candidate, remaining)
                    or self.breaker.is_open(candidate.provider.name)
                ):
                    raise
            await asyncio.sleep(wait)
            number += 1

    async def _ask_adapted(
        self,
        candidate: Candidate,
        body: Mapping[str, Any],
        ask: Callable[[Candidate, Mapping[str, Any]], Awaitable[A]],
    ) -> A:
        """Asks once more without each field that the provider says it does not take."""
        while True:
            sent = self._adaptations.of(candidate).apply(body)
            try:
                return await ask(candidate, sent)
            except ProviderError as error:
                if not self._adaptations.learn(candidate, sent, error):
                    raise
                log.info("%s; it is asked again without that field", error.detail)


def _left_by(
    error: ProviderError, failed: Candidate, remaining: Sequence[Candidate]
) -> list[Candidate]:
    """Those of the remaining candidates that may do better."""
    if error.fault == "context_length":
        return [candidate for candidate in remaining if _reads_more(candidate, failed)]
    if error.fault == "tool_use_failed":
        return [candidate for candidate in remaining if candidate.model != failed.model]
    if error.status in (400, 422):  # the request's own fault: the same everywhere
        return []
    if error.fault in ("authentication", "unreachable"):  # whatever the model
        return [candidate for candidate in remaining if candidate.provider is not failed.provider]
    return list(remaining)


def _reads_more(candidate: Candidate, than: Candidate) -> bool:
    """Whether its context is known to be the longer one: servers of one's own often cut off what
    is too long for them without a word."""
    here = candidate.provider.facts(candidate.model).context_tokens
    there = than.provider.facts(than.model).context_tokens
    return here is not None and (there is None or here > there)


def _soonest_s(errors: Sequence[ProviderError]) -> float | None:
    """When the first of those that failed may be asked again; None if one may be at any time."""
    waits = [error.retry_after_s for error in errors if error.retryable]
    known = [wait for wait in waits if wait is not None]
    return min(known) if known and len(known) == len(waits) else None


def _wait_s(error: ProviderError, number: int) -> float:
    """As the provider asks, else twice as long each time; with jitter, as others wait, too."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return float(FIRST_BACKOFF_S * 2**number * random.uniform(0.5, 1.5))  # noqa: S311
