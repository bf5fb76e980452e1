from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TEXTS
from tokenflowd.compress.words import MAX_WORD_CHARS, split_words

ANY_TEXT = st.text(max_size=300) | st.text(
    alphabet="aé ß\t\n\r 的ひカ한ไ😀👩‍🚀{}[]\":,.`#-|*1_'\u200b\u0301\u3099", max_size=300
)


def joined(text: str, kept: list[int]) -> str:
    return split_words(text).join(np.array(kept, np.int64))


@given(ANY_TEXT)
def test_words_and_gaps_are_the_text(text: str) -> None:
    words = split_words(text)
    pieces = [words.gap_before(index) + words[index] for index in range(len(words))]
    tail = text[words.ends[-1] :] if len(words) else text
    assert "".join(pieces) + tail == text
    assert not tail.strip() or not len(words)


@given(ANY_TEXT)
def test_all_words_joined_are_the_text(text: str) -> None:
    words = split_words(text)
    if len(words):
        assert words.join(np.arange(len(words))) == text


@given(ANY_TEXT, st.lists(st.integers(0, 300)))
def test_cuts_never_lose_or_add_a_character(text: str, cuts: list[int]) -> None:
    words = split_words(text, cuts=sorted(cuts))
    if len(words):
        assert words.join(np.arange(len(words))) == text


@pytest.mark.parametrize("name", [path.name for path in sorted(TEXTS.iterdir())])
def test_every_other_word_of_a_real_text_keeps_its_bytes(name: str) -> None:
    text = (TEXTS / name).read_text("utf-8")
    words = split_words(text)
    kept = np.arange(0, len(words), 2)
    position = 0
    result = words.join(kept)
    for index in kept:
        position = result.index(words[index], position) + len(words[index])


def test_a_line_break_between_kept_words_survives() -> None:
    assert joined("one two\nthree four", [0, 3]) == "one\nfour"


def test_a_paragraph_break_wins_over_a_line_break() -> None:
    assert joined("one\ntwo\n\nthree\nfour", [0, 3]) == "one\n\nfour"


def test_indentation_stays_with_the_word_that_begins_its_line() -> None:
    assert joined("if x:\n    return y", [0, 2, 3]) == "if\n    return y"
    assert joined("if x:\n    return y", [2, 3]) == "    return y"


def test_chinese_characters_are_words_and_join_without_spaces() -> None:
    assert len(split_words("图书馆。")) == 3
    assert joined("图书馆，不会关闭。", [0, 1, 2, 3]) == "图书馆，不"


def test_two_words_never_become_one() -> None:
    assert joined("red 中 green", [0, 2]) == "red green"
    words = split_words("a.b c", cuts=[1, 2])
    assert [words[i] for i in range(4)] == ["a", ".", "b", "c"]
    assert words.join(np.array([0, 3])) == "a c"


def test_a_long_run_is_cut_but_no_combined_character() -> None:
    run = "e\u0301" * 200
    words = split_words(run)
    assert len(words) > 1
    assert all(len(words[i]) <= MAX_WORD_CHARS for i in range(len(words)))
    assert all(words[i].startswith("e") for i in range(len(words)))


@pytest.mark.parametrize(
    ("text", "markers"),
    [
        ("# Title here", ["#"]),
        ("- [ ] milk", ["-", "[", "]"]),
        ("> 1. quoted", [">", "1."]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["|", "|", "|", "|---|---|", "|", "|", "|"]),
        ("Anna: hello there", ["Anna:"]),
        ("[09:12] kim: hey", ["[09:12]", "kim:"]),
        ("a - b", []),
    ],
)
def test_what_shapes_a_line_is_a_marker(text: str, markers: list[str]) -> None:
    words = split_words(text)
    assert [words[i] for i in np.flatnonzero(words.markers)] == markers


def test_markers_ride_with_a_kept_word_of_their_line() -> None:
    words = split_words("- one two\n- three four")
    selected = np.array([w in ("two",) for w in map(words.__getitem__, range(len(words)))])
    assert words.join(np.flatnonzero(words.with_markers(selected))) == "- two"


def test_a_table_rule_rides_with_the_header() -> None:
    words = split_words("| head | er |\n|---|---|\n| x | y |")
    selected = np.array([words[i] == "er" for i in range(len(words))])
    kept = words.join(np.flatnonzero(words.with_markers(selected)))
    assert kept == "| | er |\n|---|---|"


def test_nothing_in_fenced_code_is_a_marker() -> None:
    text = "```\n# comment\n```"
    words = split_words(text, verbatim=[(0, len(text))])
    assert not words.markers.any()
