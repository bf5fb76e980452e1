"""Compresses the long texts of a chat that its user wrote, and nothing else of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenflowd.compress.compressor import Compression, CompressionOptions, Compressor
from tokenflowd.compress.tokens import count_tokens

ChatMessage = Mapping[str, Any]
# What the last turn asks guides what is kept of the turns before; a long one asks too much.
MAX_QUESTION_CHARS = 1000


@dataclass(frozen=True, slots=True)
class ChatCompression:
    """`messages` as they are to be sent, and what became of each text that was compressed."""

    messages: list[ChatMessage]
    compressions: list[Compression]


def last_user_text(messages: Sequence[ChatMessage]) -> str:
    """What the user said last; "" if nothing, or no text."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return "\n".join(texts_of(message))
    return ""


def compressible_tokens(
    messages: Sequence[ChatMessage], *, include_last: bool, min_tokens: int
) -> int:
    """Tokens of the texts that `compress_chat` would compress."""
    return sum(
        tokens
        for message in _eligible(messages, include_last)
        for text in texts_of(message)
        if (tokens := count_tokens(text)) >= min_tokens
    )


def compress_chat(
    messages: Sequence[ChatMessage],
    compressor_for: Callable[[str], Compressor],
    options: CompressionOptions,
    *,
    include_last: bool,
    min_tokens: int,
    stop: threading.Event | None = None,
) -> ChatCompression:
    """User texts of at least `min_tokens`, those of the last user turn only if `include_last`.

    System texts, answers, tool calls and tool results stay as they are. `compressor_for` is asked
    for each text, as they may be in different languages. Raises Busy, Cancelled.
    """
    question = last_user_text(messages)
    if not include_last and len(question) <= MAX_QUESTION_CHARS:
        options = replace(options, question=question)
    eligible = {id(message) for message in _eligible(messages, include_last)}
    compressions: list[Compression] = []

    def shortened(text: str) -> str:
        if count_tokens(text) < min_tokens:
            return text
        compressions.append(compressor_for(text).compress(text, options, stop=stop))
        return compressions[-1].compressed_text

    sent = [
        _with_texts(message, shortened) if id(message) in eligible else message
        for message in messages
    ]
    return ChatCompression(sent, compressions)


def _eligible(messages: Sequence[ChatMessage], include_last: bool) -> list[ChatMessage]:
    of_user = [message for message in messages if message.get("role") == "user"]
    return of_user if include_last else of_user[:-1]


def texts_of(message: ChatMessage) -> Iterator[str]:
    """The texts of a message, whose content may be one or parts."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if _is_text(part))


def _with_texts(message: ChatMessage, shortened: Callable[[str], str]) -> ChatMessage:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": shortened(content)}
    if isinstance(content, list):
        parts = [
            {**part, "text": shortened(part["text"])} if _is_text(part) else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )
