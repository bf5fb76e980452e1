"""The compress service: text and options in, compressed text out. Plain and synchronous."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokenflowd.compress.ask import divide
from tokenflowd.compress.budget import Selection, at_least_one, raise_if_stopped, select
from tokenflowd.compress.cache import KeepProbabilities, ProbabilityCache
from tokenflowd.compress.llmlingua import choose_words, lingua_windows
from tokenflowd.compress.protect import find_clauses, find_spans, find_unspaced_clauses
from tokenflowd.compress.question import relevance
from tokenflowd.compress.tokens import count_tokens
from tokenflowd.compress.units import (
    Units,
    divide_oversized_code,
    forced_words,
    make_units,
    occurrences,
    word_cuts,
)
from tokenflowd.compress.windows import sentence_windows
from tokenflowd.compress.words import Flags, Words, split_words
from tokenflowd.config import CompressConfig, Mode, PreserveKind
from tokenflowd.engine import EncoderModel

# LLMLingua-2's convention, which every model of this task follows: the second label is "keep".
KEEP = 1
# Languages written without spaces. A model that reads none of them cannot rank their words.
UNSPACED_LANGUAGES = frozenset({"zh", "ja", "multilingual"})
# More than any score: keep probability, question and protection together.
_ASKS_LEAD = 10.0


@dataclass(frozen=True, slots=True)
class CompressionOptions:
    """How to compress. Either `ratio` (share of tokens to keep) or `target_tokens`.

    `force_tokens`, `force_reserve_digit` and `drop_consecutive` mean what they mean in
    LLMLingua. `preserve` names the kinds that are kept even above the budget; None ranks the
    configured kinds higher. `question` prefers what it needs; without one, what the text itself
    asks ranks first (`ranks_asks_first`), so that it is kept whole if it fits into the budget.
    """

    ratio: float | None = None
    target_tokens: int | None = None
    mode: Mode | None = None
    force_tokens: tuple[str, ...] = ()
    force_reserve_digit: bool = False
    drop_consecutive: bool = False
    preserve: tuple[PreserveKind, ...] | None = None
    question: str = ""
    ranks_asks_first: bool = True
    return_words: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word with the white space after it: all words of a text, joined, are that text."""

    text: str
    keep: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Compression:
    """What was kept of a text, and what it costs: tokens are o200k_base's.

    `over_budget` says that what had to be kept has more than `budget` tokens by itself: what was
    forced, or the least that is kept of a text so that it does not become empty;
    `model_tokens` were read by the model, none if it knew the text; `words` are there if they
    were asked for.
    """

    original_text: str
    compressed_text: str
    original_tokens: int
    compressed_tokens: int
    budget: int
    over_budget: bool
    mode: Mode
    model_tokens: int
    words: tuple[Word, ...] | None = None

    @property
    def compression_ratio(self) -> float:
        """The share of the tokens that was kept, in [0, 1]; 1.0 for an empty text."""
        return self.compressed_tokens / self.original_tokens if self.original_tokens else 1.0


