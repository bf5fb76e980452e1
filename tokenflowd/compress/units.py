"""Groups words into the units that are kept or dropped as one, and scores these."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflowd.compress.protect import HAS_UNSPACED, Span
from tokenflowd.compress.tokens import count_tokens
from tokenflowd.compress.words import Flags, Indexes, Words
from tokenflowd.config import PreserveKind

# What protection adds to a keep probability. More would keep bare numbers and negations of
# sentences that are gone otherwise; less would lose some.
PROTECTION = 0.5
# To a clause that holds something of the kind: nearly every one does, so that it tells less.
CLAUSE_PROTECTION = 0.2
# What is left of a word's score each time that it has been there before, and at least: a reader who
# has met a name needs it less again than a new one.
REPEATED, LEAST = 0.8, 0.3
_DIGITS = re.compile(r"\d+")
# Marks that a transcript sets apart by spaces: they go with the word before them.
_PUNCTUATION = re.compile(r"[,.;:!?…]+")
_MARKS = ".,;:!?…()[]{}\"'“”‘’*_`"


@dataclass(frozen=True, slots=True)
class Units:
    """Runs of words that are kept or dropped as one, in order and without gaps.

    `firsts` int64, shape (n_units,): each unit's first word; it ends where the next begins.
    `scores` float32, shape (n_units,): higher is kept first.
    `forced` bool, shape (n_units,): kept whatever the budget.
    `divisible` bool, shape (n_units,): may fill what is left of the budget with its beginning.
    """

    firsts: Indexes
    scores: NDArray[np.float32]
    forced: Flags
    divisible: Flags


def occurrences(text: str, force_tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where forced tokens stand, in order. Those of letters and digits are whole words only,
    but for scripts without spaces; white space needs no forcing, as line breaks survive."""
    spelled = [
        rf"(?<!\w){re.escape(token)}(?!\w)"
        if token.isalnum() and not HAS_UNSPACED.search(token)
        else re.escape(token)
        for token in force_tokens
        if token.strip()
    ]
    if not spelled:
        return []
    return [match.span() for match in re.finditer("|".join(spelled), text)]


def word_cuts(text: str, spans: list[Span], forced_at: list[tuple[int, int]]) -> list[int]:
    """Where words end besides white space: around JSON members and forced punctuation."""
    cuts = {offset for span in spans if span.kind == "keys" for offset in (span.start, span.end)}
    for start, end in forced_at:
        if not text[start:end].isalnum():
            cuts.update((start, end))
    return sorted(cuts)


def forced_words(
    words: Words, forced_at: list[tuple[int, int]], force_reserve_digit: bool
) -> Flags:
    """The words that hold a forced token or, if asked for, a digit: flags, shape (n_words,)."""
    forced = np.zeros(len(words), np.bool_)
    for start, end in forced_at:
        forced[slice(*words.indexes_in(start, end))] = True
    if force_reserve_digit:
        for index in range(len(words)):
            forced[index] |= any(map(str.isdigit, words[index]))
    return forced


def divide_oversized_code(text: str, spans: list[Span], budget: int) -> list[Span]:
    """A block of code that would not fit into the budget by itself falls into its lines."""
    divided: list[Span] = []
    for span in spans:
        if span.kind == "code" and count_tokens(text[span.start : span.end]) > budget:
            divided.extend(
                Span("code", span.start + line.start(), span.start + line.end())
                for line in re.finditer(r"[^\n]+", text[span.start : span.end])
            )
        else:
            divided.append(span)
    return divided


def make_units(
    words: Words,
    spans: list[Span],
    protected: Sequence[PreserveKind],
    scores: NDArray[np.float32],
    forced: Flags,
) -> Units:
    """Words that overlapping spans hold together become one unit, with their mean score.

    A word outside of spans, and a JSON member but for its digits, counts for less each time that
    it was there before: in transcripts, logs and tables the first of a kind says most.
    """
    joined = np.zeros(len(words), np.bool_)  # to the word before
    safe = np.zeros(len(words), np.bool_)
    clause = np.zeros(len(words), np.bool_)
    scores = scores.copy()
    in_span = np.zeros(len(words), np.bool_)
    seen: Counter[str] = Counter()
    for span in spans:
        inside = slice(*words.indexes_in(span.start, span.end))
        joined[inside.start + 1 : inside.stop] = True
        in_span[inside] = True
        clause[inside] |= span.kind == "clause"
        if span.kind == "keys":
            shape = _DIGITS.sub("0", words.text[span.start : span.end])
            seen[shape] += 1
            scores[inside] /= seen[shape]
            safe[inside] |= seen[shape] == 1 and "keys" in protected
        else:
            safe[inside] |= span.kind in protected
    scores *= _novelty(words, in_span)
    after_mark = True  # nothing is there yet for a mark to go with
    for index, start in enumerate(words.starts.tolist()):
        is_mark = (
            words.text[start] in ",.;:!?…" and _PUNCTUATION.fullmatch(words[index]) is not None
        )
        joined[index] |= is_mark and not after_mark and not forced[index]
        after_mark = is_mark
    firsts = np.flatnonzero(~joined)
    if not len(firsts):
        none = np.zeros(0, np.bool_)
        return Units(firsts, np.zeros(0, np.float32), none, none)
    sizes = np.diff([*firsts.tolist(), len(words)])
    means = np.add.reduceat(scores, firsts) / sizes
    clauses = np.logical_and.reduceat(clause, firsts)
    protection = np.where(clauses, CLAUSE_PROTECTION, PROTECTION)
    return Units(
        firsts=firsts,
        scores=(means + protection * np.logical_or.reduceat(safe, firsts)).astype(np.float32),
        forced=np.logical_or.reduceat(forced, firsts),
        divisible=clauses,
    )


def _novelty(words: Words, in_span: Flags) -> NDArray[np.float32]:
    """By how much repetition leaves each word's score: float32, shape (n_words,)."""
    seen: Counter[str] = Counter()
    novelty = np.ones(len(words), np.float32)
    for index, spans in enumerate(in_span.tolist()):
        if not spans:
            word = words[index].strip(_MARKS).lower()
            novelty[index] = max(LEAST, REPEATED ** seen[word])
            seen[word] += 1
    return novelty
