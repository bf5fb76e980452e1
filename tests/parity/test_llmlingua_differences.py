"""Where mode="llmlingua" differs from LLMLingua-2's own code on purpose: what theirs does, and
what ours does instead."""

from __future__ import annotations

from pydoc_data.topics import topics
from typing import TYPE_CHECKING

import pytest

from tokenflowd.compress import CompressionOptions
from tokenflowd.compress.llmlingua import WINDOW_CAPACITY

if TYPE_CHECKING:
    from conftest import Ours, Reference

pytestmark = pytest.mark.export

SENTENCES = "We met on Monday for it. " * 100  # seven tokens each: a full stop is the 511th
WITHOUT_STOP = "We saw five uncharacteristically big cats and " * 60
PROSE = topics["comparisons"][:1500]
CHECKPOINT_TOKENS = 30_522  # ids from here on are llmlingua's, with embeddings made up


def test_a_window_leaves_room_for_both_special_tokens(ours: Ours, reference: Reference) -> None:
    """Theirs may take 511 tokens; with the special ones that is 513, so [SEP] is cut off."""
    theirs, mine = reference.chunks(SENTENCES)[0], ours.chunks(SENTENCES)[0]
    assert (len(theirs), theirs[-1]) == (WINDOW_CAPACITY + 1, ".")
    assert (len(mine), mine[-1]) == (WINDOW_CAPACITY - 6, ".")


def test_a_window_never_ends_inside_a_word(ours: Ours, reference: Reference) -> None:
    """Theirs cuts where 511 tokens are full, decodes `##istically`, and reads that as # and #."""
    options = CompressionOptions(ratio=0.5)
    assert "#" in [word for word, _ in reference.label(WITHOUT_STOP, rate=0.5)]
    assert [word for word, _ in ours.label(WITHOUT_STOP, options)] == WITHOUT_STOP.lower().split()


def test_words_are_not_glued_where_two_windows_meet(ours: Ours, reference: Reference) -> None:
    """Theirs joins the windows' texts by nothing."""
    theirs = reference.compress(SENTENCES, rate=0.5, force_tokens=[".", "we"])
    mine = ours.compressor.compress(
        SENTENCES, CompressionOptions(ratio=0.5, force_tokens=(".", "we"))
    )
    assert ".we" in theirs["compressed_prompt"]
    assert ".We" not in mine.compressed_text


def test_kept_words_keep_their_capitals_accents_and_lines(ours: Ours, reference: Reference) -> None:
    """Theirs is decoded from the vocabulary, which has no capitals, accents or line breaks."""
    text = "# Menü\n\nCafé Zürich, Ångström\n"
    assert reference.compress(text, rate=0.99)["compressed_prompt"].islower()

    every_word = ("#", "Menü", "Café", "Zürich", ",", "Ångström")
    options = CompressionOptions(ratio=0.5, force_tokens=every_word)
    assert ours.compressor.compress(text, options).compressed_text == text


def test_forced_line_breaks_do_not_change_what_the_model_reads(
    ours: Ours, reference: Reference
) -> None:
    """Theirs puts [NEW0], whose embedding nobody trained, in place of every line break; ours
    keeps the lines anyway."""
    reference.largest_id = 0
    reference.compress(PROSE, rate=0.5, force_tokens=["\n"])
    assert reference.largest_id >= CHECKPOINT_TOKENS

    plain = ours.compressor.compress(PROSE, CompressionOptions(ratio=0.5))
    forced = ours.compressor.compress(PROSE, CompressionOptions(ratio=0.5, force_tokens=("\n",)))
    assert forced.compressed_text == plain.compressed_text
    assert "\n" in plain.compressed_text


def test_a_forced_name_of_several_subwords_is_kept_and_read_as_it_is(
    ours: Ours, reference: Reference
) -> None:
    """Theirs puts [NEW0] in its place, too."""
    name = "uncharacteristically"
    text = f"{PROSE} It is {name} slow, {name} so."
    reference.largest_id = 0
    reference.compress(text, rate=0.33, force_tokens=[name])
    assert reference.largest_id >= CHECKPOINT_TOKENS

    plain = ours.judge(text, CompressionOptions(ratio=0.33)).words
    forced = ours.judge(text, CompressionOptions(ratio=0.33, force_tokens=(name,))).words
    assert [word.keep for word in forced if word.text.strip() == name] == [True, True]
    assert [word.probability for word in forced] == [word.probability for word in plain]


def test_a_forced_name_with_capitals_is_kept(ours: Ours, reference: Reference) -> None:
    """Theirs compares it with the vocabulary's `the`, `python`, and never finds it."""
    text = f"{PROSE} Python is what the Python documentation says, not what a python says."
    plain = reference.label(text, rate=0.33)
    assert reference.label(text, rate=0.33, force_tokens=["Python"]) == plain

    words = ours.judge(text, CompressionOptions(ratio=0.33, force_tokens=("Python",))).words
    kept = [word.keep for word in words if word.text.strip() == "Python"]
    assert kept == [True] * text.count("Python")


@pytest.mark.parametrize("word", ["\U0001f642", "[MASK]", "x" * 101])
def test_words_that_the_vocabulary_lacks_can_be_kept(
    word: str, ours: Ours, reference: Reference
) -> None:
    """Theirs loses them without a trace. The choice among all other words is the same."""
    text = f"{word} {PROSE} {word} is {word}."
    theirs = reference.label(text, rate=0.5)
    mine = ours.judge(text, CompressionOptions(ratio=0.5))
    unknown = [spelled.startswith("[") and len(spelled) > 1 for spelled, _ in mine.labelled]
    assert sum(unknown) == 3
    assert [pair for pair, lost in zip(mine.labelled, unknown, strict=True) if not lost] == theirs

    forced = ours.compressor.compress(text, CompressionOptions(ratio=0.5, force_tokens=(word,)))
    assert forced.compressed_text.count(word) == 3


def test_a_text_of_unknown_words_alone_is_compressed(ours: Ours, reference: Reference) -> None:
    """Theirs takes a percentile of nothing."""
    text = "\U0001f642 \U0001f680 \U0001f389"
    with pytest.raises(IndexError):
        reference.compress(text, rate=0.5)
    assert ours.compressor.compress(text, CompressionOptions(ratio=0.5)).original_text == text


def test_a_text_within_its_budget_is_left_as_it_is(ours: Ours, reference: Reference) -> None:
    """Theirs decodes it, without capitals."""
    theirs = reference.compress(PROSE, target_token=5000)
    mine = ours.compressor.compress(PROSE, CompressionOptions(target_tokens=5000))
    assert theirs["compressed_prompt"] != PROSE
    assert mine.compressed_text == PROSE
