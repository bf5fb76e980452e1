from __future__ import annotations

import pickle
import re
import resource
import threading
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.compress.prompts import DIFF
from tests.conftest import TEXTS, text
from tokenflowd.compress import CompressionOptions, Compressor, count_tokens
from tokenflowd.config import PRESERVE_KINDS, CompressConfig
from tokenflowd.engine import EncoderModel
from tokenflowd.errors import Cancelled

NAMES = [path.name for path in sorted(TEXTS.iterdir())]


class CountingModel:
    """A real model that counts its runs."""

    def __init__(self, model: EncoderModel) -> None:
        self._model = model
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def run(self, *arguments: Any, **named: Any) -> Any:
        self.runs += 1
        return self._model.run(*arguments, **named)


def compress(compressor: Compressor, source: str, **options: Any) -> Any:
    return compressor.compress(source, CompressionOptions(**options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratio", [0.2, 0.33, 0.5, 0.7, 0.9])
def test_the_budget_is_met_and_never_exceeded(
    compressor: Compressor, name: str, ratio: float
) -> None:
    result = compress(compressor, text(name), ratio=ratio)
    assert result.compressed_tokens == count_tokens(result.compressed_text)
    assert result.budget == int(ratio * result.original_tokens + 1e-6)
    assert result.compressed_tokens <= result.budget
    assert result.compressed_tokens >= result.budget - 8
    assert not result.over_budget


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=400), st.sampled_from(["budget", "llmlingua"]))
def test_everything_is_identical_at_ratio_one(
    compressor: Compressor, source: str, mode: str
) -> None:
    result = compress(compressor, source, ratio=1.0, mode=mode, return_words=True)
    assert result.compressed_text == source
    assert "".join(word.text for word in result.words) == source


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=400), st.floats(0.01, 1.0))
def test_any_text_compresses_within_its_budget(
    compressor: Compressor, source: str, ratio: float
) -> None:
    result = compress(compressor, source, ratio=ratio)
    assert count_tokens(result.compressed_text) <= result.budget or result.over_budget


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text(min_size=1, max_size=400).filter(str.strip),
    st.floats(0.01, 1.0),
    st.sampled_from(["budget", "llmlingua"]),
)
def test_no_text_becomes_empty(
    compressor: Compressor, source: str, ratio: float, mode: str
) -> None:
    result = compress(compressor, source, ratio=ratio, mode=mode)
    assert result.compressed_text.strip()
    assert result.compressed_tokens == count_tokens(result.compressed_text)
    assert result.over_budget is (result.compressed_tokens > result.budget)


@pytest.mark.parametrize(
    ("source", "options", "left"),
    [
        ("Hello", {"ratio": 0.5}, "Hello"),
        ("Shopping for the party\n" + 14 * "- [ ]\n", {"ratio": 0.5}, "Shopping for the party"),
        ("1.\n2.\nGroceries\n3.\n4.\n5.\n6.\n7.\n", {"ratio": 0.3}, "Groceries"),
        ("Never ever call me again", {"target_tokens": 1}, None),
        ("🙂🙃🙂🙃🙂🙃", {"ratio": 0.05}, None),
        ("- [ ]\n- [ ]\n", {"ratio": 0.1}, None),
        ("我们明天再谈这件事。", {"ratio": 0.05}, None),
        ("Q" + 40 * "xyzw1", {"ratio": 0.05}, None),
    ],
    ids=["word", "empty items", "numbers", "one token", "emoji", "markers", "han", "huge word"],
)
def test_something_is_left_of_every_text(
    compressor: Compressor, source: str, options: dict[str, Any], left: str | None
) -> None:
    result = compress(compressor, source, **options)
    assert result.compressed_text.strip() in source
    assert result.compressed_text.strip()
    if left:
        assert left in result.compressed_text
    assert result.over_budget is (result.compressed_tokens > result.budget)


@pytest.mark.parametrize("ratio", [0.2, 0.33, 0.45, 0.6])
def test_what_a_text_asks_ranks_first_within_its_budget(
    compressor: Compressor, ratio: float
) -> None:
    result = compress(compressor, DIFF + "\nWrite a commit message\n", ratio=ratio)
    assert "Write a commit message" in result.compressed_text
    assert result.compressed_tokens <= result.budget
    assert not result.over_budget


