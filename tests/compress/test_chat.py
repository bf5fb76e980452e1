from __future__ import annotations

from typing import Any

from tests.conftest import text
from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.compress.chat import compress_chat, compressible_tokens, last_user_text

MEETING = text("meeting.txt")
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": MEETING}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": MEETING},
    {"role": "user", "content": MEETING},
    {"role": "assistant", "content": MEETING, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": MEETING},
    {"role": "user", "content": "What was decided about the index?\n" + MEETING},
]


def compressed(
    compressor: Compressor, messages: list[dict[str, Any]], **more: Any
) -> list[dict[str, Any]]:
    which: dict[str, Any] = {"include_last": False, "min_tokens": 100, **more}
    options = CompressionOptions(ratio=0.5)
    return [
        dict(m) for m in compress_chat(messages, lambda text: compressor, options, **which).messages
    ]


def test_only_what_the_user_said_before_is_compressed(compressor: Compressor) -> None:
    sent = compressed(compressor, CHAT)
    changed = [new != old for new, old in zip(sent, CHAT, strict=True)]
    assert changed == [False, True, False, False, False]
    assert len(sent[1]["content"]) < 0.7 * len(MEETING)


def test_the_last_turn_is_compressed_when_asked_for(compressor: Compressor) -> None:
    sent = compressed(compressor, CHAT, include_last=True)
    assert sent[-1]["content"] != CHAT[-1]["content"]
    assert sent[0] == CHAT[0]


def test_short_texts_stay(compressor: Compressor) -> None:
    messages = [{"role": "user", "content": "Hello there"}, {"role": "user", "content": "?"}]
    assert compressed(compressor, messages) == messages


def test_of_a_message_in_parts_only_long_texts_change(compressor: Compressor) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": MEETING}, image, {"type": "text", "text": "Look!"}]
    messages = [{"role": "user", "content": parts, "name": "ann"}, {"role": "user", "content": ""}]
    first = compressed(compressor, messages)[0]
    assert first["name"] == "ann"
    assert len(first["content"][0]["text"]) < len(MEETING)
    assert first["content"][1:] == [image, parts[2]]


def test_content_of_no_known_shape_stays(compressor: Compressor) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": [1, None, {"type": "text"}, {"type": "text", "text": 5}]},
        {"role": "user", "content": "end"},
    ]
    assert compressed(compressor, messages) == messages


def test_tokens_are_counted_of_what_would_be_compressed(compressor: Compressor) -> None:
    which: dict[str, Any] = {"include_last": False, "min_tokens": 100}
    tokens = compressible_tokens(CHAT, **which)
    done = compress_chat(CHAT, lambda text: compressor, CompressionOptions(ratio=0.5), **which)
    assert tokens == sum(c.original_tokens for c in done.compressions) > 100


def test_the_last_words_of_the_user_are_found_behind_answers() -> None:
    said = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "second"}]
    assert last_user_text(said) == "first"
    assert last_user_text([{"role": "system", "content": "x"}]) == ""
