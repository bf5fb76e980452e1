"""Texts on their way into events: cut where a reader needs it, and never changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflowd.api.schemas import TextEvent
from tokenflowd.api.streams import MAX_TEXT_BYTES, encode_event, split_text


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50),
    st.integers(0, 3 * MAX_TEXT_BYTES),
    st.sampled_from(["a", "é", "汉", "🙂", "\r\n", "👩\u200d👧"]),
)
def test_parts_are_the_text_within_the_limit(text: str, count: int, unit: str) -> None:
    text += unit * (count // len(unit.encode()))
    parts = list(split_text(text))
    assert "".join(parts) == text
    assert all(0 < len(part.encode()) <= MAX_TEXT_BYTES for part in parts)
    assert len(parts) <= len(text.encode()) // (MAX_TEXT_BYTES - 3) + 1


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("\ud83d", "\ufffd"),
        ("a\ude42b", "a\ufffdb"),
        ("\ud83d\ude42", "🙂"),
        ("\ude42\ud83d汉", "\ufffd\ufffd汉"),
    ],
)
def test_half_a_character_does_no_harm(text: str, sent: str) -> None:
    assert list(split_text(text)) == [sent]


@pytest.mark.parametrize("text", ["Hello", "a\nb\r\nc\r", "\u2028\x85\x00", "data: {}\n\n", "汉🙂"])
def test_an_event_is_two_lines(text: str) -> None:
    named, data, *rest = encode_event(TextEvent(text)).split(b"\n")
    assert named == b"event: text_chunk"
    assert json.loads(data.removeprefix(b"data: ")) == {"event": "text_chunk", "data": text}
    assert rest == [b"", b""]