def test_an_empty_text_stays_empty(compressor: Compressor) -> None:
    result = compress(compressor, "", ratio=0.5)
    assert (result.compressed_text, result.original_tokens, result.compression_ratio) == ("", 0, 1)


def test_a_target_in_tokens_is_met(compressor: Compressor) -> None:
    result = compress(compressor, text("meeting.txt"), target_tokens=100)
    assert 99 <= result.compressed_tokens <= 100


def test_another_ratio_budget_or_forced_word_runs_no_model(compressor_model: EncoderModel) -> None:
    model = CountingModel(compressor_model)
    compressor = Compressor(model, CompressConfig())  # type: ignore[arg-type]
    source = text("meeting.txt")
    compress(compressor, source, ratio=0.5)
    assert model.runs == 1
    compress(compressor, source, ratio=0.3)
    compress(compressor, source, target_tokens=50)
    compress(compressor, source, ratio=0.3, force_tokens=("Anna",), return_words=True)
    assert model.runs == 1


def test_the_cache_forgets_the_oldest_text(compressor_model: EncoderModel) -> None:
    model = CountingModel(compressor_model)
    compressor = Compressor(model, CompressConfig(cache_tokens=800))  # type: ignore[arg-type]
    for name in ("meeting.txt", "api.md", "meeting.txt"):
        compress(compressor, text(name), ratio=0.5)
    assert model.runs == 3


def test_every_word_is_returned_with_its_probability(compressor: Compressor) -> None:
    source = text("api.md")
    result = compress(compressor, source, ratio=0.5, return_words=True)
    assert "".join(word.text for word in result.words) == source
    assert all(0 <= word.probability <= 1 for word in result.words)
    kept = [word.text.strip() for word in result.words if word.keep]
    assert "".join(kept) == "".join(result.compressed_text.split()) or all(
        word in result.compressed_text for word in kept
    )


def test_what_has_been_said_counts_for_less(compressor: Compressor) -> None:
    source = f"{'The zebra stood still. ' * 6}The okapi came at last."
    left = compress(compressor, source, ratio=0.3).compressed_text
    assert "okapi" in left
    assert left.count("zebra") < 6


@pytest.mark.parametrize(
    ("ratio", "source", "kept", "dropped"),
    [
        (
            0.6,
            "Please do not delete the files in /var/lib/app unless the backup from 3 March 2026 "
            "was verified. You must never restart the server during business hours, except when "
            "error E1234 appears more than 5 times.",
            ["do not delete", "/var/lib/app", "3 March 2026", "never restart", "E1234", "5 times"],
            ["Please", "You must"],
        ),
        (
            0.5,
            "Hi there! I hope you are doing well. Could you please help me to understand how the "
            "garbage collector in Python works, especially what the three generations are for and "
            "when they are collected? Thanks a lot in advance, I really appreciate it!",
            ["understand", "garbage collector", "Python", "three generations", "collected"],
            ["there", "Could you", "Thanks", "really"],
        ),
    ],
    ids=["orders", "question"],
)
def test_the_shipped_model_drops_what_a_reader_misses_least(
    compressor: Compressor, ratio: float, source: str, kept: list[str], dropped: list[str]
) -> None:
    left = compress(compressor, source, ratio=ratio).compressed_text
    assert [part for part in kept if part not in left] == []
    assert [part for part in dropped if part in left] == []


def test_code_is_kept_whole_and_untouched(compressor: Compressor) -> None:
    source = text("api.md")
    block = source[source.index("```python") : source.index("| Method")].strip()
    assert block in compress(compressor, source, ratio=0.6).compressed_text


def test_what_is_kept_of_markdown_is_still_markdown(compressor: Compressor) -> None:
    result = compress(compressor, text("api.md"), ratio=0.7).compressed_text
    assert result.startswith("# Cache API\n")
    assert "\n1. " in result
    assert "\n- " in result
    assert result.count("```") == 4


