"""What needs no torch; parity with llmlingua itself is in tests/parity."""

from __future__ import annotations

from tokenflowd.compress.llmlingua import lingua_windows


def test_windows_end_at_the_last_full_stop() -> None:
    tokens = (["a"] * 99 + ["."]) * 12
    assert lingua_windows(tokens, subword_prefix="##") == [(0, 500), (500, 1000), (1000, 1200)]


def test_without_a_full_stop_no_token_is_lost() -> None:
    assert lingua_windows(["a"] * 1100, subword_prefix="##") == [
        (0, 510),
        (510, 1020),
        (1020, 1100),
    ]


def test_an_empty_text_has_one_empty_window() -> None:
    assert lingua_windows([], subword_prefix="##") == [(0, 0)]