class Compressor:
    """Compresses with one token classifier. Safe to call from several threads; picklable."""

    def __init__(self, model: EncoderModel, settings: CompressConfig) -> None:
        self.model = model
        self._settings = settings
        self._cache = ProbabilityCache(settings.cache_tokens)

    def compress(
        self,
        text: str,
        options: CompressionOptions = CompressionOptions(),
        *,
        stop: threading.Event | None = None,
    ) -> Compression:
        """Raises Busy and Cancelled."""
        mode = options.mode or self._settings.mode
        original_tokens = count_tokens(text)
        budget = self._budget(original_tokens, options)
        if budget >= original_tokens and not options.return_words:
            return Compression(text, text, original_tokens, original_tokens, budget, False, mode, 0)
        key = self._cache.key(text, self.model.manifest.id, mode)
        known = self._cache.get(key)
        if known is None:
            probabilities = self._probabilities(text, mode, stop)
            self._cache.put(key, probabilities)
        else:
            probabilities = known
        if mode == "llmlingua":
            words, selection, values = self._by_percentile(text, probabilities, options)
        else:
            words, selection, values = self._by_budget(text, probabilities, budget, options, stop)
        unread = not len(words) and not text.isspace()  # the model's vocabulary has none of it
        if budget >= original_tokens or unread:
            selection = Selection(np.ones(len(words), np.bool_), text, original_tokens)
        return Compression(
            original_text=text,
            compressed_text=selection.text,
            original_tokens=original_tokens,
            compressed_tokens=selection.tokens,
            budget=budget,
            over_budget=selection.tokens > budget,
            mode=mode,
            model_tokens=original_tokens if known is None else 0,
            words=_spelled_out(words, selection.kept, values) if options.return_words else None,
        )

    def _budget(self, original_tokens: int, options: CompressionOptions) -> int:
        if options.target_tokens is not None:
            return min(options.target_tokens, original_tokens)
        ratio = self._settings.ratio if options.ratio is None else options.ratio
        # 0.57 * 100 is 56.99999999999999: without the crumb a token would be lost.
        return int(ratio * original_tokens + 1e-6)

    def _rate(self, text: str, options: CompressionOptions) -> float:
        """The share of tokens to keep as LLMLingua-2 takes it: unrounded, or by cl100k_base."""
        if options.target_tokens is not None:
            return options.target_tokens / max(1, count_tokens(text, "cl100k_base"))
        return self._settings.ratio if options.ratio is None else options.ratio

    def _probabilities(
        self, text: str, mode: Mode, stop: threading.Event | None
    ) -> KeepProbabilities:
        tokenizer = self.model.tokenizer
        subwords = tokenizer.subwords(text)
        if mode == "llmlingua":
            windows = lingua_windows(
                tokenizer.tokens(subwords.ids), subword_prefix=self.model.manifest.subword_prefix
            )
        else:
            capacity = self.model.manifest.window_tokens - tokenizer.special_tokens
            windows = sentence_windows(text, subwords, capacity)
        logits = self.model.run(
            [tokenizer.sequence(subwords.ids[first:last]) for first, last in windows], stop=stop
        )
        values = [_keep_probability(tokenizer.unwrap(window)) for window in logits]
        return KeepProbabilities(subwords, np.concatenate(values), tuple(windows))

    def _by_budget(
        self,
        text: str,
        probabilities: KeepProbabilities,
        budget: int,
        options: CompressionOptions,
        stop: threading.Event | None,
    ) -> tuple[Words, Selection, NDArray[np.float32]]:
        spans = find_spans(text)
        raise_if_stopped(stop)
        forced_at = occurrences(text, options.force_tokens)
        words = split_words(
            text,
            cuts=word_cuts(text, spans, forced_at),
            verbatim=[(s.start, s.end) for s in spans if s.kind == "code"],
        )
        raise_if_stopped(stop)
        values = word_probabilities(words, probabilities)
        forced = forced_words(words, forced_at, options.force_reserve_digit)
        words.markers[forced] = False  # what is forced does not ride with anything
        spans = divide_oversized_code(text, spans, budget)
        if self.model.manifest.keeps == "clauses":
            spans += find_clauses(text)
        elif not UNSPACED_LANGUAGES.intersection(self.model.manifest.languages):
            spans += find_unspaced_clauses(text)
        if options.preserve is not None:
            for span in spans:
                if span.kind in options.preserve:
                    forced[slice(*words.indexes_in(span.start, span.end))] = True
            protected: Sequence[PreserveKind] = ()
        else:
            protected = self._settings.preserve
        raise_if_stopped(stop)
        scores = values + relevance(words, options.question) if options.question else values
        units = make_units(words, spans, protected, scores, forced)
        if options.ranks_asks_first and not options.question:
            units = _with_asks_first(text, words, units, budget)
        selection = select(words, units, budget, stop=stop)
        if options.drop_consecutive:
            selection = _drop_consecutive(words, units, selection, forced_at, budget, stop)
        return words, at_least_one(words, units, selection), values

    def _by_percentile(
        self, text: str, probabilities: KeepProbabilities, options: CompressionOptions
    ) -> tuple[Words, Selection, NDArray[np.float32]]:
        chosen = choose_words(
            self.model.tokenizer.tokens(probabilities.subwords.ids),
            probabilities,
            subword_prefix=self.model.manifest.subword_prefix,
            rate=self._rate(text, options),
            force_tokens=options.force_tokens,
            forced_at=occurrences(text, options.force_tokens),
            force_reserve_digit=options.force_reserve_digit,
            drop_consecutive=options.drop_consecutive,
        )
        words = Words(text, chosen.starts, _up_to_white_space(text, chosen.starts))
        values = word_probabilities(words, probabilities)
        kept = chosen.kept
        if len(words) and not kept.any():  # as LLMLingua would; a text is never left empty here
            kept = np.arange(len(words)) == values.argmax()
        kept_text = words.join(np.flatnonzero(kept).tolist())
        return words, Selection(kept, kept_text, count_tokens(kept_text)), values