@pytest.mark.parametrize(
    ("kind", "source", "kept"),
    [
        ("urls", "Well, it is all over there, somewhere at https://x.io/a/b?c=d", "https://x.io/a"),
        ("emails", "You could, if you want to, maybe write to a.b@c.org about it", "a.b@c.org"),
        (
            "paths",
            "It is, as far as I can remember, written to /etc/a/b.conf by it",
            "/etc/a/b.conf",
        ),
        ("numbers", "It took us, if I remember it right, something like 38 hours then", "38 hours"),
        (
            "identifiers",
            "So then it is the one that is called load_user_v2() I think",
            "load_user_v2",
        ),
        (
            "negations",
            "The thing with it is that you really should not delete that one",
            "not delete",
        ),
        ("code", "So what you want to do there is that you call `f(x)` on it", "`f(x)`"),
        (
            "keys",
            'It answers with something like {"state": "done"} or so I guess',
            '"state": "done"',
        ),
    ],
)
def test_preserve_keeps_its_kind_even_above_the_budget(
    compressor: Compressor, kind: str, source: str, kept: str
) -> None:
    result = compress(compressor, source, ratio=0.01, preserve=(kind,))
    assert kept in result.compressed_text
    assert result.over_budget


def test_preserving_nothing_keeps_spans_whole_all_the_same(compressor: Compressor) -> None:
    source = text("api.md") + text("chat.txt")
    for ratio in (0.2, 0.4, 0.6):
        result = compress(compressor, source, ratio=ratio, preserve=()).compressed_text
        for whole in ("https://status.example.com/cache?range=24h", "src/report/pdf_export.py"):
            assert whole in result or whole[:20] not in result


def test_all_kinds_are_known_to_the_compressor(compressor: Compressor) -> None:
    result = compress(compressor, text("api.md"), ratio=0.2, preserve=PRESERVE_KINDS)
    assert result.over_budget


def test_forced_words_and_marks_are_kept(compressor: Compressor) -> None:
    source = "Well, you know, shall we go there then? I really think that we should, don't you?"
    result = compress(compressor, source, ratio=0.3, force_tokens=("?", "we"))
    assert result.compressed_text.count("?") == source.count("?")
    assert len(re.findall(r"\bwe\b", result.compressed_text)) == 2
    assert "well" not in result.compressed_text


def test_a_forced_word_is_a_whole_word(compressor: Compressor) -> None:
    result = compress(compressor, "the western web we went to", ratio=0.01, force_tokens=("we",))
    assert result.compressed_text == "we"


def test_digits_are_reserved(compressor: Compressor) -> None:
    source = "and so on and so forth in b2b and 4th and also A4 you know"
    result = compress(compressor, source, ratio=0.1, force_reserve_digit=True)
    assert all(word in result.compressed_text for word in ("b2b", "4th", "A4"))


def test_forced_words_in_a_row_are_dropped(compressor: Compressor) -> None:
    source = "So . it . is . as . it . was . then . and"
    kept = compress(compressor, source, ratio=0.01, force_tokens=(".",))
    assert kept.compressed_text.count(".") == 7
    dropped = compress(compressor, source, ratio=0.01, force_tokens=(".",), drop_consecutive=True)
    assert dropped.compressed_text == "."


def test_a_question_brings_its_answer(compressor: Compressor) -> None:
    source = text("meeting.txt")
    without = compress(compressor, source, ratio=0.1).compressed_text
    asked = compress(compressor, source, ratio=0.1, question="How much does the disk cost?")
    assert "45 euros" in asked.compressed_text
    assert "disk" in asked.compressed_text
    assert asked.compressed_text != without


def test_llmlingua_mode_keeps_about_the_share_and_passes_words_on_unchanged(
    compressor: Compressor,
) -> None:
    source = text("meeting.txt")
    result = compress(compressor, source, ratio=0.5, mode="llmlingua")
    assert 0.3 < result.compressed_tokens / result.original_tokens < 0.7
    assert "Tomas" in result.compressed_text
    assert "tomas" not in result.compressed_text


def test_work_that_nobody_waits_for_ends(compressor_model: EncoderModel) -> None:
    compressor = Compressor(compressor_model, CompressConfig())
    stop = threading.Event()
    source = "\n".join(f"{index} {text('meeting.txt')}" for index in range(60))
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            compressor.compress(source, stop=stop)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    threading.Timer(0.3, stop.set).start()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(outcome[0], Cancelled)


def test_a_compressor_can_be_sent_to_another_process(compressor: Compressor) -> None:
    there = pickle.loads(pickle.dumps(compressor))  # noqa: S301 - our own bytes
    source = text("chat.txt")
    assert compress(there, source, ratio=0.5) == compress(compressor, source, ratio=0.5)
    there.model.close()


