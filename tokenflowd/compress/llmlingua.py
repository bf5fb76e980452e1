"""LLMLingua-2's own choice of words: a percentile in each window (Pan et al. 2024,
arXiv:2403.12968; `compress_prompt_llmlingua2` of microsoft/LLMLingua, MIT).

Words are those of the model's subwords, weighted by their cl100k_base tokens. Where this
differs from that code, and why, is told in ARCHITECTURE.md.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflowd.compress.cache import KeepProbabilities
from tokenflowd.compress.tokens import count_tokens
from tokenflowd.engine import Subwords

# max_seq_len of PromptCompressor, without the two special tokens.
WINDOW_CAPACITY = 510
_CHUNK_ENDS = frozenset({".", "\n"})
_SENTENCEPIECE_SPACE = "\u2581"
# Words that a vocabulary does not know, and special tokens that a text spells out.
_SPECIAL = frozenset(
    ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "<unk>", "<s>", "</s>", "<pad>", "<mask>"]
)


@dataclass(frozen=True, slots=True)
class LinguaWords:
    """Words as LLMLingua-2 sees them, in order; offsets are in characters of the text."""

    texts: list[str]
    starts: list[int]
    ends: list[int]
    kept: NDArray[np.bool_]


def lingua_windows(tokens: Sequence[str], *, subword_prefix: str) -> list[tuple[int, int]]:
    """Token ranges of at most 510 tokens that end at the last full stop, where there is one."""
    windows = []
    first = 0
    while len(tokens) - first > WINDOW_CAPACITY:
        last = _window_end(tokens, first, subword_prefix)
        windows.append((first, last))
        first = last
    windows.append((first, len(tokens)))
    return windows


def _window_end(tokens: Sequence[str], first: int, subword_prefix: str) -> int:
    ends = range(first + WINDOW_CAPACITY, first + 1, -1)
    for last in ends:
        if tokens[last - 1] in _CHUNK_ENDS:
            return last
    for last in ends:
        if _begins_word(tokens[last], tokens[last], subword_prefix, ()):
            return last
    return first + WINDOW_CAPACITY


def choose_words(
    tokens: Sequence[str],
    probabilities: KeepProbabilities,
    *,
    subword_prefix: str,
    rate: float,
    force_tokens: Collection[str],
    forced_at: Sequence[tuple[int, int]],
    force_reserve_digit: bool,
    drop_consecutive: bool,
) -> LinguaWords:
    """Keeps in each window the words above the percentile that `rate` asks for.

    `tokens` are the vocabulary's spellings of `probabilities.subwords`. Forced is every subword
    spelled like one of `force_tokens`, and every word that overlaps one of the character ranges
    `forced_at`: so a forced name is kept though it has capitals or several subwords.
    """
    forced = _overlap(probabilities.subwords, forced_at)
    chosen = LinguaWords([], [], [], np.zeros(0, np.bool_))
    kept: list[NDArray[np.bool_]] = []
    for first, last in probabilities.windows:
        window = _merge(
            tokens[first:last],
            probabilities,
            first,
            forced,
            subword_prefix,
            force_tokens,
            force_reserve_digit,
        )
        kept.append(_keep(window, 1 - rate, drop_consecutive))
        chosen.texts.extend(window.texts)
        chosen.starts.extend(window.starts)
        chosen.ends.extend(window.ends)
    return LinguaWords(
        chosen.texts, chosen.starts, chosen.ends, np.concatenate(kept) if kept else chosen.kept
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """A window's words: their mean probability, and whether they are forced as a whole."""

    texts: list[str]
    starts: list[int]
    ends: list[int]
    values: list[float]
    forced: list[bool]