def _with_asks_first(text: str, words: Words, units: Units, budget: int) -> Units:
    """Units whose ranking what the text asks leads, if it fits into the budget."""
    asks: list[tuple[int, int]] = []
    at = tokens = 0
    for part in divide(text):
        if part.kind == "ask":
            asks.append((at, at + len(part.text)))
            tokens += count_tokens(part.text)
        at += len(part.text)
    if not asks or tokens > budget or asks == [(0, len(text))]:
        return units
    scores = units.scores.copy()
    lasts = [*(units.firsts[1:] - 1).tolist(), len(words) - 1]
    for start, end in asks:
        first, last = words.indexes_in(start, end)
        low, high = np.searchsorted(lasts, first), np.searchsorted(units.firsts, last)
        scores[low:high] += _ASKS_LEAD
    return replace(units, scores=scores)


def _up_to_white_space(text: str, starts: list[int]) -> list[int]:
    """Where words end that begin at `starts`: with all that is no white space before the next.
    Subwords leave out what their vocabulary has no use for, such as combining accents."""
    return [
        start + len(text[start:following].rstrip())
        for start, following in zip(starts, [*starts[1:], len(text)], strict=False)
    ]


def word_probabilities(words: Words, probabilities: KeepProbabilities) -> NDArray[np.float32]:
    """Mean over the subwords of each word (LLMLingua-2, section 4.2): float32, shape (n_words,).

    A word that the tokenizer does not see at all (a lone control character) gets 0.
    """
    owner = np.searchsorted(words.starts, probabilities.subwords.starts, "right") - 1
    inside = owner >= 0
    counts = np.bincount(owner[inside], minlength=len(words))
    sums = np.bincount(owner[inside], probabilities.values[inside], minlength=len(words))
    return (sums / np.maximum(counts, 1)).astype(np.float32)


def _keep_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the labels, of which KEEP is taken: (n_tokens, n_labels) -> (n_tokens,)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = shifted[:, KEEP] / shifted.sum(axis=1)
    return probabilities


def _drop_consecutive(
    words: Words,
    units: Units,
    selection: Selection,
    forced_at: list[tuple[int, int]],
    budget: int,
    stop: threading.Event | None,
) -> Selection:
    """Drops forced words that repeat the kept word before them, and fills what that frees."""
    forced = forced_words(words, forced_at, force_reserve_digit=False)
    indexes = np.flatnonzero(selection.kept).tolist()
    repeated = {
        index
        for before, index in pairwise(indexes)
        if forced[index] and words[index] == words[before]
    }
    if not repeated:
        return selection
    at = np.searchsorted(units.firsts, sorted(repeated), "right") - 1
    without = units.forced.copy()
    without[at] = False
    scores = units.scores.copy()
    scores[at] = -1.0
    again = select(words, replace(units, scores=scores, forced=without), budget, stop=stop)
    kept = again.kept.copy()
    kept[sorted(repeated)] = False
    text = words.join(np.flatnonzero(kept).tolist())
    return Selection(kept, text, count_tokens(text))


def _spelled_out(words: Words, kept: Flags, values: NDArray[np.float32]) -> tuple[Word, ...]:
    """The whole text as words, each with the white space after it."""
    if not len(words):
        return (Word(words.text, True, 0.0),) if words.text else ()
    starts = [0, *words.starts[1:].tolist()]
    ends = [*words.starts[1:].tolist(), len(words.text)]
    return tuple(
        Word(words.text[start:end], bool(keep), float(value))
        for start, end, keep, value in zip(starts, ends, kept, values, strict=True)
    )
