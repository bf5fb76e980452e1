"""OpenAI's chat completions as they come over the wire: what TokenFlow needs of them.

Source: platform.openai.com/docs/api-reference/chat; `x_groq` is Groq's, `usage.cost` OpenRouter's,
`reasoning` theirs, `reasoning_content` DeepSeek's, llama.cpp's and vLLM's. Everything else in an
event stays in its bytes, which are passed on as they are. Nothing here can refer back to itself,
so the garbage collector need not look at it.

Providers take liberties with these shapes. What has the documented types is decoded into them at
once; anything else is read field by field (`_read_leniently`), and only what is no chat completion
at all is an error.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tokenflowd.errors import ProviderError
from tokenflowd.generate.refusals import error_in_answer

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
    """A call, or in a stream the next part of one: `index` says of which, if the provider does."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


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
    text: str | None = None  # of the legacy completions
    finish_reason: str | None = None
    error: Any = None


class _XGroq(Struct, frozen=True, gc=False):
    usage: Any = None
    error: Any = None


class _Answer(Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: _XGroq | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Answer)


class ChoicePart(Struct, frozen=True, gc=False):
    """What an event adds to one choice, or a whole choice (`is_whole`)."""

    index: int = 0
    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    is_whole: bool = False

    @property
    def has_content(self) -> bool:
        return bool(self.text or self.refusal or self.reasoning or self.tool_calls)


class Piece(Struct, frozen=True, gc=False):
    """One event of a streamed answer, or a whole answer. `payload` is its JSON as it came."""

    payload: bytes
    choices: tuple[ChoicePart, ...] = ()
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The words of the first choice."""
        return next((choice.text for choice in self.choices if choice.index == 0), "")


def read_piece(payload: bytes) -> Piece:
    """Raises ProviderError: bad_answer, or what an error in the answer says."""
    try:
        answer = _decoder.decode(payload)
    except msgspec.ValidationError:
        answer = _read_leniently(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _no_completion() from None
    choices = answer.choices or ()
    problem = answer.error or (answer.x_groq and answer.x_groq.error)
    for choice in choices:
        problem = problem or choice.error
        if choice.finish_reason == "error":  # OpenRouter's
            problem = problem or "the answer ended with an error"
    if problem:
        raise error_in_answer(problem)
    if answer.choices is None and answer.usage is None:
        _raise_bare_error(payload)
    reported = answer.usage or (answer.x_groq and answer.x_groq.usage)
    return Piece(payload, tuple(map(_part, choices)), _usage(reported) if reported else None)


def as_event(payload: bytes) -> bytes:
    """A whole chat completion as the one event of a stream, for clients that asked for one of a
    provider that cannot stream. Raises ProviderError."""
    read_piece(payload)
    answer = msgspec.json.decode(payload)
    answer["object"] = "chat.completion.chunk"
    for choice in answer.get("choices") or ():
        if "message" in choice:
            choice["delta"] = message = choice.pop("message")
            for index, call in enumerate((message or {}).get("tool_calls") or ()):
                call.setdefault("index", index)
    return msgspec.json.encode(answer)


def _part(choice: _Choice) -> ChoicePart:
    message = choice.delta or choice.message
    reason = choice.finish_reason or None  # "" is none
    if message is None:
        return ChoicePart(choice.index, choice.text or "", finish_reason=reason)
    return ChoicePart(
        choice.index,
        message.content or "",
        message.refusal or "",
        message.reasoning or message.reasoning_content or "",
        tuple(message.tool_calls or ()),
        reason,
        choice.message is not None,
    )


def _read_leniently(payload: bytes) -> _Answer:
    """An answer some of whose fields have other types than they should. Raises ProviderError."""
    fields = _decoded(payload)
    listed = fields.get("choices")
    if listed is not None and not isinstance(listed, list):
        raise _no_completion()
    x_groq = fields.get("x_groq")
    x_groq = x_groq if isinstance(x_groq, dict) else {}
    return _Answer(
        None
        if listed is None
        else [
            _lenient_choice(choice, position)
            for position, choice in enumerate(listed)
            if isinstance(choice, dict)
        ],
        fields.get("usage"),
        _XGroq(x_groq.get("usage"), x_groq.get("error")),
        fields.get("error"),
    )


def _lenient_choice(choice: dict[str, Any], position: int) -> _Choice:
    index = _index(choice.get("index"))
    return _Choice(
        position if index is None else index,
        _lenient_message(choice.get("delta")),
        _lenient_message(choice.get("message")),
        _text(choice.get("text")),
        _string(choice.get("finish_reason")),
        choice.get("error"),
    )


def _lenient_message(message: Any) -> _Message | None:
    if not isinstance(message, dict):
        return None
    calls = message.get("tool_calls")
    return _Message(
        _text(message.get("content")),
        _text(message.get("refusal")),
        _text(message.get("reasoning")),
        _text(message.get("reasoning_content")),
        [_lenient_call(call) for call in calls if isinstance(call, dict)]
        if isinstance(calls, list)
        else None,
    )


def _lenient_call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if arguments is not None and not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    name = _string(function.get("name")) if isinstance(function, dict) else None
    return ToolCall(_index(call.get("index")), _string(call.get("id")), Function(name, arguments))


def _text(content: Any) -> str:
    """Of a string, or of parts that hold some: `[{"type": "text", "text": "Hello"}]`."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict):
        return _text(content.get("text") or content.get("content"))
    return "" if content is None else str(content)


def _index(value: Any) -> int | None:
    """A count from 0, as a number or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _no_completion() from None
    if not isinstance(fields, dict):
        raise _no_completion()
    return fields


def _raise_bare_error(payload: bytes) -> None:
    """Raises ProviderError for an error object without the envelope `error`."""
    fields = _decoded(payload)
    if fields.get("message") or fields.get("detail"):
        raise error_in_answer(fields)


def _no_completion() -> ProviderError:
    return ProviderError("bad_answer", "sent something that is no chat completion")


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