def _merge(
    tokens: Sequence[str],
    probabilities: KeepProbabilities,
    first: int,
    forced: NDArray[np.bool_],
    subword_prefix: str,
    force_tokens: Collection[str],
    force_reserve_digit: bool,
) -> _Window:
    """A window's subwords as words with their mean probability, forced ones at 1."""
    subwords = probabilities.subwords
    window = _Window([], [], [], [], [])
    parts: list[list[float]] = []
    for index, token in enumerate(tokens, first):
        pure = _pure(token, subword_prefix)
        begins = not parts or _begins_word(token, pure, subword_prefix, force_tokens)
        certain = force_reserve_digit and re.search(r"\d", token) is not None
        certain |= begins and pure in force_tokens
        value = 1.0 if certain else float(probabilities.values[index])
        end = int(subwords.ends[index])
        if begins:
            window.texts.append(token)
            window.starts.append(int(subwords.starts[index]))
            window.ends.append(end)
            window.forced.append(bool(forced[index]))
            parts.append([value])
        else:
            window.texts[-1] += pure
            window.ends[-1] = end
            window.forced[-1] |= bool(forced[index])
            parts[-1].append(value)
    for index, part in enumerate(parts):
        window.values.append(1.0 if window.forced[index] else sum(part) / len(part))
        window.forced[index] |= window.texts[index] in force_tokens
    return window


def _overlap(subwords: Subwords, ranges: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """True for the subwords that overlap one of the character ranges."""
    flags = np.zeros(len(subwords), np.bool_)
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    firsts = np.searchsorted(subwords.ends, starts, "right").tolist()
    lasts = np.searchsorted(subwords.starts, ends, "left").tolist()
    for first, last in zip(firsts, lasts, strict=True):
        flags[first:last] = True
    return flags


def _begins_word(token: str, pure: str, subword_prefix: str, force_tokens: Collection[str]) -> bool:
    if subword_prefix:  # WordPiece marks what continues a word
        return pure in force_tokens or not token.startswith(subword_prefix)
    return (  # SentencePiece marks what begins one
        token in string.punctuation
        or token in force_tokens
        or token.startswith(_SENTENCEPIECE_SPACE)
    )


def _pure(token: str, subword_prefix: str) -> str:
    return token.lstrip(subword_prefix) if subword_prefix else token.lstrip(_SENTENCEPIECE_SPACE)


def _keep(window: _Window, reduce_rate: float, drop_consecutive: bool) -> NDArray[np.bool_]:
    if reduce_rate <= 0:
        return np.ones(len(window.texts), np.bool_)
    if not window.texts:
        return np.zeros(0, np.bool_)
    weights = _weights(window.texts)
    values = _without_repeats(window, weights, reduce_rate) if drop_consecutive else window.values
    threshold = np.percentile(np.repeat(values, weights), min(100, int(100 * reduce_rate + 1)))
    kept = np.zeros(len(values), np.bool_)
    previous = None
    for index, (text, value) in enumerate(zip(window.texts, values, strict=True)):
        if value > threshold or (threshold == 1.0 and value == threshold):
            repeated = drop_consecutive and window.forced[index] and previous == text
            kept[index] = not repeated
            previous = text
    return kept


def _weights(texts: Sequence[str]) -> list[int]:
    """What each word counts for in a percentile: its tokens; nothing where the model reads no
    word, unless there are no others."""
    weights = [0 if text in _SPECIAL else count_tokens(text, "cl100k_base") for text in texts]
    return weights if any(weights) else [1] * len(texts)


def _without_repeats(window: _Window, weights: list[int], reduce_rate: float) -> list[float]:
    """The values, 0 for a forced word that repeats the one before it with nothing between."""
    values = list(window.values)
    known = [value for value, weight in zip(values, weights, strict=True) if weight]
    threshold = np.percentile(known, int(100 * reduce_rate))
    token_between = False
    previous = None
    for index, text in enumerate(window.texts):
        if window.forced[index]:
            if token_between:
                token_between = False
            elif text == previous:
                values[index] = 0.0
            previous = text
        else:
            token_between |= bool(values[index] > threshold)
    return values
