"""Gets an answer from the first candidate that gives one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from tokenflowd.config import GenerateConfig
from tokenflowd.errors import ProviderError
from tokenflowd.generate.breaker import Breaker
from tokenflowd.generate.client import ProviderClient, ProviderStream
from tokenflowd.generate.providers import Candidate
from tokenflowd.generate.wire import Piece, ToolCall, Usage

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.25

A = TypeVar("A")
AnswerKind = Literal["text", "tool_calls", "refusal", "reasoning", "empty"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that was asked in vain."""

    provider: str
    model: str
    error: str
    detail: str


class AllFailed(ProviderError):
    """Nobody answered: the first candidate's error, as that one was wanted, and all attempts."""

    def __init__(self, first: ProviderError, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(
            first.fault, first.detail, status=first.status, retry_after_s=first.retry_after_s
        )
        self.attempts = attempts


@dataclass(slots=True)
class Answer:
    """What is known of an answer, growing while it comes. Times are monotonic, in ms."""

    candidate: Candidate
    attempts: tuple[Attempt, ...]
    asked_at: float
    texts: list[str] = field(default_factory=list)
    tool_calls: dict[int, list[str]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    has_reasoning: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    ttft_ms: float | None = None

    @property
    def text(self) -> str:
        """The words, or if there are none, the refusal, or the tool calls as JSON."""
        text = "".join(self.texts or self.refusals)
        if text or not self.tool_calls:
            return text
        calls = [{"name": name, "arguments": args} for name, args in self.tool_calls.values()]
        return msgspec.json.encode(calls).decode()

    @property
    def kind(self) -> AnswerKind:
        """The most that the client got."""
        if self.texts:
            return "text"
        if self.tool_calls:
            return "tool_calls"
        if self.refusals:
            return "refusal"
        return "reasoning" if self.has_reasoning else "empty"

    @property
    def latency_ms(self) -> float:
        return (time.monotonic() - self.asked_at) * 1000

    def add(self, piece: Piece) -> None:
        if self.ttft_ms is None and (piece.text or piece.tool_calls):
            self.ttft_ms = self.latency_ms
        if piece.text:
            self.texts.append(piece.text)
        if piece.refusal:
            self.refusals.append(piece.refusal)
        self.has_reasoning = self.has_reasoning or bool(piece.reasoning)
        for call in piece.tool_calls:
            self._add_call(call)
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.usage = piece.usage or self.usage

    def _add_call(self, part: ToolCall) -> None:
        call = self.tool_calls.setdefault(part.index, ["", ""])
        call[0] += part.function.name or ""
        call[1] += part.function.arguments or ""


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

    async def stream(
        self, candidates: Sequence[Candidate], bodies: Callable[[Candidate], Mapping[str, Any]]
    ) -> Generation:
        """Raises AllFailed, and ProviderError when all candidates have to be left alone."""

        async def ask(candidate: Candidate) -> ProviderStream:
            return await self.client.stream(candidate, bodies(candidate))

        answer, stream = await self._first_success(candidates, ask)
        return Generation(answer, stream, self.breaker)

    async def complete(
        self, candidates: Sequence[Candidate], bodies: Callable[[Candidate], Mapping[str, Any]]
    ) -> tuple[Answer, bytes]:
        """An answer that comes whole, and its JSON. Raises as `stream` does."""

        async def ask(candidate: Candidate) -> Piece:
            return await self.client.complete(candidate, bodies(candidate))

        answer, piece = await self._first_success(candidates, ask)
        answer.add(piece)
        self.breaker.succeeded(answer.candidate)
        return answer, piece.payload

    async def _first_success(
        self, candidates: Sequence[Candidate], ask: Callable[[Candidate], Awaitable[A]]
    ) -> tuple[Answer, A]:
        attempts: list[Attempt] = []
        errors: list[ProviderError] = []
        remaining = await self._ready(candidates)
        while remaining:
            candidate = remaining.pop(0)
            try:
                asked_at, result = await self._ask(candidate, ask, remaining)
            except ProviderError as error:
                log.info("%s", error.detail)
                errors.append(error)
                attempts.append(
                    Attempt(candidate.provider.name, candidate.model, error.error, error.detail)
                )
                remaining = _left_by(error, candidate, remaining)
            else:
                return Answer(candidate, tuple(attempts), asked_at), result
        raise AllFailed(errors[0], tuple(attempts))

    async def _ready(self, candidates: Sequence[Candidate]) -> list[Candidate]:
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
        if wait > self._settings.max_retry_after_s:
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
        ask: Callable[[Candidate], Awaitable[A]],
        remaining: Sequence[Candidate],
    ) -> tuple[float, A]:
        """When it was asked, and what it gave. It is asked again only if nobody else is left."""
        number = 0
        while True:
            self.breaker.begin(candidate)
            asked_at = time.monotonic()
            try:
                return asked_at, await ask(candidate)
            except ProviderError as error:
                self.breaker.failed(candidate, error)
                wait = _wait_s(error, number)
                if (
                    not error.retryable
                    or number == self._settings.retries
                    or wait > self._settings.max_retry_after_s
                    or _left_by(error, candidate, remaining)
                    or self.breaker.is_open(candidate.provider.name)
                ):
                    raise
            await asyncio.sleep(wait)
            number += 1


def _left_by(
    error: ProviderError, failed: Candidate, remaining: Sequence[Candidate]
) -> list[Candidate]:
    """Those of the remaining candidates that may do better."""
    if error.status in (400, 422):  # the request's own fault: the same everywhere
        return []
    if error.fault in ("authentication", "unreachable"):  # whatever the model
        return [candidate for candidate in remaining if candidate.provider is not failed.provider]
    return list(remaining)


def _wait_s(error: ProviderError, number: int) -> float:
    """As the provider asks, else twice as long each time; with jitter, as others wait, too."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return float(FIRST_BACKOFF_S * 2**number * random.uniform(0.5, 1.5))  # noqa: S311
