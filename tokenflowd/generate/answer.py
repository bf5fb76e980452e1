"""An answer as it grows: every choice of it, and what is known of how it came."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from tokenflowd.generate.providers import Candidate
from tokenflowd.generate.wire import ChoicePart, Piece, ToolCall, Usage

# Between the choices of an answer that has several, as Markdown rules them off.
CHOICE_SEPARATOR = "\n\n---\n\n"
# The finish reason of an answer that is complete although its provider gave none.
MISSING_REASON = "missing"

AnswerKind = Literal["text", "tool_calls", "refusal", "reasoning", "empty"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that was asked in vain."""

    provider: str
    model: str
    error: str
    detail: str


@dataclass(slots=True)
class _Call:
    id: str | None = None
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Choice:
    """One of the answers to a request (`n` of them, usually one)."""

    words: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    reasonings: list[str] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, part: ChoicePart) -> None:
        if part.text:
            self.words.append(part.text)
        if part.refusal:
            self.refusals.append(part.refusal)
        if part.reasoning:
            self.reasonings.append(part.reasoning)
        for position, call in enumerate(part.tool_calls):
            self._add_call(call, position if part.is_whole else None)
        self.finish_reason = part.finish_reason or self.finish_reason

    @property
    def kind(self) -> AnswerKind:
        """The most that the client got of it."""
        if self.words:
            return "text"
        if self.calls:
            return "tool_calls"
        if self.refusals:
            return "refusal"
        return "reasoning" if self.reasonings else "empty"

    @property
    def text(self) -> str:
        """The words and the tool calls as JSON; if there are neither, the refusal, or the
        reasoning as JSON."""
        said = ["".join(self.words or self.refusals)]
        if self.calls:
            said.append(_json([_readable(call) for call in self.calls.values()]))
        elif not any(said) and self.reasonings:
            said.append(_json({"reasoning": "".join(self.reasonings)}))
        return "\n\n".join(filter(None, said))

    def _add_call(self, part: ToolCall, position: int | None) -> None:
        """`position` in a whole answer, whose calls are apart whatever their indexes say."""
        number = self._number_of(part) if position is None else position
        call = self.calls.setdefault(number, _Call())
        call.id = call.id or part.id
        if part.function:
            # llama-cpp-python repeats the whole name with every part of the arguments.
            if part.function.name != call.name:
                call.name += part.function.name or ""
            call.arguments.append(part.function.arguments or "")

    def _number_of(self, part: ToolCall) -> int:
        """The call that a part of a stream belongs to. Some providers give all calls the same
        index, or none: then another id, or another name, begins another call."""
        number = max(self.calls, default=0) if part.index is None else part.index
        known = self.calls.get(number)
        if known is None:
            return number
        if part.id and known.id and part.id != known.id:
            same = (number for number, call in self.calls.items() if call.id == part.id)
            return next(same, max(self.calls) + 1)
        names_another = part.index is None and not part.id and part.function and part.function.name
        return max(self.calls) + 1 if names_another and known.name else number


@dataclass(slots=True)
class Answer:
    """What is known of an answer, growing while it comes. Times are from a monotonic clock.

    `left_out` are fields of the request that the provider does not take; `headers` its rate
    limits, by lower-case names. `ttft_ms` is when the first event of the answer came,
    `first_word_ms` when the first text did.
    """

    candidate: Candidate
    attempts: tuple[Attempt, ...]
    asked_at: float
    left_out: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    choices: dict[int, Choice] = field(default_factory=dict)
    usage: Usage | None = None
    ttft_ms: float | None = None
    first_word_ms: float | None = None
    is_complete: bool = False

    @property
    def text(self) -> str:
        """Of all choices, in their order."""
        return CHOICE_SEPARATOR.join(choice.text for _, choice in sorted(self.choices.items()))

    @property
    def kind(self) -> AnswerKind:
        """The most that the client got of any choice."""
        kinds = {choice.kind for choice in self.choices.values()}
        ranked: tuple[AnswerKind, ...] = ("text", "tool_calls", "refusal", "reasoning")
        return next((kind for kind in ranked if kind in kinds), "empty")

    @property
    def finish_reason(self) -> str | None:
        """The first choice's, in the provider's words; None while the answer is not complete."""
        reasons = (choice.finish_reason for _, choice in sorted(self.choices.items()))
        given = next(filter(None, reasons), None)
        return given or (MISSING_REASON if self.is_complete else None)

    @property
    def latency_ms(self) -> float:
        return (time.monotonic() - self.asked_at) * 1000

    def add(self, piece: Piece) -> None:
        if self.ttft_ms is None:
            self.ttft_ms = self.latency_ms
        for part in piece.choices:
            self.choices.setdefault(part.index, Choice()).add(part)
            if part.text and self.first_word_ms is None:
                self.first_word_ms = self.latency_ms
        self.usage = piece.usage or self.usage


def _readable(call: _Call) -> dict[str, str]:
    return {"name": call.name, "arguments": "".join(call.arguments)}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
