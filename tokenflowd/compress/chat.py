"""Compresses the material in what the user of a chat wrote, and nothing else of the chat.

What the user asks is sent as it was written. What becomes of a message depends on that message,
the ratio and the model only, so that a provider that caches prompts gets the same bytes again in
every later turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenflowd.compress.ask import Part, attach, divide
from tokenflowd.compress.compressor import Compression, CompressionOptions, Compressor
from tokenflowd.compress.tokens import count_tokens

ChatMessage = Mapping[str, Any]
CompressorFor = Callable[[str], Compressor]
# Material of fewer tokens would lose more by compression than its few tokens are worth.
MIN_TOKENS = 40
# What is asked guides what is kept of the material; a long ask asks too much.
MAX_QUESTION_CHARS = 1000


@dataclass(frozen=True, slots=True)
class ChatCompression:
    """`messages` as they are to be sent, and what became of each text that has enough material;
    one that would gain nothing is as it was."""

    messages: list[ChatMessage]
    compressions: list[Compression]


def last_user_text(messages: Sequence[ChatMessage]) -> str:
    """What the user said last; "" if nothing, or no text."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return "\n".join(texts_of(message))
    return ""


def compressible_texts(
    messages: Sequence[ChatMessage], *, min_tokens: int = MIN_TOKENS, attachment: str = ""
) -> list[tuple[str, int]]:
    """The texts that `compress_chat` would compress, with the tokens of their material."""
    found: list[tuple[str, int]] = []
    for index, message in enumerate(messages):
        if message.get("role") == "user":
            attached = attachment if index == len(messages) - 1 else ""
            for text in texts_of(message):
                in_text = _material_tokens(_parts(text, attached))
                if in_text >= min_tokens:
                    found.append((text, in_text))
    return found


def compress_chat(
    messages: Sequence[ChatMessage],
    compressor_for: CompressorFor,
    options: CompressionOptions,
    *,
    min_tokens: int = MIN_TOKENS,
    attachment: str = "",
    left_alone: Collection[str] = (),
    stop: threading.Event | None = None,
) -> ChatCompression:
    """Compresses the user's texts that have at least `min_tokens` of material, but for those that
    are `left_alone`.

    `options.ratio` is the share of the material's tokens to keep. What is asked is kept whole.
    System texts, answers, tool calls and tool results stay as they are. If the last message begins
    with an `attachment`, that is its material; in other texts the two are told apart by their
    words and places (`divide`). `compressor_for` is asked for each piece of material, as they may
    be in different languages. Raises Busy, Cancelled.
    """
    compressions: list[Compression] = []

    def shortened(text: str, attached: str) -> str:
        if text in left_alone:
            return text
        parts = _parts(text, attached)
        if _material_tokens(parts) < min_tokens:
            return text
        compression = _compress(text, parts, compressor_for, options, stop)
        if compression.compressed_tokens >= compression.original_tokens:
            compression = replace(
                compression, compressed_text=text, compressed_tokens=compression.original_tokens
            )
        compressions.append(compression)
        return compression.compressed_text

    last = len(messages) - 1
    sent = [
        _with_texts(message, shortened, attachment if index == last else "")
        if message.get("role") == "user"
        else message
        for index, message in enumerate(messages)
    ]
    return ChatCompression(sent, compressions)


def _parts(text: str, attachment: str) -> tuple[Part, ...]:
    if attachment and text.startswith(attachment):
        return attach(attachment, text[len(attachment) :])
    return divide(text)


def _material_tokens(parts: Sequence[Part]) -> int:
    return sum(count_tokens(part.text) for part in parts if part.kind == "material")


def _compress(
    text: str,
    parts: Sequence[Part],
    compressor_for: CompressorFor,
    options: CompressionOptions,
    stop: threading.Event | None,
) -> Compression:
    """What becomes of a text whose material is compressed. Its figures count the whole text; it
    is over the budget if a piece of its material is."""
    asked = "".join(part.text for part in parts if part.kind != "material").strip()
    question = asked if len(asked) <= MAX_QUESTION_CHARS else ""
    options = replace(options, question=question, ranks_asks_first=False)
    pieces = [
        compressor_for(part.text).compress(part.text, options, stop=stop)
        for part in parts
        if part.kind == "material"
    ]
    compressed = iter(pieces)
    sent = "".join(
        next(compressed).compressed_text if part.kind == "material" else part.text for part in parts
    )
    original_tokens = count_tokens(text)
    material = sum(piece.original_tokens for piece in pieces)
    return Compression(
        original_text=text,
        compressed_text=sent,
        original_tokens=original_tokens,
        compressed_tokens=count_tokens(sent),
        budget=original_tokens - material + sum(piece.budget for piece in pieces),
        over_budget=any(piece.over_budget for piece in pieces),
        mode=pieces[0].mode,
        model_tokens=sum(piece.model_tokens for piece in pieces),
    )


def texts_of(message: ChatMessage) -> Iterator[str]:
    """The texts of a message, whose content may be one or parts."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if _is_text(part))


def _with_texts(
    message: ChatMessage, shortened: Callable[[str, str], str], attachment: str
) -> ChatMessage:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": shortened(content, attachment)}
    if isinstance(content, list):
        parts = [
            {**part, "text": shortened(part["text"], attachment)} if _is_text(part) else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )
