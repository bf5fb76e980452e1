from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TEXTS
from tokenflowd.compress.budget import select
from tokenflowd.compress.tokens import count_tokens
from tokenflowd.compress.units import Units
from tokenflowd.compress.words import Words, split_words

REAL = [(path.name, path.read_text("utf-8")) for path in sorted(TEXTS.iterdir())]
WORDY = st.lists(
    st.sampled_from(["a", "the", "cat.", "internationalisation", "x\n", "\n\n-", "1,000"]),
    min_size=1,
    max_size=60,
).map(" ".join)


def units_of(words: Words, seed: int, forced: tuple[int, ...] = ()) -> Units:
    """Every word by itself, ranked at random."""
    n = len(words)
    flags = np.zeros(n, np.bool_)
    flags[list(forced)] = True
    scores = np.random.default_rng(seed).random(n).astype(np.float32)
    return Units(np.arange(n), scores, flags, np.zeros(n, np.bool_))


def assert_full(words: Words, kept: np.ndarray, budget: int) -> None:
    """No word that was left out would fit in."""
    for index in np.flatnonzero(~kept & ~words.markers):
        more = kept.copy()
        more[index] = True
        text = words.join(np.flatnonzero(words.with_markers(more)))
        assert count_tokens(text) > budget, words[index]


@settings(max_examples=300, deadline=None)
@given(WORDY, st.floats(0.05, 0.99), st.integers(0, 5))
def test_never_above_the_budget_and_no_word_below(text: str, ratio: float, seed: int) -> None:
    words = split_words(text)
    budget = int(ratio * count_tokens(text))
    selection = select(words, units_of(words, seed), budget)
    assert selection.tokens == count_tokens(selection.text) <= budget
    assert selection.text == words.join(np.flatnonzero(selection.kept))
    assert_full(words, selection.kept, budget)


@pytest.mark.parametrize(("name", "text"), REAL, ids=[name for name, _ in REAL])
@pytest.mark.parametrize("ratio", [0.1, 0.33, 0.5, 0.8])
def test_real_texts_meet_the_budget(name: str, text: str, ratio: float) -> None:
    words = split_words(text)
    budget = int(ratio * count_tokens(text))
    selection = select(words, units_of(words, 1), budget)
    assert count_tokens(selection.text) <= budget
    if "zh" not in name:  # a Chinese character can change the tokens of all around it
        assert_full(words, selection.kept, budget)


def test_a_unit_too_large_for_the_rest_is_skipped_not_the_end() -> None:
    words = split_words("keep https://example.com/a/very/long/path/to/something/else this too")
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    none = np.zeros(4, np.bool_)
    selection = select(words, Units(np.arange(4), scores, none, none), 3)
    assert selection.text == "keep this too"


def test_forced_words_are_kept_above_the_budget_and_nothing_else_is() -> None:
    words = split_words("one two three four five six")
    selection = select(words, units_of(words, 0, forced=(0, 2, 4)), 2)
    assert selection.text == "one three five"
    assert selection.tokens == 3


def test_a_unit_of_several_words_is_kept_whole_or_not_at_all() -> None:
    words = split_words("do not delete it")
    units = Units(
        np.array([0, 3]),
        np.array([0.9, 0.1], np.float32),
        np.zeros(2, np.bool_),
        np.zeros(2, np.bool_),
    )
    assert select(words, units, 3).text == "do not delete"
    assert select(words, units, 2).text == "it"


def test_a_divisible_unit_fills_the_rest_with_its_beginning() -> None:
    words = split_words("图书馆不会完全关闭")
    units = Units(
        np.array([0]), np.ones(1, np.float32), np.zeros(1, np.bool_), np.ones(1, np.bool_)
    )
    selection = select(words, units, 3)
    assert 0 < selection.tokens <= 3
    assert "图书馆不会完全关闭".startswith(selection.text)
