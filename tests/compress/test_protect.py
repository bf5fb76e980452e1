from __future__ import annotations

import time

import pytest

from tokenflowd.compress.protect import find_clauses, find_spans, find_unspaced_clauses


def found(text: str, kind: str) -> list[str]:
    return [text[span.start : span.end] for span in find_spans(text) if span.kind == kind]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("code", "see\n```python\nx = 1\n# y\n```\nand `f(x)` too", 2),
        ("code", "an open fence\n~~~\nx = 1", ["~~~\nx = 1"]),
        ("urls", "at https://example.com/a?b=c#d, ok", ["https://example.com/a?b=c#d,"]),
        ("urls", "see www.example.com now", ["www.example.com"]),
        ("emails", "to ada.l+x@mail.example.org.", ["ada.l+x@mail.example.org"]),
        ("paths", "in /var/log/syslog.1 and ~/.ssh", ["/var/log/syslog.1", "~/.ssh"]),
        ("paths", "edit src/app/main.py now", ["src/app/main.py"]),
        ("paths", r"open C:\Users\Ada\notes.txt", [r"C:\Users\Ada\notes.txt"]),
        ("paths", "and/or either/or", []),
        ("numbers", "5 ms and 3.5GB for $1,200.50", ["5 ms", "3.5GB", "$1,200.50"]),
        ("numbers", "412 million rows of 50 connections", ["412 million rows", "50 connections"]),
        ("numbers", "from 1 to 7", ["1", "7"]),
        ("identifiers", "call get_user() on userId in v1.2.3", ["get_user()", "userId", "v1.2.3"]),
        ("identifiers", "run --dry-run=yes, fix #42 for @ada", ["--dry-run=yes,", "#42", "@ada"]),
        ("identifiers", "a well-known fact", []),
        ("keys", '{"id": 7, "tags": ["a"], "ok": true}', ['"id": 7,', '"tags": ', '"ok": true']),
        ("negations", "do not ever delete it", ["do not ever"]),
        ("negations", "you can't see; never mind", ["can't see", "never mind"]),
        ("negations", "das ist nicht gut", ["nicht gut"]),
        ("negations", "a notable note", []),
    ],
)
def test_what_belongs_together_is_found(kind: str, text: str, expected: list[str] | int) -> None:
    spans = found(text, kind)
    assert len(spans) == expected if isinstance(expected, int) else spans == expected


def test_a_negation_reaches_over_function_words_and_a_wrapped_line() -> None:
    assert found("it does not have to be\ncomputed again", "negations") == [
        "does not have to be\ncomputed"
    ]


def test_clauses_of_chinese_end_at_its_punctuation() -> None:
    text = "我们不会减少藏书，相反，我们会增加新书。"
    assert [text[s.start : s.end] for s in find_unspaced_clauses(text)] == [
        "我们不会减少藏书，",
        "相反，",
        "我们会增加新书。",
    ]
    assert find_unspaced_clauses("plain English") == []


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Um 3:15 Uhr, glaube ich. Ja!", ["Um 3:15 Uhr,", "glaube ich.", "Ja!"]),
        ("Не сегодня; завтра… 1,4 тонны", ["Не сегодня;", "завтра…", "1,4 тонны"]),
        ("ليس اليوم، بل غدا؟ نعم", ["ليس اليوم،", "بل غدا؟", "نعم"]),
        ("आज नहीं। कल हाँ।", ["आज नहीं।", "कल हाँ।"]),
        ("不是今天，是明天。", ["不是今天，", "是明天。"]),
        ("am 14. März, um drei.", ["am 14. März,", "um drei."]),
        ("im Jahr 1968. Es war", ["im Jahr 1968.", "Es war"]),
        ("eins\nzwei", ["eins", "zwei"]),
        ("?!", []),
    ],
)
def test_clauses_end_at_the_marks_of_any_script(text: str, clauses: list[str]) -> None:
    assert [text[span.start : span.end] for span in find_clauses(text)] == clauses


@pytest.mark.parametrize(
    "unit",
    ["a-", "ab/", "a.", "_", "`", "```\n", '\\"', '"', "a@", "$", "[ ", "1,", "not ", "aA", "中"],
)
def test_hostile_repetition_takes_time_in_proportion(unit: str) -> None:
    """Ten times the text takes some ten times as long, not a hundred times (quadratic)."""

    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        started = time.process_time()
        find_spans(text)
        find_clauses(text)
        find_unspaced_clauses(text)
        return time.process_time() - started

    seconds(10_000)
    small = min(seconds(10_000) for _ in range(3))  # of the CPU: others may be using it, too
    assert seconds(100_000) < 40 * small + 0.05
