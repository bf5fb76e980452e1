from __future__ import annotations

from typing import Any

from tests.conftest import text
from tokenflowd.compress import CompressionOptions, Compressor, count_tokens
from tokenflowd.compress.chat import compress_chat, compressible_texts, last_user_text

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
    options = CompressionOptions(ratio=0.5)
    done = compress_chat(messages, lambda text: compressor, options, **more)
    return [dict(message) for message in done.messages]


def test_only_what_the_user_said_is_compressed(compressor: Compressor) -> None:
    sent = compressed(compressor, CHAT)
    changed = [new != old for new, old in zip(sent, CHAT, strict=True)]
    assert changed == [False, True, False, False, True]
    assert len(sent[1]["content"]) < 0.7 * len(MEETING)
    assert sent[-1]["content"].startswith("What was decided about the index?\n")


def test_a_turn_is_the_same_whatever_comes_after_it(compressor: Compressor) -> None:
    alone = compressed(compressor, CHAT[:2])
    assert compressed(compressor, CHAT)[:2] == alone
    other = [*CHAT[:2], {"role": "user", "content": "Was anybody late?"}]
    assert compressed(compressor, other)[:2] == alone


def material_tokens(messages: list[dict[str, Any]], **options: Any) -> int:
    return sum(tokens for _, tokens in compressible_texts(messages, **options))


def test_the_ratio_is_that_of_the_material(compressor: Compressor) -> None:
    """The figures count the whole text; what is asked is in the budget with all its tokens."""
    ask = "\n\nSummarise this in one line."
    messages = [{"role": "user", "content": MEETING.strip() + ask}]
    options = CompressionOptions(ratio=0.25)
    [done] = compress_chat(messages, lambda text: compressor, options).compressions
    assert done.compressed_text.endswith(ask)
    assert done.original_tokens == count_tokens(done.original_text)
    assert done.compressed_tokens == count_tokens(done.compressed_text)
    n_material = material_tokens(messages)
    assert done.budget == done.original_tokens - n_material + n_material // 4
    assert done.budget - 8 <= done.compressed_tokens <= done.budget + 2
    assert not done.over_budget


def test_an_attachment_is_all_that_shrinks_of_the_last_message(compressor: Compressor) -> None:
    prompt = f"Not in the attachment: {MEETING}"
    said = {"role": "user", "content": f" \n{MEETING}\n\n{prompt}"}
    sent = compressed(compressor, [said], attachment=f" \n{MEETING}")[0]["content"]
    assert sent.endswith(f"\n\n{prompt}")
    assert len(sent) < len(prompt) + 0.6 * len(MEETING)
    before = [said, {"role": "user", "content": "Hm"}]
    assert compressed(compressor, before, attachment=f" \n{MEETING}")[1] == before[1]


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
    asked = {"role": "user", "content": "Summarise this: " + 20 * "word " + "\n\nThanks!"}
    assert material_tokens([asked]) == 0
    tokens = material_tokens([*CHAT, asked])
    done = compress_chat(CHAT, lambda text: compressor, CompressionOptions(ratio=0.5))
    n_all = sum(c.original_tokens for c in done.compressions)
    assert 0.9 * n_all < tokens < n_all
    assert material_tokens(CHAT, min_tokens=n_all) == 0


def test_the_last_words_of_the_user_are_found_behind_answers() -> None:
    said = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "second"}]
    assert last_user_text(said) == "first"
    assert last_user_text([{"role": "system", "content": "x"}]) == ""
