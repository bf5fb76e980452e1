"""Words on lines, and which of them would be kept at another budget."""

from __future__ import annotations

from rich.cells import cell_len

from tokenflow_tui.ranking import Ranking
from tokenflow_tui.visible import visible
from tokenflow_tui.widgets.words import wrap


def lines(words: list[str], width: int) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in wrap(words, width)]


def test_words_wrap_where_they_do_not_fit() -> None:
    assert lines(["one ", "two ", "three ", "four"], 9) == ["one two", "three", "four"]
    assert lines(["exactly ", "nine"], 12) == ["exactly nine"]


def test_line_breaks_and_indentation_stay() -> None:
    assert lines(["def f():\n", "    return 1\n\n", "end"], 40) == [
        "def f():", "    return 1", "", "end",
    ]  # fmt: skip
    assert lines(["a\r\n", "\tb"], 40) == ["a", "    b"]


def test_what_is_longer_than_a_line_is_broken() -> None:
    assert lines(["ab ", "x" * 25, " end"], 10) == ["ab", "x" * 10, "x" * 10, "xxxxx end"]


def test_wide_characters_count_for_two_cells() -> None:
    wrapped = lines(["机", "器", "学习", "是 ", "ab"], 5)
    assert wrapped == ["机器", "学习", "是 ab"]
    assert all(cell_len(line) <= 5 for line in lines(["👍🏽 ", "日本語", "x" * 9], 5))


def test_each_piece_knows_its_word() -> None:
    assert [[index for _, index in line] for line in wrap(["a ", "b\n", "c d"], 9)] == [
        [0, 1], [2, 2],
    ]  # fmt: skip


def test_no_control_character_reaches_the_terminal() -> None:
    assert lines(["\x1b[31m\x9b\x07"], 40) == ["␛[31m\ufffd␇"]
    assert visible("tab\tline\n\r") == "tab\tline\n␍"


def ranking() -> Ranking:
    words = [
        {"text": "the ", "keep": False, "probability": 0.1},
        {"text": "bridge ", "keep": True, "probability": 0.9},
        {"text": "is", "keep": False, "probability": 0.2},
        {"text": "41", "keep": True, "probability": 0.05},  # a number, for that the daemon keeps
    ]
    return Ranking(words, 4, 2)


def test_fewer_tokens_take_from_what_was_kept_and_more_add_to_it() -> None:
    assert ranking().ranks == [3, 0, 2, 1]
    assert ranking().kept == 2
    assert [ranking().count(tokens) for tokens in (0, 1.5, 2, 3, 4, 9)] == [0, 1, 2, 3, 4, 4]


def test_there_may_be_no_words() -> None:
    assert Ranking([], 0, 0).count(5) == 0