def test_a_million_characters_need_bounded_memory(compressor: Compressor) -> None:
    unit = text("meeting.txt") + text("api.md")
    source = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = compress(compressor, source, ratio=0.3)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert result.compressed_tokens <= result.budget
    assert result.budget - result.compressed_tokens <= 1
    assert grown_mb < 300


def test_a_mark_set_apart_by_a_space_goes_with_its_word(compressor: Compressor) -> None:
    source = (
        "Yeah , so basically , the remote control , is ugly . Yeah . And it is expensive , too ."
    )
    for ratio in (0.3, 0.5, 0.7):
        result = compress(compressor, source, ratio=ratio).compressed_text
        assert not result.startswith((",", "."))
        assert ", ," not in result
        assert ". ." not in result


def test_a_forced_mark_is_kept_wherever_it_stands(compressor: Compressor) -> None:
    result = compress(compressor, "> one\n- two\n- three", ratio=0.01, force_tokens=(">", "-"))
    assert result.compressed_text == ">\n-\n-"


@pytest.mark.parametrize("mode", ["budget", "llmlingua"])
def test_a_forced_word_within_running_chinese_is_kept(compressor: Compressor, mode: str) -> None:
    result = compress(compressor, text("zh.txt"), ratio=0.1, mode=mode, force_tokens=("阅览室",))
    assert "阅览室" in result.compressed_text


@pytest.mark.parametrize("name", NAMES)
def test_lines_may_end_as_on_windows(compressor: Compressor, name: str) -> None:
    unix = compress(compressor, text(name), ratio=0.99, preserve=("code", "urls")).compressed_text
    windows = text(name).replace("\n", "\r\n")
    result = compress(compressor, windows, ratio=0.99, preserve=("code", "urls"))
    assert not result.over_budget
    assert "\n\n" not in result.compressed_text.replace("\r\n", "")
    assert abs(len(result.compressed_text.split()) - len(unix.split())) <= 4


def test_what_follows_code_with_windows_lines_is_no_code(compressor: Compressor) -> None:
    source = "```sh\r\nmake all\r\n```\r\n\r\n" + "Well, we really think that it is nice.\r\n" * 6
    result = compress(compressor, source, ratio=0.4, preserve=("code",))
    assert not result.over_budget
    assert "make all\r\n```" in result.compressed_text


def test_a_line_of_very_many_markers_takes_no_time_and_loses_nothing(
    compressor: Compressor,
) -> None:
    result = compress(compressor, "| a " * 4000, ratio=0.4)
    assert result.budget - 1 <= result.compressed_tokens <= result.budget


def test_selection_ends_when_nobody_waits(compressor: Compressor) -> None:
    compressor.compress(text("meeting.txt"))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        compressor.compress(text("meeting.txt"), CompressionOptions(ratio=0.3), stop=stop)


def test_llmlingua_mode_never_glues_what_it_keeps(compressor: Compressor) -> None:
    source = "The server 10.0.0.7 was restarted at 12:45 on 2024-05-06 and nothing more was done."
    options = {"ratio": 0.2, "mode": "llmlingua", "force_reserve_digit": True}
    result = compress(compressor, source, **options).compressed_text
    assert "10007" not in result
    assert "1245" not in result


def test_llmlingua_mode_keeps_accents_on_their_letters(compressor: Compressor) -> None:
    source = unicodedata.normalize("NFD", "Le café noir, où José a mangé avec René et Zoé.")
    for ratio in (0.3, 0.5, 0.7):
        result = compress(compressor, source, ratio=ratio, mode="llmlingua").compressed_text
        assert re.sub(r"\w[\u0300\u0301]", "", result).isascii()


def test_kept_words_of_a_dropped_line_start_keep_its_indentation(compressor: Compressor) -> None:
    source = "def one():\n    it is the value of xylophone\n\n    and also of zeppelin"
    result = compress(
        compressor, source, ratio=0.3, force_tokens=("xylophone", "zeppelin")
    ).compressed_text
    assert "\n\n    zeppelin" in result


def test_marks_alone_are_words_like_any(compressor: Compressor) -> None:
    result = compress(compressor, ". " * 400, ratio=0.4)
    assert result.budget - 1 <= result.compressed_tokens <= result.budget
