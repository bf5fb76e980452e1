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


@dataclass(frozen=True, slots=True)
class LinguaWords:
    """Words as LLMLingua-2 sees them, in order; offsets are in characters of the text."""

    texts: list[str]
    starts: list[int]
    ends: list[int]
    kept: NDArray[np.bool_]


def lingua_windows(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Token ranges of at most 510 tokens that end at the last full stop, where there is one."""
    windows = []
    first = 0
    while len(tokens) - first > WINDOW_CAPACITY:
        last = first + WINDOW_CAPACITY
        for candidate in range(last, first, -1):
            if tokens[candidate - 1] in _CHUNK_ENDS:
                last = candidate
                break
        windows.append((first, last))
        first = last
    windows.append((first, len(tokens)))
    return windows


def choose_words(
    tokens: Sequence[str],
    probabilities: KeepProbabilities,
    *,
    subword_prefix: str,
    rate: float,
    force_tokens: Collection[str],
    force_reserve_digit: bool,
    drop_consecutive: bool,
) -> LinguaWords:
    """Keeps in each window the words above the percentile that `rate` asks for.

    `tokens` are the vocabulary's spellings of `probabilities.subwords`.
    """
    chosen = LinguaWords([], [], [], np.zeros(0, np.bool_))
    kept: list[NDArray[np.bool_]] = []
    for first, last in probabilities.windows:
        texts, word_values, starts, ends = _merge(
            tokens[first:last],
            probabilities.values[first:last],
            probabilities.subwords,
            first,
            subword_prefix,
            force_tokens,
            force_reserve_digit,
        )
        kept.append(_keep(texts, word_values, 1 - rate, force_tokens, drop_consecutive))
        chosen.texts.extend(texts)
        chosen.starts.extend(starts)
        chosen.ends.extend(ends)
    return LinguaWords(
        chosen.texts, chosen.starts, chosen.ends, np.concatenate(kept) if kept else chosen.kept
    )


def _merge(
    tokens: Sequence[str],
    values: NDArray[np.float32],
    subwords: Subwords,
    first: int,
    subword_prefix: str,
    force_tokens: Collection[str],
    force_reserve_digit: bool,
) -> tuple[list[str], list[float], list[int], list[int]]:
    """A window's subwords as words with their mean probability, forced tokens at 1."""
    texts: list[str] = []
    parts: list[list[float]] = []
    starts: list[int] = []
    ends: list[int] = []
    for index, (token, value) in enumerate(zip(tokens, values.tolist(), strict=True)):
        pure = _pure(token, subword_prefix)
        certain = force_reserve_digit and re.search(r"\d", token) is not None
        end = int(subwords.ends[first + index])
        if not texts or _begins_word(token, pure, subword_prefix, force_tokens):
            texts.append(token)
            parts.append([1.0 if certain or pure in force_tokens else value])
            starts.append(int(subwords.starts[first + index]))
            ends.append(end)
        else:
            texts[-1] += pure
            parts[-1].append(1.0 if certain else value)
            ends[-1] = end
    return texts, [sum(part) / len(part) for part in parts], starts, ends


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


def _keep(
    texts: list[str],
    values: list[float],
    reduce_rate: float,
    force_tokens: Collection[str],
    drop_consecutive: bool,
) -> NDArray[np.bool_]:
    if not texts:
        return np.zeros(0, np.bool_)
    if drop_consecutive:
        values = _without_repeats(texts, values, reduce_rate, force_tokens)
    weights = [count_tokens(text, "cl100k_base") for text in texts]
    threshold = np.percentile(np.repeat(values, weights), int(100 * reduce_rate + 1))
    kept = np.zeros(len(texts), np.bool_)
    previous = None
    for index, (text, value) in enumerate(zip(texts, values, strict=True)):
        if value > threshold or (threshold == 1.0 and value == threshold):
            repeated = drop_consecutive and text in force_tokens and previous == text
            kept[index] = not repeated
            previous = previous if repeated else text
    return kept


def _without_repeats(
    texts: list[str], values: list[float], reduce_rate: float, force_tokens: Collection[str]
) -> list[float]:
    """The values, 0 for a forced token that repeats the one before it with nothing between."""
    values = list(values)
    threshold = np.percentile(values, int(100 * reduce_rate))
    token_between = False
    previous = None
    for index, text in enumerate(texts):
        if text in force_tokens:
            if token_between:
                token_between = False
            elif text == previous:
                values[index] = 0.0
            previous = text
        else:
            token_between |= bool(values[index] > threshold)
    return values
