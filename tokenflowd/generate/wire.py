"""OpenAI's chat completions as they come over the wire: what TokenFlow needs of them.

Source: platform.openai.com/docs/api-reference/chat; `x_groq` is Groq's, `usage.cost` OpenRouter's.
Everything else in an event stays in its bytes, which are passed on as they are. Nothing here can
refer back to itself, so the garbage collector need not look at it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tokenflowd.errors import ProviderError

DONE = b"[DONE]"


Count = Annotated[int, Meta(ge=0, le=2**53)]


class Usage(Struct, frozen=True):
    """Tokens as the provider counted them; `cost` in USD where it reports one.

    `cached_tokens` are those of the prompt that it had read before, `reasoning_tokens` those of
    the completion that are not part of the answer.
    """

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class Function(Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, frozen=True, gc=False):
    """A call, or in a stream the next part of one: `index` says of which."""

    index: int = 0
    function: Function = Function()


class _Message(Struct, frozen=True, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class _Choice(Struct, frozen=True, gc=False):
    index: int = 0
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class _XGroq(Struct, frozen=True, gc=False):
    usage: Any = None
    error: Any = None


class _Answer(Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: _XGroq | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Answer)


class Piece(Struct, frozen=True, gc=False):
    """One event of a streamed answer, or a whole answer. `payload` is its JSON as it came.

    `text` and `tool_calls` are those of the first choice.
    """

    payload: bytes
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    has_choices: bool = True
    refusal: str = ""
    reasoning: str = ""


def read_piece(payload: bytes) -> Piece:
    """Raises ProviderError: bad_answer, or what an error in the answer says."""
    try:
        answer = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ProviderError("bad_answer", "sent something that is no chat completion") from None
    problem = answer.error or (answer.x_groq and answer.x_groq.error)
    if problem:
        raise ProviderError("server_error", f"broke off: {error_message(problem)}")
    usage = _usage(answer.usage or (answer.x_groq and answer.x_groq.usage))
    for choice in answer.choices or ():
        if choice.index == 0:
            message = choice.delta or choice.message or _Message()
            return Piece(
                payload,
                message.content or "",
                tuple(message.tool_calls or ()),
                choice.finish_reason,
                usage,
                refusal=message.refusal or "",
                reasoning=message.reasoning or message.reasoning_content or "",
            )
    return Piece(payload, usage=usage, has_choices=bool(answer.choices))


class _CachedTokens(Struct, frozen=True):
    cached_tokens: Count | None = None


class _ReasoningTokens(Struct, frozen=True):
    reasoning_tokens: Count | None = None


class _ReportedUsage(Struct, frozen=True):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    prompt_tokens_details: _CachedTokens | None = None
    completion_tokens_details: _ReasoningTokens | None = None


def _usage(reported: Any) -> Usage | None:
    """None for what is no count: an answer is worth more than its price."""
    if not reported:
        return None
    try:
        counts = msgspec.convert(reported, _ReportedUsage)
    except msgspec.ValidationError:
        return None
    cached, reasoning = counts.prompt_tokens_details, counts.completion_tokens_details
    return Usage(
        counts.prompt_tokens,
        counts.completion_tokens,
        counts.cost,
        cached.cached_tokens if cached else None,
        reasoning.reasoning_tokens if reasoning else None,
    )


def error_message(problem: Any) -> str:
    """What a provider's error object says, whichever of the usual shapes it has."""
    if isinstance(problem, dict):
        for name in ("message", "error", "detail"):
            if problem.get(name):
                return error_message(problem[name])
    return problem if isinstance(problem, str) else msgspec.json.encode(problem).decode()
